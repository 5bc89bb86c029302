"""Tuning in the window: with a portrait of real pictures and real tuned files; only the training itself is
faked, but for its beginning in another process."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QImage
from PySide6.QtWidgets import QApplication, QLabel, QMessageBox, QProgressBar, QPushButton
from pytestqt.qtbot import QtBot
from safetensors.numpy import load_file

from engines import load, tuned
from engines.neural import DEFAULT
from engines.training.apart import Gain, TuningFailedError
from engines.tuned import Tuned, digest
from puppet.camera import Paced
from puppet.library import Entry, Library
from puppet.live import OpenedSource
from puppet.portrait import Selection
from puppet.recording import Recording
from puppet.settings import Settings, asset
from puppet.types import Image
from puppet.video import VideoFile
from puppet.workbench import Tuning
from ui import language, theme
from ui.comparison import Comparison
from ui.portraits import PortraitStrip
from ui.preview import Preview
from ui.session import Session
from ui.tile import Tile
from ui.tuning import TuningDialog

PATIENCE_MS = 60_000  # for a busy machine
SIZE_PX = 128
TURNED = 20

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", r"raise\(\)")  # what the offscreen platform cannot do


class Training(Tuning):
    """Only its `tune` is another: it goes on until it is `finished`, and makes the person brighter than all others."""

    def __init__(self) -> None:
        self.done = 0.0  # what it reports
        self.gains, self.held_back = True, 1
        self.finished = threading.Event()
        self.also: Sequence[Path] = ()
        self.selection = Selection(crop=(0, 0, 0.5, 0.5))

    def tune(
        self,
        portrait: Path,
        out: Path,
        *,
        also: Sequence[Path],
        selection: Selection,
        progress: Callable[[float | None], bool],
    ) -> Gain:
        self.also, self.selection, stopped = also, selection, False
        while not self.finished.wait(0.01) and not stopped:
            stopped = not progress(self.done)
        if not self.gains:
            raise KeyboardInterrupt if stopped else TuningFailedError("Tuning brought nothing nearer.")
        brighter(portrait).save(out)
        return Gain(held_back=self.held_back, lpips_before=0.2, lpips_after=0.15)


def brighter(portrait: Path) -> Tuned:
    tensors = {
        name: array
        for name, array in load_file(DEFAULT).items()
        if name.startswith(("encoder.first.", "generator.")) and name != tuned.CONSTANT
    }
    tensors["generator.residual.bias"] = tensors["generator.residual.bias"] + np.float16(0.2)
    return Tuned(tensors, digest(DEFAULT), digest(portrait), lpips_before=0.2, lpips_after=0.15)


@pytest.fixture(autouse=True)
def _plain(qapp: QApplication) -> None:
    language.use("en")
    theme.apply("dark")


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


@pytest.fixture(scope="module")
def pictures(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One person, from the front and turned."""
    folder = tmp_path_factory.mktemp("pictures")
    frames = [frame.image for frame in VideoFile(data / "turn.mp4")]
    for index in (0, TURNED):
        cv2.imwrite(str(folder / f"{index:02}.png"), frames[index][..., ::-1])
    return sorted(folder.iterdir())


@pytest.fixture
def entry(library: Library, pictures: list[Path]) -> Entry:
    return library.add_more(library.add(pictures[0], name="Ada"), pictures[1])


@pytest.fixture
def tuned_entry(library: Library, entry: Entry, tmp_path: Path) -> Entry:
    brighter(entry.picture).save(tmp_path / "ada.tuned")
    return library.keep_tuning(entry, tmp_path / "ada.tuned")


@pytest.fixture
def fake() -> Training:
    return Training()


@pytest.fixture
def strip(qtbot: QtBot, library: Library, entry: Entry, fake: Training) -> Iterator[PortraitStrip]:
    """With that portrait. Closed after the test, which must end every thread."""
    made = PortraitStrip(library, load_engine=lambda: load("warp"), tuning=fake)
    qtbot.addWidget(made)
    made.show()
    yield made
    made.close_down()
    wait_for(qtbot, lambda: not threads())


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("puppet")]


