"""Video files of every sort and state, webcams that misbehave, and files played as cameras."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image as Pictures

from puppet import camera as camera_module
from puppet.camera import (
    CameraError,
    CameraInfo,
    CameraNotFound,
    Paced,
    VideoFile,
    VideoUnreadable,
    Webcam,
    cameras,
)
from puppet.recording import Recording
from puppet.sinks import VideoWriter
from puppet.types import Frame, Image, Landmarks


def numbered(index: int, *, width_px: int = 64, height_px: int = 48) -> Image:
    """A picture whose brightness tells its number."""
    return np.full((height_px, width_px, 3), 20 + 5 * index, np.uint8)


def encode(path: Path, codec: str, times: range | list[int], *, pix_fmt: str = "yuv420p", rotation: int = 0) -> Path:
    """A video of one numbered picture for each of `times`, in 1/25 s; red at the top left."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "5"} if codec == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        if rotation:
            stream.set_display_rotation(rotation)
        for index, pts in enumerate(times):
            image = numbered(index)
            image[:16, :16] = (255, 0, 0)
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture.pts, picture.time_base = pts, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def is_red(pixel: Image) -> bool:
    return bool(pixel[0] > 180 and pixel[1] < 80 and pixel[2] < 80)


def test_real_clip(data: Path) -> None:
    with VideoFile(data / "face.mp4") as video:
        assert (video.fps, video.width_px, video.height_px) == (Fraction(24000, 1001), 640, 360)
        assert (video.frame_count, video.has_audio) == (61, True)
        frames = list(video)
    assert [frame.index for frame in frames] == list(range(61))
    assert [frame.time_ns for frame in frames] == [round(index * 1_001_000_000 / 24) for index in range(61)]
    for frame in frames:
        assert frame.image.shape == (360, 640, 3)
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous


def test_pictures_are_decoded_without_a_shift_in_brightness(data: Path) -> None:
    """Against the exact formula of BT.601 in limited range, which the clip is in, worked out from its planes."""
    with av.open(str(data / "face.mp4")) as container:
        planes = next(container.decode(video=0)).to_ndarray().astype(float)  # (540, 640): Y, then U and V
    luma = planes[:360]
    blue, red = (plane.reshape(180, 320).repeat(2, 0).repeat(2, 1) for plane in (planes[360:450], planes[450:]))
    y, u, v = (luma - 16) / 219, (blue - 128) / 224, (red - 128) / 224
    rgb = np.stack([y + 1.402 * v, y - 0.3441 * u - 0.7141 * v, y + 1.772 * u], axis=-1).clip(0, 1) * 255
    shown = next(iter(VideoFile(data / "face.mp4"))).image
    assert abs((shown - rgb).mean((0, 1))).max() < 0.25


def test_every_iteration_starts_at_the_beginning(data: Path) -> None:
    video = VideoFile(data / "no_face.mp4")
    first = next(iter(video))
    assert [frame.index for frame in itertools.islice(video, 5)] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(next(iter(video)).image, first.image)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mkv", "libx264", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.mov", "png", "rgb24"),
        ("a.gif", "gif", "rgb8"),
        ("a with spaces, umläuts and 100%.mp4", "libx264", "yuv420p"),
    ],
)
def test_containers(name: str, codec: str, pix_fmt: str, tmp_path: Path) -> None:
    video = VideoFile(encode(tmp_path / name, codec, range(10), pix_fmt=pix_fmt))
    assert (video.fps, video.width_px, video.height_px, video.has_audio) == (25, 64, 48, False)
    assert video.frame_count == pytest.approx(10, abs=1)
    frames = list(video)
    assert [round(frame.time_ns / 1e6) for frame in frames] == [40 * index for index in range(10)]
    assert all(is_red(frame.image[4, 4]) for frame in frames)


def test_animated_gif_with_transparency(tmp_path: Path) -> None:
    pictures = [Pictures.new("RGBA", (32, 32), (40 * index, 0, 0, 128 * (index % 2))) for index in range(4)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100)
    assert [frame.image.shape for frame in VideoFile(tmp_path / "a.gif")] == [(32, 32, 3)] * 4


def test_variable_frame_rate_gives_every_picture_at_its_time(tmp_path: Path) -> None:
    times = [0, 1, 2, 10, 11, 30]
    video = VideoFile(encode(tmp_path / "a.mp4", "libx264", times))
    assert [round(frame.time_ns / 40e6) for frame in video] == times
    assert video.frame_count == 6


