"""The window and its dialogs by keyboard alone: where the tabulator leads, that one sees it, and what closes what."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAction, QImage
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QDialog,
    QInputDialog,
    QKeySequenceEdit,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QSlider,
    QToolButton,
    QWidget,
)
from pytestqt.qtbot import QtBot

from engines import load
from puppet.library import Library
from puppet.picture import read_picture
from puppet.settings import Settings, sample_portraits
from ui import language, theme
from ui.banner import Banner
from ui.calibrate import CalibrationPanel
from ui.controls import ControlsPanel
from ui.crop import CropDialog
from ui.picture_dialog import PictureDialog
from ui.place_points import PlacePointsDialog
from ui.portraits import PortraitStrip
from ui.session import Session
from ui.tile import Tile
from ui.toolbar import Toolbar
from ui.window import Window

PATIENCE_MS = 60_000  # for a busy machine
AREAS = (Toolbar, Banner, PortraitStrip, ControlsPanel, CalibrationPanel)
SAME_ROW_PX = 6  # between the middles of what stands in one row

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")  # what only a real screen can do


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """With two portraits of the user's."""
    made = Library(tmp_path / "library")
    for shade, name in enumerate(("Ada", "Bea")):
        path = tmp_path / f"{name}.png"
        Pillow.new("RGB", (80, 100), (80 * shade, 90, 120)).save(path)
        made.add(path)
    return made


@pytest.fixture
def window(qtbot: QtBot, library: Library) -> Iterator[Window]:
    """Before anything was started; closed after the test, which must end every thread."""
    language.use("en")
    theme.apply("dark")
    settings = Settings().changed({"background.kind": "colour", "motion.head": 0.5})
    made = Window(Session(settings, library=library, load_engine=load), keep=lambda settings: None)
    qtbot.addWidget(made)
    with qtbot.waitActive(made):
        made.show()
        made.activateWindow()
    yield made
    made.close()
    wait_for(qtbot, lambda: not [each for each in threading.enumerate() if each.name.startswith("puppet")])


def wait_for(qtbot: QtBot, condition: Callable[[], object]) -> None:
    qtbot.waitUntil(lambda: bool(condition()), timeout=PATIENCE_MS)


def button(window: QWidget, name: str) -> QToolButton:
    return next(each for each in window.findChildren(QToolButton) if each.accessibleName() == name)


def tiles(window: Window) -> list[Tile]:
    window.grab()  # what changed is visible then
    return [each for each in window.findChildren(Tile) if each.isVisible()]


def tile(window: Window, name: str) -> Tile:
    return next(each for each in tiles(window) if each.accessibleName() == name)


def action(tile: Tile, text: str) -> QAction:
    return next(each for each in tile.actions() if each.text() == text)


def walked(qtbot: QtBot, start: QWidget, key: Qt.Key = Qt.Key.Key_Tab) -> list[QWidget]:
    """Where the focus goes from `start`, with real keys, until it is there again."""
    start.setFocus(Qt.FocusReason.TabFocusReason)
    order = [start]
    while len(order) < 200:
        now = QApplication.focusWidget()
        assert now is not None
        qtbot.keyClick(now, key)
        now = QApplication.focusWidget()
        if now is None or now in order:
            break
        order.append(now)
    assert now is start
    return order


def place(widget: QWidget) -> tuple[int, QPoint]:
    """Which area it is in, and where there its middle is."""
    parent: QWidget | None = widget
    while not isinstance(parent, AREAS):
        assert parent is not None
        parent = parent.parentWidget()
    return AREAS.index(type(parent)), widget.mapTo(parent, widget.rect().center())


def misplaced(order: list[QWidget]) -> list[tuple[str, str]]:
    """What does not follow as one reads: from area to area, in each from row to row, in a row from left to right."""
    found = []
    for former, latter in pairwise(order):
        (area, point), (next_area, next_point) = place(former), place(latter)
        down = next_point.y() - point.y()
        right = abs(down) <= SAME_ROW_PX and next_point.x() > point.x()
        if not (next_area > area or (next_area == area and (down > SAME_ROW_PX or right))):
            found.append((former.accessibleName(), latter.accessibleName()))
    return found


def controls(window: Window) -> set[QWidget]:
    """Everything that can be used just now."""
    kinds = (QAbstractButton, QSlider, QComboBox, QKeySequenceEdit)
    found = {each for kind in kinds for each in window.findChildren(kind)}
    return {each for each in found if each.isVisible() and each.isEnabled()}


def pixels(widget: QWidget) -> np.ndarray:
    grabbed = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(grabbed.constBits(), np.uint8).reshape(grabbed.height(), grabbed.bytesPerLine())
    return rows[:, : 3 * grabbed.width()].reshape(grabbed.height(), grabbed.width(), 3).astype(int)


