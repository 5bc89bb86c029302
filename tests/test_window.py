"""The window, offscreen, before a real clip: what it paints, says and does when keys are pressed, and how it ends."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import av
import cv2
import numpy as np
import pytest
from PIL import Image as Pictures
from PySide6.QtCore import QEvent, QMimeData, QObject, QPointF, Qt, QTimer, QUrl
from PySide6.QtGui import QDropEvent, QImage
from PySide6.QtWidgets import QApplication, QLabel, QPushButton, QToolButton
from pytestqt.qtbot import QtBot

from calibration import store
from engines import load
from engines.warp import WarpEngine
from engines.weights import WeightsError
from puppet import settings as stored
from puppet.__main__ import main
from puppet.camera import CameraError, CameraInfo, Paced
from puppet.library import Library
from puppet.live import OpenedSource, Source
from puppet.portrait import Selection, embed
from puppet.preflight import Preflight
from puppet.recording import Recording
from puppet.sender import Status
from puppet.settings import Settings, asset, sample_portraits
from puppet.sinks import SinkError, VideoWriter
from puppet.tracking import FaceTracker
from puppet.types import Frame, Image, Landmarks
from puppet.video import VideoFile
from ui import app, language, theme
from ui.bridge import Background, Inbox
from ui.outputs import Outputs
from ui.portraits import PortraitStrip
from ui.selfview import SelfView
from ui.session import Session
from ui.stage import Stage
from ui.statusline import StatusLine
from ui.toolbar import Toolbar
from ui.window import Window

SIZE_PX = 128
PATIENCE_MS = 60_000  # for a busy machine; what is waited for comes within a second
MARK = (0, 255, 0)  # fills every picture of the marked camera
NO_MODULE = "The kernel module v4l2loopback is not loaded."
LOAD_IT = "Run: sudo modprobe v4l2loopback"

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")  # what the offscreen platform cannot do

Open = Callable[..., Window]


class Unplugged(Paced[Landmarks | None]):
    """A source that is gone after a few items."""

    def __iter__(self) -> Iterator[Landmarks | None]:
        for index, item in enumerate(super().__iter__()):
            if index == 5:
                raise CameraError("The camera is gone; plug it in.")
            yield item


class Pictures30:
    """A camera that gives one picture over and over."""

    def __init__(self, image: Image, *, fps: int = 30) -> None:
        self.image, self.fps, self.width_px, self.height_px = image, Fraction(fps), image.shape[1], image.shape[0]

    def __iter__(self) -> Iterator[Frame]:
        return (Frame(self.image, index, 0) for index in range(1000))


class Kept(list[Settings]):
    """Every settings that the window asked to remember."""


@pytest.fixture(autouse=True)
def _plain(qapp: QApplication) -> Iterator[None]:
    language.use("en")
    theme.apply("dark")
    yield
    language.use("en")


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def open_window(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept: Kept) -> Iterator[Open]:
    """Opens a window on one source after the other; after the test it is closed, which must end every thread."""
    opened: list[Window] = []

    def open_on(*sources: Source, camera: str = "", notice: str = "", **changes: object) -> Window:
        rest = list(sources)
        monkeypatch.setattr("puppet.live.open_source", lambda wanted: OpenedSource(rest.pop(0), camera, notice))
        settings = Settings().changed({"engine.size_px": SIZE_PX, "window.recordings": str(tmp_path / "films")})
        settings = settings.changed({name.replace("__", "."): value for name, value in changes.items()})
        session = Session(settings, library=Library(tmp_path / "library"), load_engine=load)
        window = Window(session, keep=kept.append)
        qtbot.addWidget(window)
        window.show()
        window.choose("sample-astronaut")
        session.start()
        opened.append(window)
        wait_for(qtbot, lambda: session.is_running and session.live.timings.snapshot().get("shown") is not None)
        return window

    yield open_on
    for window in opened:
        window.close()
    wait_for(qtbot, lambda: not threads())  # what is under way in the background is not cut off


@pytest.fixture
def sample() -> Paced[Landmarks | None]:
    return Paced(Recording.load(asset("sample.motion")))


def threads() -> list[str]:
    """Those that are at work for the window."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("puppet")]


def picture_of(name: str) -> Image:
    path = next(path for path in sample_portraits() if path.stem == name)
    with load("warp") as engine:
        return embed(path, engine, long_side_px=SIZE_PX).portrait.image


def shown(window: Window) -> np.ndarray:
    """What the stage paints, (H, W, 3)."""
    grabbed = window.findChild(Stage).grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(grabbed.constBits(), np.uint8).reshape(grabbed.height(), grabbed.bytesPerLine())
    return rows[:, : 3 * grabbed.width()].reshape(grabbed.height(), grabbed.width(), 3).astype(float)


