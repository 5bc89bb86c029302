"""The virtual camera with its real process and a stand-in for the driver, and what is said where there is none."""

from __future__ import annotations

import ast
import logging
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from puppet import preflight as checks
from puppet import v4l2
from puppet.framing import GROUND, Framing, FramingError, place
from puppet.preflight import Preflight, preflight
from puppet.sender import splash, to_i420, to_nv12, to_rgba, to_uyvy
from puppet.shared_frames import ATTEMPTS, SharedFrames
from puppet.types import Frame, Image
from puppet.virtual_camera import VirtualCamera, VirtualCameraUnavailable

FAKE = Path(__file__).with_name("fake_camera.py")
PATIENCE_S = 30.0


def flat(*colour: int, width_px: int = 1280, height_px: int = 720) -> Image:
    return np.full((height_px, width_px, 3), colour, np.uint8)


def wait_for(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


class Driver:
    """What the stand-in has seen, and what it shall do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def lines(self) -> list[tuple[int, int]]:
        """Of each frame, the least and the greatest byte of the first plane."""
        log = self.folder / "log"
        complete = log.read_text().splitlines(keepends=True) if log.exists() else []
        return [(int(low), int(high)) for low, high in map(str.split, filter(lambda line: line[-1] == "\n", complete))]

    @property
    def brightness(self) -> tuple[int, int]:
        return self.lines[-1] if self.lines else (-1, -1)

    def frame(self) -> bytes:
        return (self.folder / "frame").read_bytes()

    def wait_for_more(self, count: int) -> None:
        start = len(self.lines)
        wait_for(lambda: len(self.lines) >= start + count)


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.setenv("PYTHONPATH", str(FAKE.parents[1]))
    monkeypatch.setenv("FAKE_FOLDER", str(tmp_path))
    monkeypatch.setenv("FAKE_BACKEND", "v4l2loopback")
    monkeypatch.setattr("puppet.virtual_camera._program", lambda: [sys.executable, str(FAKE)])
    monkeypatch.setattr("puppet.virtual_camera.preflight", lambda device: Preflight("/dev/video7"))
    return Driver(tmp_path)


SPLASH = (lambda plane: (int(plane.min()), int(plane.max())))(to_i420(splash())[: 1280 * 720])
WHITE, GREY = Frame(flat(255, 255, 255), 0, 0), Frame(flat(128, 128, 128), 0, 0)
WHITE_Y, GREY_Y = (235, 235), (126, 126)  # BT.601, limited range


def test_last_frame_is_sent_again_at_the_cameras_own_rate(driver: Driver) -> None:
    with VirtualCamera() as camera:
        wait_for(lambda: driver.brightness == SPLASH)
        camera.send(WHITE)
        wait_for(lambda: driver.brightness == WHITE_Y)
        driver.wait_for_more(15)  # half a second without a new one
        assert driver.lines[-15:] == [WHITE_Y] * 15
        wait_for(lambda: camera.status.fps)
        assert camera.status.fps < 32
        assert camera.status.error == ""


def test_many_more_frames_than_it_shows_change_nothing_of_the_rate(driver: Driver) -> None:
    with VirtualCamera() as camera:
        rates = set()
        while len(rates) < 2:
            camera.send(WHITE)
            rates.add(camera.status.fps)
        assert max(rates) < 32


def test_splash_when_nothing_comes_for_long(driver: Driver) -> None:
    with VirtualCamera() as camera:
        camera.send(WHITE)
        wait_for(lambda: driver.brightness == WHITE_Y)
        wait_for(lambda: driver.brightness == SPLASH)
        camera.send(GREY)
        wait_for(lambda: driver.brightness == GREY_Y)
        assert driver.lines.count(WHITE_Y) >= 30


def test_splash_comes_last_and_the_process_ends(driver: Driver) -> None:
    camera = VirtualCamera()
    camera.send(WHITE)
    wait_for(lambda: driver.brightness == WHITE_Y)
    camera.close()
    camera.close()
    assert driver.lines[-5:] == [SPLASH] * 5
    assert camera._process.returncode == 0
    assert camera.status.device == ""
    with pytest.raises(VirtualCameraUnavailable, match="closed"):
        camera.send(WHITE)


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_killed_program_leaves_a_splash_and_no_process(driver: Driver) -> None:
    script = (
        "import os, signal, sys, time, numpy as np\n"
        "from puppet import virtual_camera as module\n"
        "from puppet.types import Frame\n"
        f"module._program = lambda: [sys.executable, {str(FAKE)!r}]\n"
        "module.preflight = lambda device: module.Preflight('fake')\n"
        "camera = module.VirtualCamera()\n"
        "print(camera._process.pid, flush=True)\n"
        "while True:\n"
        "    camera.send(Frame(np.full((720, 1280, 3), 255, np.uint8), 0, 0))\n"
        "    time.sleep(0.01)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        sender = int(program.stdout.readline())
        wait_for(lambda: driver.brightness == WHITE_Y)
        program.kill()
    wait_for(lambda: not running(sender))
    assert driver.lines[-5:] == [SPLASH] * 5


def running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")
    return not (stat.exists() and ") Z " in stat.read_text())  # ended, and nobody asked how


def test_camera_that_fails_is_opened_again_and_announced_once(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    with VirtualCamera() as camera:
        (driver.folder / "broken").touch()
        wait_for(lambda: camera.status.error)
        assert camera.status.error == "The cable is out"
        (driver.folder / "missing").touch()
        wait_for(lambda: "no such camera" in camera.status.error)
        (driver.folder / "broken").unlink()
        (driver.folder / "missing").unlink()
        camera.send(WHITE)
        wait_for(lambda: camera.status.device)
        camera.send(WHITE)
        wait_for(lambda: driver.brightness == WHITE_Y)
        assert camera.status.error == ""
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "The cable is out" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_process_that_crashes_is_started_again(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    with VirtualCamera() as camera:
        camera._process.send_signal(signal.SIGSEGV)
        wait_for(lambda: camera.status.error)
        camera.send(WHITE)
        wait_for(lambda: camera.status.device)
        camera.send(GREY)
        wait_for(lambda: driver.brightness == GREY_Y)
        assert camera.status.error == ""
    assert "started again" in caplog.text


def test_no_picture_is_torn(driver: Driver) -> None:
    """Pictures of one grey each, as fast as can be: a mixture of two would have two greys."""
    pictures = [Frame(flat(grey, grey, grey), 0, 0) for grey in range(0, 256, 5)]
    with VirtualCamera() as camera:
        while len(driver.lines) < 90:
            for picture in pictures:
                camera.send(picture)
    shown = driver.lines
    assert len(set(shown)) > 10
    assert [line for line in shown if line != SPLASH and line[0] != line[1]] == []


COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (250, 180, 120))


@pytest.mark.parametrize(
    ("backend", "pixels"),
    [
        ("v4l2loopback", "yuv420p"),
        ("obs", "nv12" if sys.platform == "win32" else "uyvy422"),
        ("unitycapture", "rgba"),
        ("another", "rgb24"),
    ],
)
def test_each_driver_gets_the_right_colours_in_its_own_format(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, backend: str, pixels: str
) -> None:
    monkeypatch.setenv("FAKE_BACKEND", backend)
    stripes = np.concatenate([flat(*colour, height_px=120) for colour in COLOURS])
    with VirtualCamera() as camera:
        before = driver.frame()
        camera.send(Frame(stripes, 0, 0))
        wait_for(lambda: driver.frame() != before)
        assert decoded(driver.frame(), pixels)[60::120, 640] == pytest.approx(np.array(COLOURS), abs=4)


def decoded(content: bytes, pixels: str) -> Image:
    """RGB by way of FFmpeg, which takes YUV for BT.601 in limited range."""
    frame = av.VideoFrame(1280, 720, pixels)
    place_px = 0
    for plane in frame.planes:
        assert plane.line_size * plane.height == plane.buffer_size
        plane.update(content[place_px : place_px + plane.buffer_size])
        place_px += plane.buffer_size
    assert place_px == len(content)
    return np.asarray(frame.to_ndarray(format="rgb24"))


@pytest.mark.parametrize(
    ("convert", "pixels"), [(to_i420, "yuv420p"), (to_nv12, "nv12"), (to_uyvy, "uyvy422"), (to_rgba, "rgba")]
)
def test_formats(convert: Callable[[Image], Image], pixels: str) -> None:
    across = np.concatenate([flat(*colour, width_px=160) for colour in COLOURS + COLOURS[:2]], axis=1)
    shown = decoded(convert(across).tobytes(), pixels)
    assert shown[360, 80::160] == pytest.approx(np.array(COLOURS + COLOURS[:2]), abs=4)


def test_camera_that_does_not_open_is_refused_with_the_reason(driver: Driver) -> None:
    (driver.folder / "missing").touch()
    with pytest.raises(VirtualCameraUnavailable, match=r"cannot be opened: .* no such camera\. Close"):
        VirtualCamera()


def test_no_device_is_refused_before_anything_starts(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = Preflight(problem="It is not there.", advice="Buy one.")
    monkeypatch.setattr("puppet.virtual_camera.preflight", lambda device: refusal)
    with pytest.raises(VirtualCameraUnavailable, match=r"^It is not there\. Buy one\.$") as caught:
        VirtualCamera()
    assert caught.value.check is refusal


def test_only_the_process_of_its_own_speaks_to_the_gpl_library() -> None:
    importers = set()
    for folder in ("puppet", "engines", "calibration", "ui"):
        for path in (FAKE.parents[1] / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import | ast.ImportFrom) and "pyvirtualcam" in ast.unparse(node):
                    importers.add(path.name)
    assert importers == {"sender.py"}


# Memory


def test_reader_sees_what_was_written_and_never_a_mixture() -> None:
    frames = SharedFrames(width_px=4, height_px=2)
    reader = SharedFrames(width_px=4, height_px=2, token=str(os.dup(int(frames.token))))

    def write(value: int) -> None:
        with frames.writing() as picture:
            picture[:] = value

    for value in range(7):
        write(value)
        assert reader.read(lambda picture: int(picture.max())) == value
    assert reader.count == 7

    overtaken = []

    def slow(picture: Image) -> int:
        """While it looks, two more are written at its first attempt: the place that it looks at is next."""
        if not overtaken:
            overtaken.append(int(picture.max()))
            write(8)
            write(9)
        return int(picture.max())

    assert reader.read(slow) == 9

    def hopeless(picture: Image) -> int:
        overtaken.append(0)
        write(1)
        write(2)
        return 0

    overtaken.clear()
    assert reader.read(hopeless) is None
    assert len(overtaken) == ATTEMPTS
    frames.close()
    reader.close()


# Framing


def framed(image: Image, framing: Framing | None = None, *, mirror: bool = False) -> Image:
    out = flat(1, 2, 3)
    place(image, framing or Framing(), mirror=mirror, out=out)
    return out


def left_and_right(width_px: int, height_px: int) -> Image:
    """Red at the left, blue at the right."""
    image = flat(255, 0, 0, width_px=width_px, height_px=height_px)
    image[:, width_px // 2 :] = (0, 0, 255)
    return image


@pytest.mark.parametrize(("width_px", "height_px"), [(512, 512), (1024, 1024), (4000, 4000), (90, 90)])
def test_square_picture_is_whole_and_centred(width_px: int, height_px: int) -> None:
    out = framed(left_and_right(width_px, height_px))
    assert (out[:, :276] == GROUND).all()
    assert (out[:, 1004:] == GROUND).all()
    assert (out[10:-10, 290:620] == (255, 0, 0)).all()
    assert (out[10:-10, 660:990] == (0, 0, 255)).all()


def test_picture_of_the_frames_size_is_shown_as_it_is() -> None:
    image = np.random.default_rng(1).integers(0, 256, (720, 1280, 3), np.uint8)
    np.testing.assert_array_equal(framed(image), image)
    np.testing.assert_array_equal(framed(image, mirror=True), image[:, ::-1])


def test_pan_brings_the_edges_together() -> None:
    image = left_and_right(720, 720)
    assert (framed(image, Framing(pan_x=-1))[:, 0] == (255, 0, 0)).all()
    assert (framed(image, Framing(pan_x=1))[:, -1] == (0, 0, 255)).all()
    assert (framed(image, Framing(pan_x=1))[:, :560] == GROUND).all()
    np.testing.assert_array_equal(
        framed(image, Framing(pan_x=1), mirror=True), framed(image, Framing(pan_x=1))[:, ::-1]
    )


def test_zoom_fills_the_frame_and_pan_moves_within() -> None:
    image = flat(0, 0, 0, width_px=720, height_px=720)
    image[:, :, 0] = np.linspace(0, 240, 720).astype(np.uint8)[:, None]  # brighter downwards
    fill = 1280 / 720
    assert framed(image, Framing(fill))[360, 640, 0] == pytest.approx(120, abs=1)
    assert framed(image, Framing(fill, pan_y=-1))[0, 640, 0] == pytest.approx(0, abs=1)
    assert framed(image, Framing(fill, pan_y=1))[-1, 640, 0] == pytest.approx(240, abs=1)
    assert not (framed(image, Framing(fill)) == GROUND).all(axis=2).any()


def test_transparent_pixels_show_the_ground() -> None:
    image = np.zeros((720, 1280, 4), np.uint8)
    image[:, :640] = (200, 100, 0, 255)
    image[:, 640:960] = (200, 100, 0, 128)
    out = framed(image)
    assert (out[:, :600] == (200, 100, 0)).all()
    assert out[360, 800] == pytest.approx((np.array((200, 100, 0)) + GROUND) / 2, abs=2)
    assert (out[:, 1000:] == GROUND).all()


def test_fine_pattern_becomes_even_when_shrunk() -> None:
    stripes = flat(0, 0, 0, width_px=2880, height_px=2880)
    stripes[:, ::2] = 254
    assert np.ptp(framed(stripes)[100:-100, 300:980].astype(int)) <= 4


@pytest.mark.parametrize("values", [{"zoom": 0}, {"zoom": float("nan")}, {"pan_x": 1.1}, {"pan_y": -2}])
def test_impossible_framing(values: dict[str, float]) -> None:
    with pytest.raises(FramingError, match="zoom lies within"):
        Framing(**values)


# Preflight


@pytest.fixture
def linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Linux system of our own making, without any module."""
    for module, name in (
        *((v4l2, name) for name in ("SYSFS", "DEVICES", "PROCESSES")),
        *((checks, name) for name in ("MODULE", "MODULES")),
    ):
        monkeypatch.setattr(module, name, tmp_path / name)
        (tmp_path / name).mkdir()
    (tmp_path / "MODULE").rmdir()
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "release", lambda: "6.1")
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "ubuntu", "ID_LIKE": "debian"})
    monkeypatch.setattr(v4l2, "takes_pictures", lambda node: True)
    return tmp_path


