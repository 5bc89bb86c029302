"""The strip of portraits and its dialogs, with real events on real pictures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PySide6.QtCore import QEvent, QMimeData, QPoint, QPointF, QRectF, Qt, QUrl
from PySide6.QtGui import QAction, QDragEnterEvent, QDropEvent, QEnterEvent, QImage, QWheelEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QInputDialog, QMessageBox, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from engines import load
from puppet import album
from puppet.library import Entry, Library
from puppet.picture import read_picture
from puppet.portrait import NoFaceError, Selection
from puppet.settings import sample_portraits
from puppet.types import Engine
from puppet.video import VideoFile
from ui.crop import CropDialog
from ui.pick_face import PickFaceDialog
from ui.picture_dialog import PictureDialog
from ui.place_points import PlacePointsDialog
from ui.portraits import PortraitStrip
from ui.tile import Tile

PATIENCE_MS = 90_000  # for a busy machine
HOPPER = Path(__file__).parent.parent / "puppet/assets/portraits/hopper.jpg"
FACE_BOX = (0.3, 0.2, 0.6, 0.5)

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")  # what the offscreen platform cannot do

Made = tuple[PortraitStrip, list[str], list[tuple[str, bool]]]


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


@pytest.fixture
def make(qtbot: QtBot, library: Library) -> Iterator[Callable[[], Made]]:
    """A strip that is shown, what it chose, and what it said."""
    strips = []

    def made() -> Made:
        strip = PortraitStrip(library, load_engine=lambda: load("warp"))
        qtbot.addWidget(strip)
        chosen: list[str] = []
        said: list[tuple[str, bool]] = []
        strip.chosen.connect(chosen.append)
        strip.said.connect(lambda text, error: said.append((text, error)))
        strip.resize(700, strip.height())
        strip.show()
        strips.append(strip)
        return strip, chosen, said

    yield made
    for strip in strips:
        strip.close_down()
    qtbot.waitUntil(lambda: not threads(), timeout=PATIENCE_MS)  # what is under way in the background is not cut off


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A picture without a face."""
    path = tmp_path / "plain.png"
    Pillow.new("RGB", (240, 180), (90, 120, 60)).save(path)
    return path


@pytest.fixture
def kept(library: Library, tmp_path: Path) -> list[Entry]:
    """Three portraits of the user's."""
    entries = []
    for shade in range(3):
        path = tmp_path / f"own {shade}.png"
        Pillow.new("RGB", (80, 100), (80 * shade, 90, 120)).save(path)
        entries.append(library.add(path))
    return entries


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("puppet")]


def tiles(strip: PortraitStrip) -> list[Tile]:
    strip.grab()  # what changed has its place then
    return sorted((tile for tile in strip.findChildren(Tile) if tile.isVisible()), key=Tile.x)


def drop(widget: QWidget, mime: QMimeData) -> None:
    middle, copy = widget.rect().center(), Qt.DropAction.CopyAction
    buttons = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(middle, copy, mime, *buttons)
    QApplication.sendEvent(widget, enter)
    if enter.isAccepted():
        QApplication.sendEvent(widget, QDropEvent(QPointF(middle), copy, mime, *buttons))


def files(*paths: Path) -> QMimeData:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    return mime


def action(tile: Tile, text: str) -> QAction:
    (found,) = (each for each in tile.actions() if each.text() == text)
    return found


def opened(qtbot: QtBot, strip: PortraitStrip, kind: type[PictureDialog]) -> PictureDialog:
    qtbot.waitUntil(lambda: isinstance(strip.adding.dialog, kind), timeout=PATIENCE_MS)
    assert strip.adding.dialog is not None
    qtbot.waitExposed(strip.adding.dialog)
    return strip.adding.dialog