def likeness(window: Window, picture: Image) -> float:
    """Correlation of what is shown with `picture`, mirrored and as large as fits in its middle."""
    field = shown(window)
    scale = min(field.shape[0] / picture.shape[0], field.shape[1] / picture.shape[1])
    scaled = cv2.resize(picture[:, ::-1], None, fx=scale, fy=scale)
    top, left = (field.shape[0] - scaled.shape[0]) // 2, (field.shape[1] - scaled.shape[1]) // 2
    part = field[top : top + scaled.shape[0], left : left + scaled.shape[1]]
    return float(np.corrcoef(part.ravel(), scaled.ravel())[0, 1])


def texts(window: Window) -> str:
    return "\n".join(label.text() for label in window.findChildren(QLabel) if label.isVisible())


def said(window: Window) -> str:
    return window.findChild(Stage).banner.text


def wait_for(qtbot: QtBot, condition: Callable[[], object]) -> None:
    qtbot.waitUntil(lambda: bool(condition()), timeout=PATIENCE_MS)


def button(window: Window, name: str) -> QToolButton:
    return next(each for each in window.findChildren(QToolButton) if each.accessibleName() == name)


def goes_on(window: Window, qtbot: QtBot) -> bool:
    """Whether the portrait moves."""
    before = shown(window)
    wait_for(qtbot, lambda: np.abs(shown(window) - before).mean() > 0.1)
    return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def streamed(address: str) -> Image:
    """The picture that the page of this address shows."""
    with urlopen(f"{address}/stream", timeout=PATIENCE_MS / 1000) as answer:
        size = next(int(line.split()[1]) for line in answer if line.startswith(b"Content-Length"))
        assert answer.readline() == b"\r\n"
        return np.asarray(Pictures.open(BytesIO(answer.read(size))))


def films(tmp_path: Path, pattern: str) -> list[Path]:
    """The finished ones: what is being written has a hidden name."""
    return [path for path in (tmp_path / "films").glob(pattern) if not path.name.startswith(".")]


def test_clip_moves_the_portrait(open_window: Open, qtbot: QtBot, data: Path) -> None:
    window = open_window(Paced(VideoFile(data / "turn.mp4")))
    wait_for(qtbot, lambda: "tracking" in texts(window))
    first = shown(window)
    wait_for(qtbot, lambda: np.abs(shown(window) - first).mean() > 0.5)
    assert likeness(window, picture_of("astronaut")) > 0.85
    assert "engine warp (the best that runs here)" in texts(window)
    assert "ms behind" in texts(window)


def test_camera_is_seen_in_the_self_view_alone(open_window: Open, qtbot: QtBot, tmp_path: Path) -> None:
    marked = Pictures30(np.full((120, 160, 3), MARK, np.uint8))
    window = open_window(Paced(marked))

    def marks(picture: np.ndarray) -> int:
        return int((np.abs(picture - MARK).max(axis=2) < 40).sum())

    for key in (Qt.Key.Key_R, Qt.Key.Key_S):
        qtbot.keyClick(window, key)
    assert marks(shown(window)) == 0
    qtbot.keyClick(window, Qt.Key.Key_E)
    wait_for(qtbot, lambda: marks(shown(window)) > 1000)
    wait_for(qtbot, lambda: films(tmp_path, "*.png"))
    wait_for(qtbot, lambda: "recording 0:01" in texts(window))
    qtbot.keyClick(window, Qt.Key.Key_E)
    wait_for(qtbot, lambda: marks(shown(window)) == 0)
    qtbot.keyClick(window, Qt.Key.Key_R)
    wait_for(qtbot, lambda: films(tmp_path, "puppet*.mp4"))
    snapshot = np.asarray(Pictures.open(films(tmp_path, "*.png")[0]).convert("RGB"), float)
    assert marks(snapshot) == 0
    with av.open(str(films(tmp_path, "puppet*.mp4")[0])) as film:
        assert all(marks(frame.to_ndarray(format="rgb24").astype(float)) == 0 for frame in film.decode(video=0))


def test_self_view_has_the_shape_of_the_camera_s_picture(open_window: Open, qtbot: QtBot) -> None:
    window = open_window(Paced(Pictures30(np.full((90, 160, 3), MARK, np.uint8))))
    qtbot.keyClick(window, Qt.Key.Key_E)
    view = window.findChild(SelfView)
    wait_for(qtbot, lambda: view.width() / view.height() == pytest.approx(16 / 9, rel=0.02))


def test_self_view_is_empty_once_it_is_stopped(open_window: Open, qtbot: QtBot, data: Path) -> None:
    window = open_window(Paced(VideoFile(data / "face.mp4")), view__self_view=True)
    view = window.findChild(SelfView)

    def contrast() -> float:
        grabbed = view.grab().toImage().convertToFormat(QImage.Format.Format_Grayscale8)
        rows = np.frombuffer(grabbed.constBits(), np.uint8).reshape(grabbed.height(), grabbed.bytesPerLine())
        return float(rows[4:-4, 4 : grabbed.width() - 4].std())

    wait_for(qtbot, lambda: contrast() > 10)
    window.session.stop()
    wait_for(qtbot, lambda: contrast() < 1)
    qtbot.wait(200)  # for what was under way
    assert contrast() < 1