def test_time_counts_from_the_first_picture(tmp_path: Path) -> None:
    video = VideoFile(encode(tmp_path / "a.mkv", "libx264", range(100, 105)))
    assert [round(frame.time_ns / 40e6) for frame in video] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("rotation", "size", "red"), [(90, (48, 64), (-4, 4)), (180, (64, 48), (-4, -4)), (270, (48, 64), (4, -4))]
)
def test_rotated_phone_video_is_turned_upright(
    rotation: int, size: tuple[int, int], red: tuple[int, int], tmp_path: Path
) -> None:
    video = VideoFile(encode(tmp_path / "a.mp4", "libx264", range(3), rotation=rotation))
    assert (video.width_px, video.height_px) == size
    for frame in video:
        assert frame.image.shape == (*size[::-1], 3)
        assert frame.image.flags.c_contiguous
        assert is_red(frame.image[red])


def _sound_only(path: Path) -> None:
    with av.open(str(path), "w", format="mp3") as container:
        tone = container.add_stream("libmp3lame", rate=44100, layout="mono")
        for index in range(30):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, 1152 * index
            container.mux(tone.encode(frame))
        container.mux(tone.encode())


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, "There is no file"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("Dear diary,\n" * 100), "not a video"),
        (lambda path: path.write_bytes(bytes(10_000)), "not a video"),
        (lambda path: path.write_text("#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n"), "not a video"),
        (_sound_only, "only sound"),
    ],
)
def test_what_is_no_video_is_refused_in_a_sentence(
    make: Callable[[Path], object], sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "driving.mp4"
    make(path)
    with pytest.raises(VideoUnreadable, match=sentence) as caught:
        VideoFile(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_is_not_drawn_as_a_video(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Dear diary,\n" * 100)
    with pytest.raises(VideoUnreadable, match="no pictures"):
        VideoFile(tmp_path / "notes.txt")


def test_video_cut_off_before_its_index_is_refused(tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.mp4", "libx264", range(25)).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VideoUnreadable, match="damaged or incomplete"):
        VideoFile(tmp_path / "cut.mp4")


def test_video_cut_off_in_the_middle_gives_what_is_there(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "whole.mp4"
    with VideoWriter(path, width_px=640, height_px=360, fps=Fraction(25)) as sink:
        for frame in VideoFile(data / "face.mp4"):
            sink.send(frame)
    content = path.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: len(content) // 2])
    video = VideoFile(cut)
    count = len(list(video))
    assert 10 < count < 55
    assert len(list(video)) == count
    [record] = caplog.records
    assert f"cut.mp4 is damaged or incomplete: {count} of about 61" in record.getMessage()


def test_video_with_a_damaged_middle_goes_on_after_it(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = bytearray((data / "face.mp4").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 6000] = os.urandom(6000)
    (tmp_path / "hurt.mp4").write_bytes(content)
    assert len(list(VideoFile(tmp_path / "hurt.mp4"))) > 40


class Driver:
    """Stands for cv2.VideoCapture: serves BGR pictures until told otherwise, and counts what was opened."""

    opened: list[Driver]
    pictures: Iterator[Image | None]
    refuses = 0  # how often opening fails from now on

    def __init__(self, device: int | str, backend: int, params: list[int] | None = None) -> None:
        self.device = device
        self.params = params
        self.released = False
        self._refused = Driver.refuses > 0
        Driver.refuses -= self._refused
        Driver.opened.append(self)

    def isOpened(self) -> bool:
        return not self._refused

    def read(self) -> tuple[bool, Image | None]:
        assert not self.released
        picture = None if self._refused else next(Driver.pictures)
        return picture is not None, picture

    def release(self) -> None:
        self.released = True


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> type[Driver]:
    blue = np.zeros((48, 64, 3), np.uint8)
    blue[..., 0] = 255
    Driver.opened, Driver.pictures, Driver.refuses = [], itertools.repeat(blue), 0
    monkeypatch.setattr(cv2, "VideoCapture", Driver)
    monkeypatch.setattr(camera_module, "RETRY_DELAYS_S", (0.0, 0.0, 0.0))
    return Driver


def test_webcam_gives_rgb_with_rising_times(driver: type[Driver]) -> None:
    with Webcam(0) as webcam:
        assert (webcam.width_px, webcam.height_px) == (64, 48)
        before_ns = time.monotonic_ns()
        frames = list(itertools.islice(webcam, 5))
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [tuple(frame.image[0, 0]) for frame in frames] == [(0, 0, 255)] * 5
    times = [frame.time_ns for frame in frames]
    assert times == sorted(times)
    assert before_ns <= times[0]
    assert all(capture.released for capture in driver.opened if capture.isOpened())


def test_webcam_asks_for_mjpg_and_size(driver: type[Driver]) -> None:
    Webcam(3, width_px=1280, height_px=720, fps=60).close()
    [capture] = driver.opened
    assert capture.device == 3
    assert capture.params is not None
    assert dict(zip(capture.params[::2], capture.params[1::2], strict=True)) == {
        cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"MJPG"),
        cv2.CAP_PROP_FRAME_WIDTH: 1280,
        cv2.CAP_PROP_FRAME_HEIGHT: 720,
        cv2.CAP_PROP_FPS: 60,
    }


def test_webcam_that_refuses_the_wish_is_opened_as_it_is(driver: type[Driver]) -> None:
    driver.refuses = 1
    with Webcam(0) as webcam:
        assert next(iter(webcam)).image.shape == (48, 64, 3)
    assert driver.opened[1].params is None


def test_webcam_measures_its_rate(driver: type[Driver], monkeypatch: pytest.MonkeyPatch) -> None:
    with Webcam(0, fps=30) as webcam:
        assert webcam.fps == 30
        clock = itertools.count(0, 50_000_000)
        monkeypatch.setattr(time, "monotonic_ns", lambda: next(clock))
        list(itertools.islice(webcam, 100))
        assert webcam.fps == 20


def test_webcam_that_is_not_there(driver: type[Driver]) -> None:
    driver.refuses = 2
    with pytest.raises(CameraNotFound, match="camera 7 gives no picture"):
        Webcam(7)
    assert all(capture.released for capture in driver.opened if capture.isOpened())


def test_webcam_that_hangs_while_opening(driver: type[Driver], monkeypatch: pytest.MonkeyPatch) -> None:
    plug = threading.Event()
    monkeypatch.setattr(camera_module, "OPEN_TIMEOUT_S", 0.05)
    monkeypatch.setattr(Driver, "read", lambda self: (not plug.wait(10), None))
    with pytest.raises(CameraNotFound, match="does not answer"):
        Webcam(0)
    plug.set()
    for thread in threading.enumerate():
        if thread.name.startswith("puppet-"):
            thread.join(10)
    assert all(capture.released for capture in driver.opened if capture.isOpened())


def test_webcam_overlooks_a_few_failed_reads(driver: type[Driver]) -> None:
    picture = next(driver.pictures)
    driver.pictures = iter([picture, picture, None, None, picture])
    with Webcam(0) as webcam:
        assert [frame.index for frame in itertools.islice(webcam, 2)] == [0, 1]
    assert len(driver.opened) == 1


def test_webcam_that_was_unplugged_comes_back(driver: type[Driver], caplog: pytest.LogCaptureFixture) -> None:
    picture = next(driver.pictures)

    def pictures() -> Iterator[Image | None]:
        yield from [picture, picture]
        driver.refuses = 3
        yield from [None] * 6
        yield from [picture] * 10

    driver.pictures = pictures()
    with Webcam(0) as webcam:
        assert [frame.index for frame in itertools.islice(webcam, 3)] == [0, 2, 3]
    assert [record.getMessage() for record in caplog.records] == [
        "The camera 0 disappeared; waiting for it to come back.",
        "The camera 0 is back.",
    ]
    assert all(capture.released for capture in driver.opened if capture.isOpened())


def test_webcam_is_found_again_after_each_of_ten_losses(driver: type[Driver]) -> None:
    picture = next(driver.pictures)

    def pictures() -> Iterator[Image | None]:
        yield picture  # opening takes the first
        while True:
            yield picture
            driver.refuses = 2  # once as wished, once as it is
            yield from [None] * 6
            yield picture

    driver.pictures = pictures()
    with Webcam(0) as webcam:
        assert [frame.index for frame in itertools.islice(webcam, 11)] == [2 * loss for loss in range(11)]
    assert len(driver.opened) == 1 + 10 * 3
    assert all(capture.released for capture in driver.opened if capture.isOpened())


def test_webcam_that_stays_away(driver: type[Driver]) -> None:
    picture = next(driver.pictures)

    def pictures() -> Iterator[Image | None]:
        yield from [picture, picture]
        driver.refuses = 1000
        yield from [None] * 6

    driver.pictures = pictures()
    with Webcam(0) as webcam, pytest.raises(CameraError, match="did not come back"):
        list(webcam)


def test_webcam_closed_by_another_thread_ends_its_iteration(driver: type[Driver]) -> None:
    webcam = Webcam(0)
    iterator = iter(webcam)
    next(iterator)
    webcam.close()
    webcam.close()
    assert list(iterator) == []


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Linux's list of video devices: two cameras, one of them with a second node, and what is to be left out."""
    devices = {
        "pci/usb/video4linux/video10": ("Obsbot Tiny", 0),
        "pci/usb/video4linux/video2": ("Integrated Camera", 0),
        "pci/usb/video4linux/video3": ("Integrated Camera", 1),
        "virtual/video4linux/video4": ("Dummy video device", 0),
        "pci/usb/video4linux/video5": ("OBS Virtual Camera", 0),
    }
    listing = tmp_path / "class"
    listing.mkdir()
    for place, (name, index) in devices.items():
        node = tmp_path / "devices" / place
        node.mkdir(parents=True)
        (node / "name").write_text(name + "\n")
        (node / "index").write_text(f"{index}\n")
        (listing / node.name).symlink_to(node)
    monkeypatch.setattr(camera_module, "SYSFS", listing)
    monkeypatch.setattr("sys.platform", "linux")
    return listing


@pytest.mark.usefixtures("sysfs")
def test_real_cameras_are_listed_and_virtual_ones_are_not() -> None:
    assert cameras() == [CameraInfo(2, "Integrated Camera"), CameraInfo(10, "Obsbot Tiny")]


def test_no_cameras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(camera_module, "SYSFS", tmp_path / "nowhere")
    monkeypatch.setattr("sys.platform", "linux")
    assert cameras() == []


def test_windows_counts_directshow_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [
        av.device.DeviceInfo("x", "Microphone", False, ["audio"]),
        av.device.DeviceInfo("y", "OBS Virtual Camera", False, ["video"]),
        av.device.DeviceInfo("z", "HD Webcam", True, ["video"]),
    ]
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr(av.device, "enumerate_input_devices", lambda format: {"dshow": listed}[format])
    assert cameras() == [CameraInfo(1, "HD Webcam")]


@pytest.mark.usefixtures("driver")
def test_elsewhere_cameras_are_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    Driver.refuses = 2
    monkeypatch.setattr("sys.platform", "darwin")
    assert [info.device for info in cameras()] == [2, 3, 4, 5]
    assert all(capture.released for capture in Driver.opened if capture.isOpened())


@pytest.mark.usefixtures("sysfs")
def test_webcam_by_name(driver: type[Driver]) -> None:
    Webcam("Obsbot Tiny").close()
    assert driver.opened[0].device == 10
    with pytest.raises(CameraNotFound, match="Kinect; found: Integrated Camera, Obsbot Tiny"):
        Webcam("Kinect")


class Clock:
    """Time that passes only where somebody waits for it, or takes it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 1_000_000_000_000
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.now_ns)
        monkeypatch.setattr(threading.Event, "wait", lambda event, timeout_s: self._wait(event, timeout_s))

    def _wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.now_ns += round(timeout_s * 1e9)
        return event.is_set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Clip:
    """Ten numbered pictures at 20 fps, of which each takes some time to decode."""

    fps, width_px, height_px = Fraction(20), 64, 48

    def __init__(self, clock: Clock, *, decode_ms: dict[int, int] | int = 0) -> None:
        self._clock = clock
        self._decode_ms = decode_ms

    def __iter__(self) -> Iterator[Frame]:
        for index in range(10):
            spent = self._decode_ms if isinstance(self._decode_ms, int) else self._decode_ms.get(index, 0)
            self._clock.now_ns += spent * 1_000_000
            yield Frame(numbered(index), index, index * 50_000_000)


def test_paced_plays_at_its_rate_over_and_over(clock: Clock) -> None:
    start_ns = clock.now_ns
    with Paced(Clip(clock, decode_ms=10)) as paced:
        assert (paced.fps, paced.width_px, paced.height_px) == (20, 64, 48)
        frames = list(itertools.islice(paced, 25))
    assert [frame.index for frame in frames] == list(range(25))
    assert [int(frame.image[0, 0, 0]) for frame in frames[10:12]] == [20, 25]
    assert [(frame.time_ns - start_ns) // 1_000_000 for frame in frames] == [10 + 50 * index for index in range(25)]


def test_paced_skips_what_is_late(clock: Clock) -> None:
    with Paced(Clip(clock, decode_ms={3: 170}), loop=False) as paced:
        assert [frame.index for frame in paced] == [0, 1, 2, 5, 6, 7, 8, 9]


def test_paced_goes_on_though_decoding_is_too_slow(clock: Clock) -> None:
    with Paced(Clip(clock, decode_ms=120), loop=False) as paced:
        indices = [frame.index for frame in paced]
    assert indices == [0, 3, 6, 9]


def test_paced_plays_recorded_motion(clock: Clock) -> None:
    face = Landmarks(
        np.zeros((478, 3), np.float32), np.zeros(52, np.float32), np.eye(4, dtype=np.float32), 64, 48, 0, 0
    )
    start_ns = clock.now_ns
    with Paced(Recording(Fraction(25), 64, 48, (face, None))) as paced:
        items = list(itertools.islice(paced, 5))
    assert [item and item.index for item in items] == [0, None, 2, None, 4]
    assert [item and (item.time_ns - start_ns) // 1_000_000 for item in items] == [0, None, 80, None, 160]


def test_closing_ends_paced_iteration() -> None:
    face_seen = Recording(Fraction(1, 100), 64, 48, (None, None))
    paced = Paced(face_seen)
    iterator = iter(paced)
    assert next(iterator) is None
    paced.close()
    assert list(iterator) == []