def press_default(qtbot: QtBot, dialog: PictureDialog) -> None:
    (button,) = (each for each in dialog.findChildren(QPushButton) if each.isDefault())
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def drag(qtbot: QtBot, widget: QWidget, start: QPointF, end: QPointF) -> None:
    qtbot.mousePress(widget, Qt.MouseButton.LeftButton, pos=start.toPoint())
    qtbot.mouseMove(widget, end.toPoint())
    qtbot.mouseRelease(widget, Qt.MouseButton.LeftButton, pos=end.toPoint())


def test_click_key_and_number_choose(qtbot: QtBot, make: Callable[[], Made], kept: list[Entry]) -> None:
    strip, chosen, _ = make()
    shown = tiles(strip)
    assert len(shown) == len(sample_portraits()) + 3
    qtbot.mouseClick(shown[1], Qt.MouseButton.LeftButton)
    qtbot.keyClick(shown[3], Qt.Key.Key_Return)
    qtbot.keyClick(shown[4], Qt.Key.Key_Space)
    for number in (6, 7, 0, 99):
        strip.choose_number(number)
    assert chosen == ["sample-hopper", kept[0].key, kept[1].key, kept[2].key]
    assert not any(tile.isChecked() for tile in shown)
    strip.show_chosen(kept[1].key)
    assert [tile.isChecked() for tile in shown] == [False, False, False, False, True, False]
    strip.show_chosen("elsewhere.jpg")
    assert not any(tile.isChecked() for tile in shown)


def test_tiles_show_faces_and_move_under_the_mouse(qtbot: QtBot, make: Callable[[], Made]) -> None:
    strip, _, _ = make()
    tile = tiles(strip)[1]
    empty = tile.grab().toImage()
    qtbot.waitUntil(lambda: tile.grab().toImage() != empty, timeout=PATIENCE_MS)
    still = tile.grab().toImage()
    middle = QPointF(tile.rect().center())
    tile.setAttribute(Qt.WidgetAttribute.WA_UnderMouse)  # as the window system does before it sends the event
    QApplication.sendEvent(tile, QEnterEvent(middle, middle, middle))
    qtbot.waitUntil(lambda: tile.moving, timeout=PATIENCE_MS)
    first = tile.grab().toImage()
    qtbot.waitUntil(lambda: tile.grab().toImage() != first, timeout=PATIENCE_MS)
    tile.setAttribute(Qt.WidgetAttribute.WA_UnderMouse, False)
    QApplication.sendEvent(tile, QEvent(QEvent.Type.Leave))
    assert not tile.moving
    assert tile.grab().toImage() == still
    strip.set_busy("sample-hopper")
    busy = tile.grab().toImage()
    assert busy != still
    qtbot.waitUntil(lambda: tile.grab().toImage() != busy, timeout=PATIENCE_MS)
    strip.set_busy(None)
    assert tile.grab().toImage() == still


def test_a_dropped_file_becomes_a_portrait(
    qtbot: QtBot, make: Callable[[], Made], library: Library, tmp_path: Path
) -> None:
    strip, chosen, said = make()
    picture = tmp_path / "Grace.png"
    Pillow.open(HOPPER).resize((256, 300)).save(picture)
    drop(strip, files(picture))
    qtbot.waitUntil(lambda: bool(chosen), timeout=PATIENCE_MS)
    entry = library.entry(chosen[0])
    assert (entry.name, entry.kept, entry.selection) == ("Grace", True, Selection())
    assert len(tiles(strip)) == len(library.entries())
    assert not any(error for _, error in said)
    assert said[-1] == ("", False)