def wait_for(qtbot: QtBot, condition: Callable[[], object]) -> None:
    qtbot.waitUntil(lambda: bool(condition()), timeout=PATIENCE_MS)


def actions(strip: PortraitStrip) -> dict[str, QAction]:
    """Those of the portrait that was added, by their texts."""
    strip.grab()  # what changed is visible then
    tiles = [tile for tile in strip.findChildren(Tile) if tile.isVisible() and tile.accessibleName() == "Ada"]
    return {action.text(): action for tile in tiles for action in tile.actions()}


def open_dialog(strip: PortraitStrip) -> TuningDialog:
    actions(strip)["Tune to this person …"].trigger()
    (dialog,) = (each for each in strip.findChildren(TuningDialog) if each.isVisible())
    return dialog


def press(qtbot: QtBot, dialog: TuningDialog, text: str) -> None:
    (button,) = (each for each in dialog.findChildren(QPushButton) if each.isVisible() and each.text() == text)
    assert button.toolTip() or text == "Close"
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def said(dialog: TuningDialog) -> str:
    return "\n".join(label.text() for label in dialog.findChildren(QLabel) if label.isVisible())


def bar(dialog: TuningDialog) -> QProgressBar:
    return dialog.findChildren(QProgressBar)[0]


def picture(view: Preview) -> np.ndarray:
    grabbed = view.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(grabbed.constBits(), np.uint8).reshape(grabbed.height(), grabbed.bytesPerLine())
    return rows[:, : 3 * grabbed.width()].astype(int)


def files(library: Library) -> set[Path]:
    return set(library.folder.rglob("*"))


def test_cancelled_before_a_gain_all_is_as_it_was(
    qtbot: QtBot, strip: PortraitStrip, library: Library, entry: Entry, fake: Training
) -> None:
    before, fake.gains = files(library), False
    dialog = open_dialog(strip)
    assert "2 pictures of Ada" in said(dialog)
    qtbot.keyClick(dialog, Qt.Key.Key_Return)
    wait_for(qtbot, lambda: "Tuning to Ada" in said(dialog) and bar(dialog).maximum() > 0)
    assert bar(dialog).value() == 0
    fake.done = 0.6
    wait_for(qtbot, lambda: bar(dialog).value() == 600)
    assert "left" in said(dialog)
    assert (fake.also, fake.selection) == (entry.more, Selection())
    press(qtbot, dialog, "Cancel")
    wait_for(qtbot, lambda: "Stopped before anything was gained; Ada is as it was." in said(dialog))
    press(qtbot, dialog, "Close")
    wait_for(qtbot, lambda: not dialog.isVisible())
    assert files(library) == before


def test_cancelled_after_a_gain_it_is_still_offered(
    qtbot: QtBot, strip: PortraitStrip, library: Library, entry: Entry, fake: Training
) -> None:
    before = files(library)
    dialog = open_dialog(strip)
    assert open_dialog(strip) is dialog  # one at a time
    press(qtbot, dialog, "Tune")
    wait_for(qtbot, lambda: bar(dialog).maximum() > 0)
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    wait_for(qtbot, lambda: "Which one is more like Ada?" in said(dialog))
    press(qtbot, dialog, "Keep as it was")
    assert not dialog.isVisible()
    assert files(library) == before