def test_tabulator_goes_as_one_reads_and_reaches_everything(qtbot: QtBot, window: Window) -> None:
    button(window, "Keys").click()
    window.findChild(Banner).tell("Something went wrong.", "error")
    order = walked(qtbot, button(window, "Start"))
    assert len(order) > 60
    assert set(order) == controls(window)
    assert misplaced(order) == []
    assert not [each for each in order if not (each.accessibleName() and each.toolTip())]
    back = walked(qtbot, order[0], Qt.Key.Key_Backtab)
    assert back[1:] == order[:0:-1]


def test_calibration_is_walked_as_it_is_read(qtbot: QtBot, window: Window) -> None:
    qtbot.keyClick(window, Qt.Key.Key_C)
    order = walked(qtbot, button(window, "Start"))
    assert set(order) == controls(window)
    assert misplaced(order) == []
    assert any(isinstance(each, QPushButton) and each.text() == "Cancel" for each in order)
    order[-1].setFocus()
    qtbot.keyClick(order[-1], Qt.Key.Key_Escape)
    assert not button(window, "Calibrate").isChecked()


def test_new_tiles_take_their_place_in_the_order(qtbot: QtBot, window: Window) -> None:
    action(tile(window, "Bea"), "Move left").trigger()
    wait_for(qtbot, lambda: tile(window, "Bea").x() < tile(window, "Ada").x())
    order = walked(qtbot, button(window, "Start"))
    names = [each.accessibleName() for each in order]
    first = names.index("Bea")
    assert names[first : first + 3] == ["Bea", "Ada", "Add a portrait"]
    assert misplaced(order) == []


@pytest.mark.parametrize("name", ["dark", "light"])
def test_focus_is_seen(qtbot: QtBot, window: Window, name: str) -> None:
    theme.apply(name)
    window.findChild(PortraitStrip).show_chosen("sample-astronaut")
    order = walked(qtbot, button(window, "Start"))
    other = {True: order[0], False: order[-1]}
    unseen = []
    for each in order:
        each.setFocus(Qt.FocusReason.TabFocusReason)
        focused = pixels(each)
        other[each is not order[0]].setFocus()
        if (np.abs(focused - pixels(each)).max(axis=2) > 40).sum() < 20:
            unseen.append(each.accessibleName())
    assert not unseen


def test_a_button_s_menu_opens_by_key(qtbot: QtBot, window: Window) -> None:
    record = button(window, "Record")
    qtbot.keyClick(record, Qt.Key.Key_Down)
    assert record.menu().isVisible()
    qtbot.keyClick(record.menu(), Qt.Key.Key_Escape)
    assert not record.menu().isVisible()


def crop_dialog() -> PictureDialog:
    return CropDialog(read_picture(sample_portraits()[0]), crop=(0.0, 0.0, 1.0, 1.0), face=(0.3, 0.2, 0.6, 0.5))


def points_dialog() -> PictureDialog:
    return PlacePointsDialog(read_picture(sample_portraits()[0]))


@pytest.mark.parametrize("make", [crop_dialog, points_dialog])
@pytest.mark.parametrize(
    ("key", "result"),
    [(Qt.Key.Key_Return, QDialog.DialogCode.Accepted), (Qt.Key.Key_Escape, QDialog.DialogCode.Rejected)],
)
def test_picture_dialogs_answer_to_keys(
    qtbot: QtBot, make: Callable[[], PictureDialog], key: Qt.Key, result: QDialog.DialogCode
) -> None:
    dialog = make()
    qtbot.addWidget(dialog)
    with qtbot.waitActive(dialog):
        dialog.open()
        dialog.activateWindow()
    view, *buttons = walked(qtbot, QApplication.focusWidget())
    assert view.accessibleName() == dialog.windowTitle()
    assert [each.isDefault() for each in buttons] == [True, False]
    assert buttons[0].x() < buttons[1].x()
    view.setFocus()
    qtbot.keyClick(view, key)
    assert dialog.result() == result
    assert not dialog.isVisible()


def test_messages_answer_to_keys_and_lose_nothing(qtbot: QtBot, window: Window, library: Library) -> None:
    for text in ("Details …", "Remove …"):
        for key in (Qt.Key.Key_Escape, Qt.Key.Key_Return):
            action(tile(window, "Ada"), text).trigger()
            box = next(each for each in window.findChildren(QMessageBox) if each.isVisible())
            qtbot.keyClick(box, key)
            assert not box.isVisible()
    action(tile(window, "Ada"), "Rename …").trigger()
    rename = window.findChildren(QInputDialog)[-1]
    rename.setTextValue("Anna")
    qtbot.keyClick(rename, Qt.Key.Key_Escape)
    assert not rename.isVisible()
    assert [entry.name for entry in library.entries() if entry.kept] == ["Ada", "Bea"]
    action(tile(window, "Ada"), "Rename …").trigger()
    rename = window.findChildren(QInputDialog)[-1]
    rename.setTextValue("Anna")
    qtbot.keyClick(rename.findChild(QLineEdit), Qt.Key.Key_Return)
    wait_for(qtbot, lambda: "Anna" in [each.accessibleName() for each in tiles(window)])