def test_a_group_asks_for_the_face_and_for_a_crop(
    qtbot: QtBot, make: Callable[[], Made], library: Library, data: Path
) -> None:
    strip, chosen, _ = make()
    drop(strip, files(data / "group.jpg"))
    pick = opened(qtbot, strip, PickFaceDialog)
    assert isinstance(pick, PickFaceDialog)
    right = max(range(2), key=lambda index: pick.view.frames[index].x())
    assert pick.index != right
    place = pick.view.to_widget(pick.view.frames[right].center())
    qtbot.mouseClick(pick.view, Qt.MouseButton.LeftButton, pos=place.toPoint())
    assert pick.index == right
    press_default(qtbot, pick)
    crop = opened(qtbot, strip, CropDialog)  # the face is small
    assert isinstance(crop, CropDialog)
    left, top, _, bottom = suggested = crop.crop
    assert left > 0.5
    assert bottom - top < 0.8
    press_default(qtbot, crop)
    qtbot.waitUntil(lambda: bool(chosen), timeout=PATIENCE_MS)
    selection = library.entry(chosen[0]).selection
    assert selection.crop == suggested
    assert selection.face is not None
    assert selection.face[0] > 0.5
    assert strip.adding.dialog is None


def test_five_points_stand_for_a_face_that_is_not_found(
    qtbot: QtBot, make: Callable[[], Made], library: Library, plain: Path
) -> None:
    strip, chosen, _ = make()
    drop(strip, files(plain))
    dialog = opened(qtbot, strip, PlacePointsDialog)
    assert isinstance(dialog, PlacePointsDialog)
    before = dialog.view.grab().toImage()
    start = dialog.view.to_widget(QPointF(*dialog.markers[0]))
    drag(qtbot, dialog.view, start, start + QPointF(-30, -10))
    moved = dialog.view.to_widget(QPointF(*dialog.markers[0]))
    assert (moved - start - QPointF(-30, -10)).manhattanLength() < 3
    assert dialog.view.grab().toImage() != before
    press_default(qtbot, dialog)
    qtbot.waitUntil(lambda: bool(chosen), timeout=PATIENCE_MS)
    assert library.entry(chosen[0]).selection == Selection(markers=dialog.markers)
    action(tiles(strip)[3], "Crop again …").trigger()  # around the marked face
    crop = opened(qtbot, strip, CropDialog)
    press_default(qtbot, crop)
    qtbot.waitUntil(lambda: len(chosen) == 2, timeout=PATIENCE_MS)
    assert library.entry(chosen[0]).selection == Selection(markers=dialog.markers)


def test_several_files_are_taken_one_after_the_other(
    qtbot: QtBot, make: Callable[[], Made], plain: Path, tmp_path: Path
) -> None:
    strip, chosen, said = make()
    text = tmp_path / "text.txt"
    text.write_text("no picture")
    drop(strip, files(text, plain, HOPPER))
    dialog = opened(qtbot, strip, PlacePointsDialog)
    assert [text for text, error in said if error] == [f"{text} is no picture that can be read; use a JPEG, PNG, WebP, "
                                                       "BMP, TIFF or GIF file."]  # fmt: skip
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: bool(chosen), timeout=PATIENCE_MS)
    assert chosen == ["sample-hopper"]  # which it is


def test_a_picture_is_pasted(qtbot: QtBot, make: Callable[[], Made], library: Library) -> None:
    strip, chosen, _ = make()
    mime = QMimeData()
    assert not strip.can_take(mime)
    mime.setImageData(QImage(str(HOPPER)).scaled(256, 300))
    assert strip.can_take(mime)
    strip.take(mime)
    qtbot.waitUntil(lambda: bool(chosen), timeout=PATIENCE_MS)
    entry = library.entry(chosen[0])
    assert (entry.name, entry.picture.suffix) == ("Pasted picture", ".png")
    assert read_picture(entry.picture).shape == (300, 256, 3)