def test_compared_used_and_forgotten(
    qtbot: QtBot, strip: PortraitStrip, library: Library, entry: Entry, fake: Training
) -> None:
    strip.show_chosen(entry.key)
    chosen: list[str] = []
    strip.chosen.connect(chosen.append)
    fake.finished.set()
    dialog = open_dialog(strip)
    press(qtbot, dialog, "Tune")
    wait_for(qtbot, lambda: "judge by: 1. The tuned one comes 25 % nearer" in said(dialog))
    (comparison,) = dialog.findChildren(Comparison)
    first = picture(comparison.before)
    wait_for(qtbot, lambda: np.abs(picture(comparison.before) - first).max() > 20)  # it moves
    wait_for(qtbot, lambda: picture(comparison.after).mean() > picture(comparison.before).mean() + 2)
    wait_for(qtbot, lambda: said(dialog).count("looks real:") == 2)
    press(qtbot, dialog, "Use the tuned one")
    wait_for(qtbot, lambda: chosen == [entry.key])
    kept = library.entry(entry.key)
    assert kept.tuned == entry.picture.with_suffix(".tuned")
    assert np.array_equal(
        Tuned.load(kept.tuned, portrait=entry.picture).tensors["generator.residual.bias"],
        brighter(entry.picture).tensors["generator.residual.bias"],
    )
    wait_for(qtbot, lambda: "Forget the tuning …" in actions(strip))
    actions(strip)["Details …"].trigger()
    assert "Tuned to this person" in strip.findChildren(QMessageBox)[-1].text()
    actions(strip)["Forget the tuning …"].trigger()
    (box,) = (each for each in strip.findChildren(QMessageBox) if "Ada as before it was tuned" in each.text())
    next(button for button in box.buttons() if button.text() == "Forget").click()
    wait_for(qtbot, lambda: chosen == [entry.key] * 2)
    assert library.entry(entry.key) == entry
    wait_for(qtbot, lambda: actions(strip) and "Forget the tuning …" not in actions(strip))


def test_refusal_is_shown(qtbot: QtBot, strip: PortraitStrip, entry: Entry, fake: Training) -> None:
    fake.gains = False
    fake.finished.set()
    dialog = open_dialog(strip)
    press(qtbot, dialog, "Tune")
    wait_for(qtbot, lambda: "Tuning brought nothing nearer." in said(dialog))
    press(qtbot, dialog, "Close")
    assert not dialog.isVisible()


def test_one_picture_is_asked_about(
    qtbot: QtBot, strip: PortraitStrip, library: Library, entry: Entry, fake: Training
) -> None:
    fake.held_back = 0
    fake.finished.set()
    alone = replace(entry, more=())
    dialog = TuningDialog(alone, library=library, tuning=fake, parent=strip)
    dialog.show()
    assert "a little from one picture of Ada" in said(dialog)
    press(qtbot, dialog, "Tune")
    wait_for(qtbot, lambda: "25 % nearer to the picture" in said(dialog))
    press(qtbot, dialog, "Keep as it was")
    dialog.close_down()