def test_number_keys_swap_the_portrait(open_window: Open, qtbot: QtBot, sample: Source, kept: Kept) -> None:
    window = open_window(sample)
    hopper = picture_of("hopper")
    assert likeness(window, hopper) < 0.8
    qtbot.keyClick(window, Qt.Key.Key_2)
    wait_for(qtbot, lambda: likeness(window, hopper) > 0.85)
    assert kept[-1].window.portrait == "sample-hopper"
    qtbot.keyClick(window, Qt.Key.Key_1)
    wait_for(qtbot, lambda: likeness(window, hopper) < 0.8)


def test_dropped_picture_joins_the_portraits(
    open_window: Open, qtbot: QtBot, sample: Source, tmp_path: Path, kept: Kept
) -> None:
    window = open_window(sample)
    picture = tmp_path / "dropped.jpg"
    picture.write_bytes(sample_portraits()[1].read_bytes() + b"\0")
    dropped = QMimeData()
    dropped.setUrls([QUrl.fromLocalFile(str(picture))])
    action, buttons, keys = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    window.dropEvent(QDropEvent(QPointF(9, 9), action, dropped, buttons, keys))
    wait_for(qtbot, lambda: len(Library(tmp_path / "library").entries()) == 4)


def test_looking_through_a_video_is_shown_and_cancelled(
    open_window: Open, qtbot: QtBot, sample: Source, tmp_path: Path, data: Path
) -> None:
    window = open_window(sample)
    library = window.session.library
    entry = library.add(sample_portraits()[0], selection=Selection(crop=(0.0, 0.0, 1.0, 0.9)))
    strip = window.findChild(PortraitStrip)
    strip.further.add(entry, [data / "turn.mp4"])
    assert said(window) == "Looking for more pictures of astronaut: 0 %"
    (cancel,) = (each for each in window.findChild(Stage).findChildren(QPushButton) if each.text() == "Cancel")
    qtbot.mouseClick(cancel, Qt.MouseButton.LeftButton)
    assert said(window) == ""
    assert not cancel.isVisible()
    wait_for(qtbot, lambda: not strip.further._errands.busy)
    assert library.entry(entry.key) == entry
    assert said(window) == ""


def test_portrait_that_cannot_be_used_changes_nothing(
    open_window: Open, qtbot: QtBot, sample: Source, tmp_path: Path
) -> None:
    window = open_window(sample)
    picture = tmp_path / "notes.jpg"
    picture.write_text("no picture", encoding="utf-8")
    window.choose(str(picture))
    wait_for(qtbot, lambda: "notes.jpg is no picture" in said(window))
    assert likeness(window, picture_of("astronaut")) > 0.85


def tooltip(window: Window) -> str:
    return window.findChild(StatusLine).toolTip()