def load_module(system: Path, *numbers: int, exclusive: str = "Y") -> list[Path]:
    (system / "MODULE" / "parameters").mkdir(parents=True)
    (system / "MODULE" / "parameters" / "exclusive_caps").write_text(",".join([exclusive] * 8))
    for number in numbers:
        (system / "SYSFS" / f"video{number}").mkdir()
        (system / "SYSFS" / f"video{number}" / "max_openers").write_text("10")
        (system / "DEVICES" / f"video{number}").touch()
    return [system / "DEVICES" / f"video{number}" for number in numbers]


def hold(system: Path, node: Path) -> None:
    files = system / "PROCESSES" / "1234" / "fd"
    files.mkdir(parents=True)
    (files / "5").symlink_to(node)
    (files.parent / "comm").write_text("obs\n")
    (system / "PROCESSES" / "self").mkdir()


def test_module_that_is_not_installed(linux: Path) -> None:
    check = preflight()
    assert not check.ok
    assert "not installed" in check.problem
    assert "apt install v4l2loopback-dkms" in check.advice
    assert "modprobe v4l2loopback exclusive_caps=1" in check.advice


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ({"ID": "fedora"}, "dnf install"),
        ({"ID": "arch"}, "pacman -S"),
        ({"ID": "opensuse-leap", "ID_LIKE": "suse opensuse"}, "zypper install"),
        ({"ID": "rare"}, "Install v4l2loopback"),
    ],
)
def test_package_of_each_distribution(
    linux: Path, monkeypatch: pytest.MonkeyPatch, release: dict[str, str], command: str
) -> None:
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    assert command in preflight().advice