def test_without_torch_it_says_what_is_missing(
    qtbot: QtBot, library: Library, entry: Entry, monkeypatch: pytest.MonkeyPatch, strip: PortraitStrip
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    dialog = TuningDialog(entry, library=library, tuning=Tuning(), parent=strip)
    dialog.show()
    press(qtbot, dialog, "Tune")
    wait_for(qtbot, lambda: "pip install 'portrait-puppet[train]'" in said(dialog))
    press(qtbot, dialog, "Close")


def test_the_other_process_says_why_it_refuses(entry: Entry, tmp_path: Path) -> None:
    plain, out = tmp_path / "plain.png", tmp_path / "ada.tuned"
    cv2.imwrite(str(plain), np.full((240, 240, 3), 90, np.uint8))
    with pytest.raises(TuningFailedError, match="No face was found"):
        Tuning().tune(plain, out, also=entry.more, selection=Selection(), progress=lambda done: True)
    assert not out.exists()


def test_the_other_process_is_ended_at_once(entry: Entry, tmp_path: Path) -> None:
    told: list[float | None] = []

    def progress(done: float | None) -> bool:
        told.append(done)
        return len(told) < 2

    with pytest.raises(KeyboardInterrupt):
        Tuning().tune(entry.picture, tmp_path / "ada.tuned", also=entry.more, selection=Selection(), progress=progress)
    assert told == [None, None]  # torch was not even loaded
    assert not multiprocessing.active_children()


def test_a_process_that_dies_is_said(entry: Entry, tmp_path: Path) -> None:
    def progress(done: float | None) -> bool:
        for child in multiprocessing.active_children():
            child.kill()
        return True

    with pytest.raises(TuningFailedError, match="ended unexpectedly"):
        Tuning().tune(entry.picture, tmp_path / "ada.tuned", also=entry.more, selection=Selection(), progress=progress)


def test_window_that_closes_ends_it(qtbot: QtBot, strip: PortraitStrip, entry: Entry, fake: Training) -> None:
    dialog = open_dialog(strip)
    press(qtbot, dialog, "Tune")
    wait_for(qtbot, lambda: bar(dialog).maximum() > 0)
    strip.close_down()
    assert not dialog.isVisible()
    wait_for(qtbot, lambda: not threads())


def test_another_face_forgets_the_tuning(library: Library, tuned_entry: Entry) -> None:
    cropped = library.select(tuned_entry, Selection(crop=(0.1, 0.0, 1.0, 1.0)))
    assert library.entry(cropped.key).tuned == tuned_entry.tuned
    other = library.select(cropped, Selection(face=(0.5, 0.5)))
    assert other.tuned is None
    assert library.entry(other.key) == other


@pytest.fixture
def session(qtbot: QtBot, library: Library, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A show that begins when it is started, on a computer that would choose the warp engine."""
    monkeypatch.setattr(
        "puppet.live.open_source", lambda wanted: OpenedSource(Paced(Recording.load(asset("sample.motion"))))
    )
    settings = Settings().changed({"engine.size_px": SIZE_PX})
    made = Session(settings, library=library, load_engine=lambda name: load("warp"), tuning=Tuning())
    yield made
    made.close()
    wait_for(qtbot, lambda: not threads())


def test_tuned_portrait_is_painted_by_its_own_engine(qtbot: QtBot, session: Session, tuned_entry: Entry) -> None:
    session.choose("sample-astronaut")
    session.start()
    wait_for(qtbot, lambda: session.is_running)
    assert session.live is not None
    show, painted = session.live, session.live.engine
    assert (painted.name, session.is_tuned) == ("warp", False)
    session.choose(tuned_entry.key)
    wait_for(qtbot, lambda: painted.name == "neural")
    assert session.is_tuned
    wait_for(qtbot, lambda: brightness(session) > 10)
    session.restart()
    wait_for(qtbot, lambda: session.live not in (None, show) and session.live.engine.name == "neural")
    wait_for(qtbot, lambda: brightness(session) > 10)
    session.choose("sample-astronaut")
    wait_for(qtbot, lambda: session.live is not None and session.live.engine.name == "warp")
    assert not session.is_tuned
    session.apply(session.settings.changed({"engine.name": "warp"}))
    session.choose(tuned_entry.key)
    wait_for(qtbot, lambda: session.entry == tuned_entry)
    assert not session.is_tuned


def brightness(session: Session) -> float:
    """Of the newest frame's face, in grey levels above the picture's."""
    frame, embedding = session.inbox.take(), session.embedding
    assert embedding is not None
    if frame is None or frame.image.shape != embedding.portrait.image.shape:
        return 0.0
    left, top = embedding.portrait.landmarks.points[:, :2].min(axis=0).astype(int)
    right, bottom = embedding.portrait.landmarks.points[:, :2].max(axis=0).astype(int)

    def mean(image: Image) -> float:
        return float(image[top:bottom, left:right].mean())

    return mean(frame.image) - mean(embedding.portrait.image)


def test_tuning_that_does_not_fit_is_announced(qtbot: QtBot, session: Session, tuned_entry: Entry) -> None:
    assert tuned_entry.tuned is not None
    tuned_entry.tuned.write_bytes(b"damaged")
    told: list[tuple[str, str]] = []
    session.said.connect(lambda text, kind: told.append((text, kind)))
    session.choose(tuned_entry.key)
    wait_for(qtbot, lambda: session.entry is not None)
    assert not session.is_tuned
    (text, kind), *_ = told
    assert text.startswith("Ada is shown without its tuning:")
    assert "cannot be read as a tuned file" in text
    assert kind == "warning"