def test_realism_is_found_out_in_the_background(
    open_window: Open, qtbot: QtBot, sample: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_in: list[str] = []

    def realism(engine: WarpEngine) -> float:
        asked_in.append(threading.current_thread().name)
        return 0.62

    monkeypatch.setattr("ui.window.JUDGE_EVERY", 1)
    window = open_window(sample)
    wait_for(qtbot, lambda: "tracking" not in texts(window) and "painting" in texts(window))
    assert "looks real" not in tooltip(window)  # the warp engine cannot tell
    monkeypatch.setattr(WarpEngine, "realism", realism)
    wait_for(qtbot, lambda: "looks real: 62 %" in tooltip(window))
    assert set(asked_in) == {"puppet-background"}
    window.session.stop()
    wait_for(qtbot, lambda: "looks real" not in tooltip(window))


def test_realism_that_cannot_be_had_is_asked_for_once(
    open_window: Open, qtbot: QtBot, sample: Source, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[WarpEngine] = []

    def realism(engine: WarpEngine) -> float:
        asked.append(engine)
        raise WeightsError("The critic is damaged.")

    monkeypatch.setattr("ui.window.JUDGE_EVERY", 1)
    monkeypatch.setattr(WarpEngine, "realism", realism)
    window = open_window(sample)
    wait_for(qtbot, lambda: "The critic is damaged." in caplog.text)
    qtbot.wait(1500)
    assert len(asked) == 1
    assert goes_on(window, qtbot)


def test_portraits_are_made_ready_without_saving_on_the_one_that_lives(
    open_window: Open, qtbot: QtBot, sample: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ui.window.AHEAD_MS", 0)
    window = open_window(sample)
    go_on = threading.Event()
    monkeypatch.setattr(Library, "embed", lambda *args, **named: go_on.wait(PATIENCE_MS / 1000))
    live = window.session.live
    assert live is not None
    wait_for(qtbot, lambda: live.distracted)
    go_on.set()
    wait_for(qtbot, lambda: not live.distracted)


def test_key_takes_the_rest_anew_and_escape_leads_back(open_window: Open, qtbot: QtBot, sample: Source) -> None:
    window = open_window(sample)
    rests: list[None] = []
    window.session.calibrated.connect(lambda: rests.append(None))
    wait_for(qtbot, lambda: len(rests) == 1)
    qtbot.keyClick(window, Qt.Key.Key_C)
    wait_for(qtbot, lambda: len(rests) == 2)
    assert button(window, "Calibrate").isChecked()
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    assert not button(window, "Calibrate").isChecked()


def test_freeze_holds_the_portrait(open_window: Open, qtbot: QtBot, sample: Source) -> None:
    window = open_window(sample, motion__idle=False)
    qtbot.keyClick(window, Qt.Key.Key_F)
    qtbot.wait(300)
    held = shown(window)
    qtbot.wait(300)
    assert np.abs(shown(window) - held).max() == 0
    qtbot.keyClick(window, Qt.Key.Key_F)
    wait_for(qtbot, lambda: np.abs(shown(window) - held).mean() > 0.1)


def test_stop_lets_go_of_the_camera_and_start_takes_it_again(open_window: Open, qtbot: QtBot) -> None:
    recording = Recording.load(asset("sample.motion"))
    window = open_window(Paced[Landmarks | None](recording), Paced[Landmarks | None](recording))
    qtbot.mouseClick(button(window, "Start"), Qt.MouseButton.LeftButton)
    wait_for(qtbot, lambda: "puppet-animator" not in threads())
    wait_for(qtbot, lambda: "Stopped" in texts(window))
    qtbot.mouseClick(button(window, "Start"), Qt.MouseButton.LeftButton)
    wait_for(qtbot, lambda: window.session.is_running)
    wait_for(qtbot, lambda: "fps" in texts(window))


def test_key_is_exchanged_and_remembered(open_window: Open, qtbot: QtBot, sample: Source, kept: Kept) -> None:
    window = open_window(sample)
    window.take(window.session.settings.changed({"hotkeys.freeze": "Ctrl+K"}))
    assert kept[-1].hotkeys.freeze == "Ctrl+K"
    assert "Ctrl+K" in button(window, "Freeze").toolTip()
    qtbot.keyClick(window, Qt.Key.Key_F)
    assert not window.session.frozen
    qtbot.keyClick(window, Qt.Key.Key_K, Qt.KeyboardModifier.ControlModifier)
    assert window.session.frozen


def test_changes_act_at_once_and_are_remembered(open_window: Open, qtbot: QtBot, sample: Source, kept: Kept) -> None:
    window = open_window(sample)
    changes = {"motion.head": 0.25, "framing.zoom": 2.0, "view.mirror_preview": False}
    window.take(window.session.settings.changed(changes))
    assert window.session.live.controls.head == 0.25
    assert kept[-1].framing.zoom == 2.0
    wait_for(qtbot, lambda: likeness(window, picture_of("astronaut")) < 0.7)  # neither mirrored nor whole any more


def test_background_is_exchanged(open_window: Open, qtbot: QtBot, sample: Source) -> None:
    window = open_window(sample)
    window.take(window.session.settings.changed({"background.kind": "colour", "background.colour": "#0000ff"}))
    wait_for(qtbot, lambda: (np.abs(shown(window) - (0, 0, 255)).max(axis=2) < 30).mean() > 0.05)


def test_full_screen_shows_the_portrait_alone(open_window: Open, qtbot: QtBot, sample: Source) -> None:
    window = open_window(sample)
    qtbot.keyClick(window, Qt.Key.Key_F11)
    assert window.isFullScreen()
    wait_for(qtbot, lambda: window.findChild(Stage).width() == window.width())
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    assert not window.isFullScreen()
    wait_for(qtbot, lambda: window.findChild(Stage).width() < window.width())


def test_fits_into_640_by_480(open_window: Open, qtbot: QtBot, sample: Source) -> None:
    window = open_window(sample)
    window.resize(640, 480)
    qtbot.wait(50)
    assert (window.width(), window.height()) == (640, 480)
    assert window.findChild(Stage).height() >= 180
    buttons = window.findChild(Toolbar).findChildren(QToolButton)
    cut = [each for each in buttons if each.width() < each.sizeHint().width()]
    assert not [each.accessibleName() for each in cut]


def test_language_and_theme_change_while_it_runs(open_window: Open, qtbot: QtBot, sample: Source) -> None:
    window = open_window(sample)
    window.take(window.session.settings.changed({"window.language": "zh", "window.theme": "light"}))
    wait_for(qtbot, lambda: [each for each in window.findChildren(QToolButton) if each.text() == "校准"])
    assert theme.colours() is theme.LIGHT
    first = shown(window)
    wait_for(qtbot, lambda: np.abs(shown(window) - first).mean() > 0.2)


def test_lost_camera_is_said_and_found_again(open_window: Open, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.observed.RETRY_S", 2.0)
    recording = Recording.load(asset("sample.motion"))
    window = open_window(Unplugged(recording), Paced[Landmarks | None](recording), camera="Good Cam")
    wait_for(qtbot, lambda: "The camera is gone" in said(window))
    held = shown(window)
    wait_for(qtbot, lambda: np.abs(shown(window) - held).max() > 0)  # it idles
    wait_for(qtbot, lambda: said(window) == "")
    assert window.session.source.trouble == ""


def test_dark_and_slow_camera_is_said(open_window: Open, qtbot: QtBot) -> None:
    window = open_window(Paced(Pictures30(np.full((120, 160, 3), 9, np.uint8))), camera="Dark Cam")
    wait_for(qtbot, lambda: "rather dark" in said(window))
    window.session.source.light = 200.0
    wait_for(qtbot, lambda: "Nobody is seen" in said(window))


def test_nobody_is_missed_before_one_can_be_seen(
    open_window: Open, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = threading.Event()

    def load_tracker() -> FaceTracker:
        loaded.wait(PATIENCE_MS / 1000)
        return FaceTracker(follower=False)

    monkeypatch.setattr("puppet.lazy_tracker._load_tracker", load_tracker)
    monkeypatch.setattr("ui.window.LOOK_MS", 20)
    window = open_window(Paced(Pictures30(np.full((120, 160, 3), 200, np.uint8))))
    qtbot.wait(500)
    assert said(window) == ""
    loaded.set()
    wait_for(qtbot, lambda: "Nobody is seen" in said(window))


def test_notice_of_a_missing_camera(open_window: Open, qtbot: QtBot, sample: Source) -> None:
    window = open_window(sample, notice="There is no camera.")
    assert said(window) == "There is no camera."
    qtbot.mouseClick(button(window, "Dismiss"), Qt.MouseButton.LeftButton)
    assert said(window) == ""


def test_what_the_core_says_is_shown_in_the_window_s_language(
    open_window: Open, qtbot: QtBot, sample: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    language.use("zh")
    nothing = "No camera was found. The bundled motion plays instead; connect a camera and start again."
    window = open_window(sample, notice=nothing)
    wait_for(qtbot, lambda: "未找到摄像头" in said(window))
    assert not set(nothing.split()) & set(said(window).split())
    monkeypatch.setattr("puppet.virtual_camera.preflight", lambda device: Preflight(problem=NO_MODULE, advice=LOAD_IT))
    qtbot.keyClick(window, Qt.Key.Key_V)
    wait_for(qtbot, lambda: "未加载内核模块" in said(window))
    assert "sudo modprobe v4l2loopback" in said(window)


def test_missing_virtual_camera_is_explained(
    open_window: Open, qtbot: QtBot, sample: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    from puppet.preflight import Preflight

    missing = Preflight(problem="No virtual camera is installed.", advice="Install one.")
    monkeypatch.setattr("puppet.virtual_camera.preflight", lambda device: missing)
    window = open_window(sample)
    qtbot.mouseClick(button(window, "Virtual camera"), Qt.MouseButton.LeftButton)
    wait_for(qtbot, lambda: said(window) == "No virtual camera is installed. Install one.")
    assert not button(window, "Virtual camera").isChecked()


def test_virtual_camera_that_is_not_wanted_any_more_is_closed(
    open_window: Open, qtbot: QtBot, sample: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera, opening = FakeCamera(last=1000), threading.Event()

    def slow() -> FakeCamera:
        opening.wait(10)
        return camera

    monkeypatch.setattr("ui.outputs._open_camera", slow)
    window = open_window(sample)
    for _ in range(2):
        qtbot.keyClick(window, Qt.Key.Key_V)
    opening.set()
    wait_for(qtbot, lambda: camera.closed)
    assert camera.sent == []
    assert not button(window, "Virtual camera").isChecked()


class FakeCamera:
    """A virtual camera that breaks after some frames."""

    def __init__(self, *, last: int) -> None:
        self.sent: list[Image] = []
        self.closed = False
        self.status = Status(device="Fake Cam", fps=30.0)
        self._last = last

    def send(self, frame: Frame) -> None:
        if len(self.sent) == self._last:
            raise SinkError("The cable is cut.")
        self.sent.append(frame.image)

    def close(self) -> None:
        self.closed = True


def test_virtual_camera_gets_the_portrait_and_may_fail_alone(
    open_window: Open, qtbot: QtBot, sample: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = FakeCamera(last=20)
    monkeypatch.setattr("ui.outputs._open_camera", lambda: camera)
    window = open_window(sample)
    qtbot.keyClick(window, Qt.Key.Key_V)
    wait_for(qtbot, lambda: "Other programs now see the portrait as the camera “Fake Cam”" in said(window))
    assert button(window, "Virtual camera").isChecked()
    wait_for(qtbot, lambda: "The virtual camera ended: The cable is cut." in said(window))
    assert not button(window, "Virtual camera").isChecked()
    wait_for(qtbot, lambda: camera.closed)
    assert np.corrcoef(camera.sent[0].ravel(), picture_of("astronaut").ravel())[0, 1] > 0.85  # not mirrored
    assert goes_on(window, qtbot)


def test_full_disk_ends_the_recording_alone(
    open_window: Open, qtbot: QtBot, sample: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(writer: VideoWriter, image: Image) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(VideoWriter, "_write", full)
    window = open_window(sample)
    qtbot.keyClick(window, Qt.Key.Key_R)
    wait_for(qtbot, lambda: "The recording ended:" in said(window))
    assert ".mp4 cannot be written: No space left on device." in said(window)
    assert not button(window, "Record").isChecked()
    assert goes_on(window, qtbot)
    assert "Saved as" not in said(window)
    assert list((tmp_path / "films").iterdir()) == []


def test_recording_that_cannot_be_begun(open_window: Open, qtbot: QtBot, sample: Source, tmp_path: Path) -> None:
    window = open_window(sample)
    (tmp_path / "films").write_text("no folder", encoding="utf-8")
    qtbot.keyClick(window, Qt.Key.Key_R)
    wait_for(qtbot, lambda: "films (File exists); choose another folder." in said(window))
    assert not button(window, "Record").isChecked()
    assert goes_on(window, qtbot)


def test_recording_without_a_face_is_not_said_to_be_saved(open_window: Open, qtbot: QtBot, tmp_path: Path) -> None:
    window = open_window(Paced(Pictures30(np.full((120, 160, 3), 9, np.uint8))))
    outputs = window.findChild(Outputs)
    outputs.record("motion")
    wait_for(qtbot, lambda: "recording 0:" in texts(window))
    outputs.stop_recording()
    wait_for(qtbot, lambda: "nothing was saved" in said(window))
    assert not films(tmp_path, "*")


def test_stream_shows_the_portrait_to_whoever_has_its_address(open_window: Open, qtbot: QtBot, sample: Source) -> None:
    window = open_window(sample, stream__port=free_port())
    qtbot.keyClick(window, Qt.Key.Key_B)
    wait_for(qtbot, lambda: "the address is copied" in said(window))
    address = QApplication.clipboard().text()
    assert address in said(window)
    QApplication.clipboard().clear()
    (action,) = button(window, "Stream").menu().actions()
    assert address in action.text()
    action.trigger()
    assert QApplication.clipboard().text() == address
    assert np.corrcoef(streamed(address).ravel(), picture_of("astronaut").ravel())[0, 1] > 0.85  # not mirrored
    wait_for(qtbot, lambda: "stream, viewers: 0" in texts(window))
    qtbot.mouseClick(button(window, "Stream"), Qt.MouseButton.LeftButton)
    wait_for(qtbot, lambda: "stream" not in texts(window))
    assert not action.isEnabled()
    with pytest.raises(URLError):
        urlopen(address, timeout=5)


def test_port_that_is_taken_is_said(open_window: Open, qtbot: QtBot, sample: Source) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        window = open_window(sample, stream__port=port)
        qtbot.mouseClick(button(window, "Stream"), Qt.MouseButton.LeftButton)
        wait_for(qtbot, lambda: f"Port {port} of this computer cannot be used" in said(window))
    assert not button(window, "Stream").isChecked()
    assert goes_on(window, qtbot)


def test_outputs_fail_alone(
    open_window: Open, qtbot: QtBot, sample: Source, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    camera = FakeCamera(last=20)
    monkeypatch.setattr("ui.outputs._open_camera", lambda: camera)
    window = open_window(sample, stream__port=free_port())
    qtbot.keyClick(window, Qt.Key.Key_B)
    wait_for(qtbot, lambda: "the address is copied" in said(window))
    for key in (Qt.Key.Key_R, Qt.Key.Key_V):
        qtbot.keyClick(window, key)
    wait_for(qtbot, lambda: "The virtual camera ended: The cable is cut." in said(window))
    wait_for(qtbot, lambda: "recording 0:" in texts(window))
    assert streamed(QApplication.clipboard().text()).shape == picture_of("astronaut").shape
    qtbot.keyClick(window, Qt.Key.Key_R)
    wait_for(qtbot, lambda: films(tmp_path, "*.mp4"))


def test_output_that_hangs_is_not_closed_under_its_thread(
    open_window: Open, qtbot: QtBot, sample: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ui.session.FREEING_S", 0.1)
    hanging, release = threading.Event(), threading.Event()
    camera = FakeCamera(last=1000)

    def send(frame: Frame) -> None:
        hanging.set()
        release.wait(60)

    monkeypatch.setattr(camera, "send", send)
    monkeypatch.setattr("ui.outputs._open_camera", lambda: camera)
    window = open_window(sample)
    qtbot.keyClick(window, Qt.Key.Key_V)
    wait_for(qtbot, hanging.is_set)
    qtbot.keyClick(window, Qt.Key.Key_V)
    wait_for(qtbot, lambda: "An output does not answer any more" in said(window))
    assert not camera.closed
    assert goes_on(window, qtbot)
    release.set()


def test_motion_is_recorded(open_window: Open, qtbot: QtBot, sample: Source, tmp_path: Path) -> None:
    window = open_window(sample)
    outputs = window.findChild(Outputs)
    formats = button(window, "Record").menu().actions()
    assert all(each.isEnabled() for each in formats)
    outputs.record("motion")
    wait_for(qtbot, lambda: "recording 0:01" in texts(window))
    assert not any(each.isEnabled() for each in formats)
    outputs.stop_recording()
    wait_for(qtbot, lambda: films(tmp_path, "*.motion"))
    assert all(each.isEnabled() for each in formats)
    assert len(Recording.load(films(tmp_path, "*.motion")[0])) > 20


def test_output_is_mirrored_when_asked(open_window: Open, qtbot: QtBot, tmp_path: Path, data: Path) -> None:
    window = open_window(Paced(VideoFile(data / "no_face.mp4")), motion__idle=False, view__mirror_output=True)
    qtbot.mouseClick(button(window, "Snapshot"), Qt.MouseButton.LeftButton)
    wait_for(qtbot, lambda: films(tmp_path, "*.png"))
    wait_for(qtbot, lambda: "Saved as" in said(window))
    picture = np.asarray(Pictures.open(films(tmp_path, "*.png")[0]).convert("RGB"), float)
    portrait = picture_of("astronaut").astype(float)
    assert np.abs(picture - portrait[:, ::-1]).mean() < 3 < np.abs(picture - portrait).mean()


def kept_waiting_ns() -> dict[str, int]:
    """For how long each thread of this process was ready to run, but others ran (Linux, sched-stats.rst)."""
    delays = {}
    for file in Path("/proc/self/task").glob("*/schedstat"):
        with suppress(OSError):  # that thread has ended
            delays[file.parent.name] = int(file.read_text().split()[1])
    return delays


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="nothing tells who kept whom waiting")
def test_no_event_keeps_the_window_busy(open_window: Open, qtbot: QtBot, data: Path) -> None:
    """The event loop comes round within 50 ms, whatever the user does: so long at most does it work, or wait.

    What other programs take from ours does not count: the times for which threads of ours were ready to run and were
    not let. Any of them may have held Python's lock meanwhile, one after the other.
    """
    window = open_window(Paced(VideoFile(data / "turn.mp4")))
    beats: list[tuple[int, dict[str, int]]] = []
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append((time.monotonic_ns(), kept_waiting_ns())))
    timer.start(1)
    qtbot.wait(200)
    for key in (Qt.Key.Key_2, Qt.Key.Key_E, Qt.Key.Key_C, Qt.Key.Key_Escape, Qt.Key.Key_R, Qt.Key.Key_S, Qt.Key.Key_1):
        QTimer.singleShot(0, lambda key=key: qtbot.keyClick(window, key))
        qtbot.wait(300)
    window.take(window.session.settings.changed({"background.kind": "blur", "framing.zoom": 1.5}))
    qtbot.wait(500)
    wait_for(qtbot, lambda: len(beats) > 50)
    timer.stop()
    busy_ms = [
        (now_ns - last_ns - sum(kept_ns[thread] - before_ns.get(thread, 0) for thread in kept_ns)) / 1e6
        for (last_ns, before_ns), (now_ns, kept_ns) in pairwise(beats)
    ]
    assert max(busy_ms) < 50


def test_rest_is_kept_for_the_same_camera(open_window: Open, qtbot: QtBot) -> None:
    recording = Recording.load(asset("sample.motion"))
    window = open_window(Paced[Landmarks | None](recording), camera="Rest Cam")
    wait_for(qtbot, lambda: store.load("Rest Cam") is not None)
    window.close()
    kept = store.load("Rest Cam")
    again = open_window(Paced[Landmarks | None](recording), camera="Rest Cam")
    qtbot.wait(1500)
    assert store.load("Rest Cam").neutral.points.tolist() == kept.neutral.points.tolist()
    again.close()


def test_remembered_camera_that_is_not_there(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("puppet.camera.cameras", lambda: [CameraInfo(3, "Other Cam")])
    monkeypatch.setattr("puppet.live.cameras", lambda: [CameraInfo(3, "Other Cam")])
    monkeypatch.setattr("puppet.live.Webcam", lambda device: Paced(Recording.load(asset("sample.motion"))))
    settings = Settings().changed({"camera.device": "Old Cam", "engine.size_px": SIZE_PX})
    session = Session(settings, library=Library(tmp_path), load_engine=load)
    heard: list[str] = []
    session.said.connect(lambda text, kind: heard.append(text))
    session.choose("sample-astronaut")
    session.start()
    wait_for(qtbot, lambda: session.is_running)
    assert session.camera == "Other Cam"
    assert "Old Cam is not there" in heard[0]
    session.close()


def test_inbox_holds_the_newest_item_and_announces_once(qtbot: QtBot) -> None:
    arrivals: list[None] = []
    parent = QObject()
    with Inbox[Frame](parent) as inbox:
        inbox.arrived.connect(lambda: arrivals.append(None))
        frames = [Frame(np.zeros((1, 1, 3), np.uint8), index, index) for index in range(3)]
        for frame in frames:
            inbox.send(frame)
        assert len(arrivals) == 1
        assert inbox.take() is frames[2]
        assert inbox.take() is None
        inbox.send(frames[0])
        assert len(arrivals) == 2


def test_everything_of_qt_ends_with_the_window(qapp: QApplication, tmp_path: Path) -> None:
    """Python looks for garbage in whatever thread it likes, and an object of Qt's may end in its own one only."""
    session = Session(Settings(), library=Library(tmp_path), load_engine=load)
    window = Window(session, keep=lambda settings: None)
    objects = [session, session.inbox, session.faces, window.outputs, window.outputs.stream]
    assert set(objects) <= set(window.findChildren(QObject))
    ended: list[None] = []
    for each in objects:
        each.destroyed.connect(lambda: ended.append(None), Qt.ConnectionType.DirectConnection)
    window.close()
    window.deleteLater()
    qapp.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert len(ended) == len(objects)


def test_only_the_newest_background_job_is_answered(qtbot: QtBot) -> None:
    parent = QObject()
    background = Background(parent)
    started, release = threading.Event(), threading.Event()
    answers: list[object] = []

    def slow() -> str:
        started.set()
        release.wait(10)
        return "slow"

    def failing() -> str:
        raise ValueError("failing")

    background.run(slow, answers.append, answers.append)
    assert started.wait(10)
    background.run(failing, lambda _: None, answers.append)
    release.set()
    wait_for(qtbot, lambda: bool(answers))
    assert [repr(answer) for answer in answers] == ["ValueError('failing')"]
    assert background.close()


def run_for(monkeypatch: pytest.MonkeyPatch, until: Callable[[Window], object]) -> list[Window]:
    """Have the program's window close itself once `until` is true of it."""
    windows: list[Window] = []

    class Closing(Window):
        def __init__(self, session: Session, *, keep: Callable[[Settings], None]) -> None:
            super().__init__(session, keep=keep)
            windows.append(self)
            self._poll = QTimer(self)
            self._poll.timeout.connect(lambda: self.close() if until(self) else None)
            self._poll.start(50)

    monkeypatch.setattr("ui.app.Window", Closing)
    return windows


def test_without_a_camera_the_bundled_motion_plays(
    monkeypatch: pytest.MonkeyPatch, qapp: QApplication, tmp_path: Path
) -> None:
    monkeypatch.setattr("puppet.live.cameras", list)
    windows = run_for(monkeypatch, lambda window: "No camera was found" in said(window) and window.session.is_running)
    file = tmp_path / "settings.toml"
    assert main(["run", "--size", str(SIZE_PX), "--settings", str(file), "--theme", "light"]) == 0
    assert len(windows) == 1
    assert theme.colours() is theme.LIGHT
    assert not file.exists() or stored.load(file).window.theme == "system"


def test_video_file_as_the_camera(
    monkeypatch: pytest.MonkeyPatch, qapp: QApplication, data: Path, tmp_path: Path
) -> None:
    windows = run_for(monkeypatch, lambda window: "tracking" in texts(window))
    arguments = ["--camera", str(data / "face.mp4"), "--portrait", str(sample_portraits()[1]), "--size", str(SIZE_PX)]
    assert main(["run", *arguments, "--settings", str(tmp_path / "s.toml"), "--set", "motion.head=0.5"]) == 0
    assert windows[0].session.settings.motion.head == 0.5
    assert windows[0].session.entry.picture.name == sample_portraits()[1].name


def test_what_is_chosen_is_kept_in_the_file(
    monkeypatch: pytest.MonkeyPatch, qapp: QApplication, tmp_path: Path
) -> None:
    def choose(window: Window) -> bool:
        window.take(window.session.settings.changed({"motion.head": 0.75}))
        return window.session.is_running

    monkeypatch.setattr("puppet.live.cameras", list)
    run_for(monkeypatch, choose)
    file = tmp_path / "settings.toml"
    assert main(["run", "--size", str(SIZE_PX), "--settings", str(file)]) == 0
    assert stored.load(file) == Settings().changed({"motion.head": 0.75})


def test_bad_input_opens_no_window(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[motion]\nhaed = 1.0\n", encoding="utf-8")
    for arguments, sentence in (
        (["--portrait", str(tmp_path / "no.jpg")], "There is no file"),
        (["--camera", str(tmp_path / "no.mp4")], "There is no file"),
        (["--set", "motion.head=7"], "lies within"),
        (["--settings", str(tmp_path / "bad.toml")], "did you mean motion.head?"),
    ):
        assert main(["run", *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert sentence in line


def fail() -> None:
    raise ZeroDivisionError


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("event", "error"), [(fail, ZeroDivisionError), (interrupt, KeyboardInterrupt)])
def test_app_hands_back_what_ended_it(
    event: Callable[[], None],
    error: type[BaseException],
    qapp: QApplication,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("puppet.live.cameras", list)
    QTimer.singleShot(100, event)
    with pytest.raises(error):
        app.run(
            Settings().changed({"engine.size_px": SIZE_PX}),
            load_engine=load, file=tmp_path / "s.toml", library=Library(tmp_path),
        )  # fmt: skip
    assert not threads()