def test_module_that_is_not_loaded(linux: Path) -> None:
    (linux / "MODULES" / "6.1" / "updates").mkdir(parents=True)
    (linux / "MODULES" / "6.1" / "updates" / "v4l2loopback.ko.xz").touch()
    check = preflight()
    assert "not loaded" in check.problem
    assert check.advice.startswith("Run: sudo modprobe v4l2loopback")


def test_module_without_devices(linux: Path) -> None:
    load_module(linux)
    (linux / "SYSFS" / "video0").mkdir()  # a real camera
    assert "no device" in preflight().problem


def test_free_device(linux: Path) -> None:
    _, tenth = load_module(linux, 9, 10)
    assert preflight() == Preflight(str(tenth.with_name("video9")))
    assert preflight(str(tenth)) == Preflight(str(tenth))


def test_device_without_exclusive_caps_is_fine_but_for_chrome(linux: Path) -> None:
    [node] = load_module(linux, 9, exclusive="N")
    check = preflight()
    assert (check.ok, check.device) == (True, str(node))
    assert "exclusive_caps=1" in check.advice


def test_device_that_somebody_sends_to(linux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ninth, tenth = load_module(linux, 9, 10)
    hold(linux, ninth)
    monkeypatch.setattr(v4l2, "takes_pictures", lambda node: node != ninth)
    assert preflight() == Preflight(str(tenth))
    check = preflight(str(ninth))
    assert check.problem == f"{ninth} is in use by obs (process 1234)."
    assert "devices=2" in check.advice


def test_stuck_device_that_nobody_has_open(linux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [ninth] = load_module(linux, 9)
    monkeypatch.setattr(v4l2, "takes_pictures", lambda node: False)
    assert preflight() == Preflight(str(ninth))


def test_viewer_of_an_exclusive_device_is_no_hindrance(linux: Path) -> None:
    [ninth] = load_module(linux, 9)
    hold(linux, ninth)
    assert preflight().ok


def test_holder_of_a_shared_device_may_send(linux: Path) -> None:
    [ninth] = load_module(linux, 9, exclusive="N")
    hold(linux, ninth)
    assert "obs (process 1234)" in preflight().problem


def test_device_of_another_group(linux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_module(linux, 9)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "usermod -aG video" in preflight().advice


def test_wanted_device_that_is_not_virtual(linux: Path) -> None:
    [ninth] = load_module(linux, 9)
    check = preflight("/dev/video0")
    assert check.problem == "/dev/video0 is not a virtual camera."
    assert str(ninth) in check.advice


def test_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    monkeypatch.setattr(checks, "_is_registered", lambda class_id: False)
    assert "OBS Studio" in preflight().advice
    monkeypatch.setattr(checks, "_is_registered", lambda class_id: class_id.startswith("{5C2CD55C"))
    assert preflight() == Preflight("Unity Video Capture")
    monkeypatch.setattr(checks, "_is_registered", lambda class_id: True)
    assert preflight() == Preflight("OBS Virtual Camera")
    assert preflight("My Camera") == Preflight("My Camera")


@pytest.mark.parametrize(
    ("extensions", "version", "problem"),
    [
        ("*\t*\t2MMRE5MTB8\tcom.obsproject.obs-studio.mac-camera-extension (30.0)\t[activated enabled]\n", "", ""),
        ("0 extension(s)\n", "31.0.1", "not active"),
        ("0 extension(s)\n", "29.1.3", "29.1.3 is too old"),
        ("0 extension(s)\n", "", "missing"),
    ],
)
def test_macos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extensions: str, version: str, problem: str) -> None:
    listing = subprocess.CompletedProcess(["systemextensionsctl", "list"], 0, extensions, "")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(checks.subprocess, "run", lambda command, **_: listing)
    monkeypatch.setattr(checks, "OBS_FOR_MAC", tmp_path / "Info.plist")
    if version:
        content = f"<plist><dict><key>CFBundleShortVersionString</key><string>{version}</string></dict></plist>"
        (tmp_path / "Info.plist").write_text(content)
    check = preflight()
    assert check.ok == (problem == "")
    assert problem in check.problem
    assert check.ok or "virtual camera once" in check.advice


def test_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "FreeBSD")
    assert "FreeBSD" in preflight().problem
