"""The window, offscreen, before a real clip: what it paints, says and swaps, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QTimer, QUrl
from PySide6.QtGui import QDropEvent, QImage
from PySide6.QtWidgets import QApplication, QLabel, QToolButton
from pytestqt.qtbot import QtBot

from engines import load
from puppet.__main__ import main
from puppet.camera import CameraError, Paced
from puppet.live import Live, Source
from puppet.motion import Retargeter
from puppet.portrait import embed
from puppet.recording import Recording
from puppet.settings import asset, sample_portraits
from puppet.types import Calibration, Engine, Frame, Image, Landmarks, PortraitEmbedding, Sink
from puppet.video import VideoFile
from ui import app
from ui.bridge import Background, FrameInbox
from ui.preview import Preview
from ui.window import CALIBRATING, NO_FACE, Window

SIZE_PX = 128
PATIENCE_MS = 20_000  # for a busy machine; what is waited for comes within a second

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")  # what the offscreen platform cannot do

Open = Callable[..., Window]


class Unplugged(Paced[Landmarks | None]):
    """A source that is gone after a few items."""

    def __iter__(self) -> Iterator[Landmarks | None]:
        for index, item in enumerate(super().__iter__()):
            if index == 5:
                raise CameraError("The camera is gone; plug it in.")
            yield item


def embedding_of(path: Path) -> PortraitEmbedding:
    with load("warp") as engine:
        return embed(path, engine, long_side_px=SIZE_PX)


@pytest.fixture
def engine() -> Iterator[Engine]:
    with load("warp") as engine:
        yield engine


@pytest.fixture
def rests() -> list[Calibration]:
    """Every rest that the driver of the open window was given."""
    return []


@pytest.fixture
def open_window(qtbot: QtBot, engine: Engine, rests: list[Calibration]) -> Iterator[Open]:
    """Opens a window on a source; after the test it is closed, which must end every thread."""
    opened: list[Window] = []

    def open_on(source: Source, *, notice: str = "") -> Window:
        inbox = FrameInbox()
        inbox.send(Frame(np.zeros((2, 2, 3), np.uint8), 0, 0))  # frames may come before there is a window
        portraits = sample_portraits()
        live = Live(
            source,
            engine=engine,
            embedding=embedding_of(portraits[0]),
            retargeter=Retargeter(),
            sinks=[inbox],
            calibrated=rests.append,
        )
        window = Window(
            live.__enter__(), inbox, embed=embedding_of, portraits=portraits, chosen=portraits[0], notice=notice
        )
        qtbot.addWidget(window)
        window.show()
        opened.append(window)
        return window

    yield open_on
    for window in opened:
        window.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("puppet")]


@pytest.fixture
def sample() -> Paced[Landmarks | None]:
    return Paced(Recording.load(asset("sample.motion")))


def shown(window: Window) -> np.ndarray:
    """What the preview paints, (H, W, 3)."""
    grabbed = window.findChild(Preview).grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(grabbed.constBits(), np.uint8).reshape(grabbed.height(), grabbed.bytesPerLine())
    return rows[:, : 3 * grabbed.width()].reshape(grabbed.height(), grabbed.width(), 3).astype(float)


def likeness(window: Window, picture: Image) -> float:
    """Correlation of what is shown with `picture`, as large as fits in its middle."""
    field = shown(window)
    scale = min(field.shape[0] / picture.shape[0], field.shape[1] / picture.shape[1])
    scaled = cv2.resize(picture, None, fx=scale, fy=scale)
    top, left = (field.shape[0] - scaled.shape[0]) // 2, (field.shape[1] - scaled.shape[1]) // 2
    part = field[top : top + scaled.shape[0], left : left + scaled.shape[1]]
    return float(np.corrcoef(part.ravel(), scaled.ravel())[0, 1])


def texts(window: Window) -> str:
    return "\n".join(label.text() for label in window.findChildren(QLabel))


def wait_for(qtbot: QtBot, condition: Callable[[], bool]) -> None:
    qtbot.waitUntil(condition, timeout=PATIENCE_MS)


def portrait_buttons(window: Window) -> list[QToolButton]:
    return window.findChildren(QToolButton)


def test_clip_moves_the_portrait_and_is_never_shown(open_window: Open, qtbot: QtBot, data: Path) -> None:
    clip = VideoFile(data / "turn.mp4")
    window = open_window(Paced(clip))
    wait_for(qtbot, lambda: "track" in texts(window))
    first = shown(window)
    wait_for(qtbot, lambda: np.abs(shown(window) - first).mean() > 0.5)
    assert likeness(window, embedding_of(sample_portraits()[0]).portrait.image) > 0.9
    assert likeness(window, next(iter(clip)).image) < 0.5
    assert "engine warp" in texts(window)


def test_notice_is_shown(open_window: Open, sample: Source) -> None:
    assert "There is no camera." in texts(open_window(sample, notice="There is no camera."))


def test_portrait_is_swapped(open_window: Open, qtbot: QtBot, sample: Source) -> None:
    window = open_window(sample)
    other = embedding_of(sample_portraits()[1]).portrait.image
    assert likeness(window, other) < 0.8
    qtbot.mouseClick(portrait_buttons(window)[1], Qt.MouseButton.LeftButton)
    wait_for(qtbot, lambda: likeness(window, other) > 0.9)
    qtbot.keyClick(window, Qt.Key.Key_1)
    wait_for(qtbot, lambda: likeness(window, other) < 0.8)
    assert [button.isChecked() for button in portrait_buttons(window)] == [True, False, False]


def test_dropped_picture_joins_the_portraits(
    open_window: Open, qtbot: QtBot, sample: Source, data: Path, tmp_path: Path
) -> None:
    window = open_window(sample)
    picture = tmp_path / "dropped.jpg"
    picture.write_bytes(sample_portraits()[1].read_bytes())
    dropped = QMimeData()
    dropped.setUrls([QUrl.fromLocalFile(str(picture))])
    action, buttons, keys = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    window.dropEvent(QDropEvent(QPointF(9, 9), action, dropped, buttons, keys))
    wait_for(qtbot, lambda: len(portrait_buttons(window)) == 4)
    assert portrait_buttons(window)[3].isChecked()
    wait_for(qtbot, lambda: likeness(window, embedding_of(picture).portrait.image) > 0.9)


def test_picture_that_cannot_be_used_changes_nothing(
    open_window: Open, qtbot: QtBot, sample: Source, tmp_path: Path
) -> None:
    window = open_window(sample)
    picture = tmp_path / "notes.jpg"
    picture.write_text("no picture", encoding="utf-8")
    window.choose(picture)
    wait_for(qtbot, lambda: "notes.jpg is no picture" in texts(window))
    assert [button.isChecked() for button in portrait_buttons(window)] == [True, False, False]
    before = shown(window)
    wait_for(qtbot, lambda: np.abs(shown(window) - before).mean() > 0.1)


def test_key_takes_the_rest_anew(open_window: Open, qtbot: QtBot, sample: Source, rests: list[Calibration]) -> None:
    window = open_window(sample)
    wait_for(qtbot, lambda: len(rests) == 1)
    qtbot.keyClick(window, Qt.Key.Key_C)
    assert CALIBRATING in texts(window)
    wait_for(qtbot, lambda: len(rests) == 2)
    wait_for(qtbot, lambda: CALIBRATING not in texts(window))


def test_nobody_before_the_camera(open_window: Open, qtbot: QtBot, data: Path) -> None:
    window = open_window(Paced(VideoFile(data / "no_face.mp4")))
    wait_for(qtbot, lambda: NO_FACE in texts(window))
    assert likeness(window, embedding_of(sample_portraits()[0]).portrait.image) > 0.97


def test_camera_that_disappears(open_window: Open, qtbot: QtBot) -> None:
    window = open_window(Unplugged(Recording.load(asset("sample.motion"))))
    wait_for(qtbot, lambda: "The camera is gone; plug it in." in texts(window))
    window.choose(sample_portraits()[1])
    other = embedding_of(sample_portraits()[1]).portrait.image
    wait_for(qtbot, lambda: likeness(window, other) > 0.97)


def test_inbox_holds_the_newest_frame_and_announces_once(qtbot: QtBot) -> None:
    arrivals: list[None] = []
    with FrameInbox() as inbox:
        inbox.arrived.connect(lambda: arrivals.append(None))
        frames = [Frame(np.zeros((1, 1, 3), np.uint8), index, index) for index in range(3)]
        for frame in frames:
            inbox.send(frame)
        assert len(arrivals) == 1
        assert inbox.take() is frames[2]
        assert inbox.take() is None
        inbox.send(frames[0])
        assert len(arrivals) == 2


def test_only_the_newest_background_job_is_answered(qtbot: QtBot) -> None:
    parent = FrameInbox()
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


def fake_run(calls: list[dict[str, object]]) -> Callable[..., None]:
    """Stands for app.run: lets the live puppet paint one frame, and notes what the window would have been given."""

    class First(FrameInbox):
        painted = threading.Event()

        def send(self, frame: Frame) -> None:
            self.painted.set()

    def run(make_live: Callable[[Sink], Live], *, chosen: Path, portraits: Sequence[Path], **rest: object) -> None:
        with First() as sink, make_live(sink):
            assert sink.painted.wait(PATIENCE_MS / 1000)
        calls.append({"chosen": chosen, **rest})

    return run


def test_without_a_camera_the_bundled_motion_plays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[dict[str, object]] = []
    monkeypatch.setattr("puppet.camera.cameras", list)
    monkeypatch.setattr("ui.app.run", fake_run(calls))
    assert main([]) == 0
    (call,) = calls
    assert call["chosen"] == sample_portraits()[0]
    assert "No camera was found" in str(call["notice"])
    assert capsys.readouterr().err == f"puppet: {call['notice']}\n"


def test_video_file_as_the_camera(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Path
) -> None:
    calls: list[dict[str, object]] = []
    monkeypatch.setattr("ui.app.run", fake_run(calls))
    portrait = sample_portraits()[1]
    arguments = ["--camera", str(data / "face.mp4"), "--portrait", str(portrait), "--size", str(SIZE_PX)]
    assert main(["run", *arguments]) == 0
    assert calls[0]["chosen"] == portrait
    assert capsys.readouterr().err == ""


def test_bad_portrait_or_camera_opens_no_window(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for arguments in (["--portrait", str(tmp_path / "no.jpg")], ["--camera", str(tmp_path / "no.mp4")]):
        assert main(["run", "--size", str(SIZE_PX), *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "There is no file" in line


def test_app_hands_back_what_nothing_handled(
    qapp: QApplication, engine: Engine, sample: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_live(sink: Sink) -> Live:
        QTimer.singleShot(100, fail)
        path = sample_portraits()[0]
        return Live(sample, engine=engine, embedding=embedding_of(path), retargeter=Retargeter(), sinks=[sink])

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        app.run(make_live, embed=embedding_of, portraits=sample_portraits(), chosen=sample_portraits()[0])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("puppet")]