@pytest.fixture
def ada(library: Library, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A portrait of the person in turn.mp4, of which a few frames do."""
    monkeypatch.setattr(album, "MOST_PICTURES", 6)
    first = next(iter(VideoFile(data / "turn.mp4"))).image
    Pillow.fromarray(first).save(tmp_path / "ada.png")
    return library.add(tmp_path / "ada.png", name="Ada")


def test_a_video_dropped_on_a_portrait_lends_its_frames(
    qtbot: QtBot, make: Callable[[], Made], library: Library, ada: Entry, data: Path
) -> None:
    strip, chosen, said = make()
    strip.show_chosen(ada.key)
    working: list[str] = []
    strip.further.working.connect(working.append)
    tile = tiles(strip)[3]
    before = tile.grab().toImage()
    mime, middle = files(data / "turn.mp4", HOPPER, data / "no_face.mp4"), tile.rect().center()
    buttons = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(tile, QDragEnterEvent(middle, Qt.DropAction.CopyAction, mime, *buttons))
    assert tile.grab().toImage() != before
    drop(tile, mime)
    qtbot.waitUntil(lambda: chosen == [ada.key], timeout=PATIENCE_MS)  # it lives with them at once
    more = library.entry(ada.key).more
    assert len(more) > 3
    assert {path.suffix for path in more} == {".png"}
    (text, error) = said[-1]
    assert not error
    assert f"Pictures added to Ada: {len(more)}." in text
    assert "somebody else seems to be shown: hopper.jpg." in text
    assert "No face was found in any frame of" in text
    assert working[0] == "Looking for more pictures of Ada: 0 %"
    assert len(set(working)) > 3
    assert working[-1] == ""
    strip.further.add(ada, [data / "turn.mp4"])
    qtbot.waitUntil(lambda: said[-1] == ("Ada has these pictures already.", False), timeout=PATIENCE_MS)
    assert library.entry(ada.key).more == more
    action(tiles(strip)[3], "Remove the added pictures …").trigger()
    (box,) = (each for each in strip.findChildren(QMessageBox) if f"{len(more)} of them" in each.text())
    next(button for button in box.buttons() if button.text() == "Remove").click()
    qtbot.waitUntil(lambda: library.entry(ada.key) == ada, timeout=PATIENCE_MS)


def test_looking_through_a_video_can_be_given_up(
    qtbot: QtBot, make: Callable[[], Made], library: Library, ada: Entry, data: Path
) -> None:
    strip, chosen, said = make()
    working: list[str] = []
    strip.further.working.connect(working.append)
    strip.further.add(ada, [data / "turn.mp4"])
    strip.further.add(ada, [data / "turn.mp4"])
    qtbot.waitUntil(lambda: len(working) > 3, timeout=PATIENCE_MS)
    strip.further.give_up()
    assert working[-1] == ""
    count = len(working)
    strip.further.add(ada, [HOPPER])  # the next that is asked for is done
    qtbot.waitUntil(lambda: bool(said), timeout=PATIENCE_MS)
    assert said == [("Left out, since somebody else seems to be shown: hopper.jpg.", True)]
    assert working[count:][0] == "Looking for more pictures of Ada: 0 %"
    assert library.entry(ada.key) == ada
    assert not chosen


def test_the_menu_asks_for_pictures_and_videos(
    qtbot: QtBot, make: Callable[[], Made], library: Library, ada: Entry, data: Path
) -> None:
    strip, _, said = make()
    action(tiles(strip)[3], "Add pictures or a video of the same person …").trigger()
    (dialog,) = strip.findChildren(QFileDialog)
    assert "*.mp4" in dialog.nameFilters()[0]
    dialog.filesSelected.emit([str(data / "turn.mp4")])
    dialog.reject()
    qtbot.waitUntil(lambda: bool(said), timeout=PATIENCE_MS)
    assert library.entry(ada.key).more


def test_a_video_makes_no_portrait_and_says_what_it_is_for(
    qtbot: QtBot, make: Callable[[], Made], kept: list[Entry], data: Path
) -> None:
    strip, _, said = make()
    assert not tiles(strip)[0].acceptDrops()  # a bundled one
    drop(strip, files(data / "turn.mp4"))
    qtbot.waitUntil(lambda: any(error for _, error in said), timeout=PATIENCE_MS)
    assert said[-1][0].startswith("turn.mp4 is a video: drop it on one of your own portraits")


def test_menu_changes_the_users_portraits_only(
    qtbot: QtBot, make: Callable[[], Made], library: Library, kept: list[Entry]
) -> None:
    strip, _, _ = make()
    shown = tiles(strip)
    assert [each.text() for each in shown[0].actions()] == ["Details …"]
    action(shown[3], "Rename …").trigger()
    (rename,) = strip.findChildren(QInputDialog)
    rename.setTextValue("Anna")
    rename.accept()
    qtbot.waitUntil(lambda: tiles(strip)[3].accessibleName() == "Anna", timeout=PATIENCE_MS)
    action(tiles(strip)[5], "Move left").trigger()
    qtbot.waitUntil(lambda: tiles(strip)[4].accessibleName() == "own 2", timeout=PATIENCE_MS)
    assert [entry.key for entry in library.entries()[-3:]] == [kept[0].key, kept[2].key, kept[1].key]
    action(tiles(strip)[4], "Remove …").trigger()
    (box,) = strip.findChildren(QMessageBox)
    (remove,) = (each for each in box.buttons() if each.text() == "Remove")
    remove.click()
    qtbot.waitUntil(lambda: len(tiles(strip)) == 5, timeout=PATIENCE_MS)
    assert [entry.key for entry in library.entries()[-2:]] == [kept[0].key, kept[1].key]
    action(tiles(strip)[3], "Details …").trigger()
    (details,) = (each for each in strip.findChildren(QMessageBox) if each is not box)
    assert "Anna\n80 x 100 px" in details.text()


def test_a_selection_can_be_made_anew(qtbot: QtBot, make: Callable[[], Made], library: Library, tmp_path: Path) -> None:
    picture = tmp_path / "Grace.png"
    Pillow.open(HOPPER).resize((256, 300)).save(picture)
    entry = library.add(picture)
    strip, chosen, _ = make()
    action(tiles(strip)[3], "Crop again …").trigger()
    dialog = opened(qtbot, strip, CropDialog)
    assert isinstance(dialog, CropDialog)
    assert dialog.crop == (0, 0, 1, 1)
    dialog.view.set_band(QRectF(0.1, 0.0, 0.8, 0.8))
    press_default(qtbot, dialog)
    qtbot.waitUntil(lambda: chosen == [entry.key], timeout=PATIENCE_MS)
    np.testing.assert_allclose(library.entry(entry.key).selection.crop, (0.1, 0.0, 0.9, 0.8))
    action(tiles(strip)[3], "Mark the face by hand …").trigger()
    marks = opened(qtbot, strip, PlacePointsDialog)
    assert isinstance(marks, PlacePointsDialog)
    assert marks.markers[0] != pytest.approx(PlacePointsDialog(read_picture(picture)).markers[0])  # at the found face
    press_default(qtbot, marks)
    qtbot.waitUntil(lambda: len(chosen) == 2, timeout=PATIENCE_MS)
    assert library.entry(entry.key).selection.markers == marks.markers
    action(tiles(strip)[3], "Choose the face …").trigger()
    qtbot.waitUntil(lambda: len(chosen) == 3, timeout=PATIENCE_MS)  # there is but one
    np.testing.assert_allclose(library.entry(entry.key).selection.crop, (0.1, 0.0, 0.9, 0.8))
    assert library.entry(entry.key).selection.markers == ()


def test_crop_with_mouse_and_keys(qtbot: QtBot) -> None:
    dialog = CropDialog(read_picture(HOPPER), crop=(0.2, 0.1, 0.8, 0.7), face=FACE_BOX)
    qtbot.addWidget(dialog)
    dialog.open()
    view = dialog.view

    def at(x: float, y: float) -> QPointF:
        return view.to_widget(QPointF(x, y))

    drag(qtbot, view, at(0.8, 0.7), at(0.9, 0.75))  # a corner
    np.testing.assert_allclose(dialog.crop, (0.2, 0.1, 0.9, 0.75), atol=0.01)
    drag(qtbot, view, at(0.2, 0.4), at(0.1, 0.5))  # an edge
    np.testing.assert_allclose(dialog.crop, (0.1, 0.1, 0.9, 0.75), atol=0.01)
    drag(qtbot, view, at(0.5, 0.5), at(0.9, 0.45))  # the inside: it stops at the picture's edge
    np.testing.assert_allclose(dialog.crop, (0.2, 0.05, 1.0, 0.7), atol=0.01)
    drag(qtbot, view, at(0.05, 0.9), at(0.15, 0.98))  # a new one, without the face
    (done,) = (each for each in dialog.findChildren(QPushButton) if each.isDefault())
    assert not done.isEnabled()
    drag(qtbot, view, at(0.02, 0.02), at(0.7, 0.7))
    assert done.isEnabled()
    qtbot.keyClick(view, Qt.Key.Key_Right)
    qtbot.keyClick(view, Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    np.testing.assert_allclose(dialog.crop, (0.03, 0.02, 0.71, 0.71), atol=0.01)
    drag(qtbot, view, at(0.9, 0.9), at(0.9, 0.9))  # a click: too small, and not beyond the picture
    left, top, right, bottom = dialog.crop
    assert 0 <= left < right <= 1
    assert 0 <= top < bottom <= 1


def test_points_with_keys_and_zoom(qtbot: QtBot) -> None:
    dialog = PlacePointsDialog(read_picture(HOPPER))
    qtbot.addWidget(dialog)
    dialog.open()
    view = dialog.view
    first = dialog.markers
    qtbot.keyClick(view, Qt.Key.Key_PageDown)
    qtbot.keyClick(view, Qt.Key.Key_Left, Qt.KeyboardModifier.ShiftModifier)
    assert dialog.markers[1][0] == pytest.approx(first[1][0] - 0.01)
    assert dialog.markers[:1] + dialog.markers[2:] == first[:1] + first[2:]
    nose = view.to_widget(QPointF(*first[2]))
    wheel = QWheelEvent(
        nose, nose, QPoint(), QPoint(0, 360), Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    width = view.area().width()
    QApplication.sendEvent(view, wheel)
    assert view.area().width() > 1.9 * width
    drag(qtbot, view, view.to_widget(QPointF(*first[2])), view.to_widget(QPointF(0.5, 0.5)))
    np.testing.assert_allclose(dialog.markers[2], (0.5, 0.5), atol=0.01)
    view.place(0, QPointF(*dialog.markers[1]))
    (done,) = (each for each in dialog.findChildren(QPushButton) if each.isDefault())
    assert view.face is None
    assert not done.isEnabled()


def test_portraits_with_a_digit_are_prepared(
    qtbot: QtBot, make: Callable[[], Made], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[tuple[str, int | None]] = []

    def embed(self: Library, entry: Entry, engine: Engine, *, long_side_px: int | None) -> None:
        asked.append((entry.name, long_side_px))
        if entry.name == "Hopper":
            raise NoFaceError("No face.")

    monkeypatch.setattr(Library, "embed", embed)
    strip, _, said = make()
    strip.prepare(long_side_px=512)
    qtbot.waitUntil(lambda: len(asked) == 3, timeout=PATIENCE_MS)
    assert asked == [("Astronaut", 512), ("Hopper", 512), ("Painting", 512)]
    assert "A portrait of the strip is not ready: No face." in caplog.text
    assert said == []  # nobody asked for it


def test_it_ends_while_it_works(qtbot: QtBot, make: Callable[[], Made], data: Path) -> None:
    strip, chosen, _ = make()
    strip.add_file(data / "group.jpg")
    strip.close_down()
    strip.close_down()
    qtbot.wait(100)
    assert chosen == []
    assert strip.adding.dialog is None
