"""The panel of controls, driven by real keys and clicks: each control changes its one value, and comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QApplication,
    QCheckBox,
    QColorDialog,
    QComboBox,
    QFileDialog,
    QKeySequenceEdit,
    QLabel,
    QPushButton,
    QScrollArea,
    QSlider,
    QToolButton,
    QWidget,
)
from pytestqt.qtbot import QtBot

from puppet.settings import LIMITS, Settings
from ui import theme
from ui.actions import texts
from ui.controls import ControlsPanel
from ui.fields import Field, SliderField
from ui.hotkeys import KeyField, conflict
from ui.section import Section

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")  # what the offscreen platform cannot do

SLIDERS = sorted(name for name in LIMITS if name.startswith(("motion", "framing", "view")))
SWITCHES = [
    "motion.auto_blink",
    "motion.look_at_camera",
    "motion.idle",
    "framing.follow",
    "view.mirror_preview",
    "view.mirror_output",
    "view.self_view",
    "view.landmarks",
]
CHOICES = {
    "motion.mode": "absolute",
    "background.kind": "transparent",
    "engine.preset": "speed",
    "window.theme": "dark",
    "window.language": "zh",
}


@pytest.fixture
def heard() -> list[Settings]:
    """What the panel announced."""
    return []


@pytest.fixture
def panel(qtbot: QtBot, heard: list[Settings]) -> Iterator[ControlsPanel]:
    panel = ControlsPanel(Settings())
    panel.changed.connect(heard.append)
    scroller = QScrollArea()
    scroller.setWidgetResizable(True)
    scroller.setWidget(panel)
    scroller.resize(316, 500)
    qtbot.addWidget(scroller)
    with qtbot.waitActive(scroller):
        scroller.show()
        scroller.activateWindow()  # where no window manager does
    yield panel
    QApplication.processEvents()


def field(panel: ControlsPanel, name: str) -> Field:
    found = panel.findChild(Field, name)
    assert isinstance(found, Field)
    return found


def reset_button(panel: ControlsPanel, name: str) -> QToolButton:
    return field(panel, name).findChildren(QToolButton)[-1]


def click(qtbot: QtBot, widget: QWidget, at: QPoint | None = None) -> None:
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton, pos=at or widget.rect().center())


def key(qtbot: QtBot, widget: QWidget, pressed: Qt.Key) -> None:
    widget.setFocus()
    qtbot.keyClick(widget, pressed)


def announced(qtbot: QtBot, panel: ControlsPanel, act: Callable[[], object]) -> Settings:
    with qtbot.waitSignal(panel.changed) as signal:
        act()
    assert signal.args is not None
    settings = signal.args[0]
    assert isinstance(settings, Settings)
    return settings


def differing(settings: Settings) -> dict[str, object]:
    """What is not the default."""
    return {name: value for name, value in settings.values().items() if value != Settings().values()[name]}


@pytest.mark.parametrize("name", SLIDERS)
def test_a_slider_moves_by_keys_within_its_limits_and_a_double_click_resets_it(
    qtbot: QtBot, panel: ControlsPanel, name: str
) -> None:
    slider = field(panel, name).findChild(QSlider)
    low, high = LIMITS[name]
    default = Settings().values()[name]
    assert isinstance(default, float)
    changed = announced(qtbot, panel, lambda: key(qtbot, slider, Qt.Key.Key_Right))
    assert differing(changed) == {name: pytest.approx(default + 0.05)}
    assert f"{round(100 * default + 5):d} %" in [
        label.text().lstrip("+") for label in field(panel, name).findChildren(QLabel)
    ]
    assert changed.values()[name] == field(panel, name).value()
    assert announced(qtbot, panel, lambda: key(qtbot, slider, Qt.Key.Key_End)).values()[name] == high
    assert announced(qtbot, panel, lambda: key(qtbot, slider, Qt.Key.Key_Home)).values()[name] == low
    announced(qtbot, panel, lambda: key(qtbot, slider, Qt.Key.Key_PageUp))
    back = announced(qtbot, panel, lambda: qtbot.mouseDClick(slider, Qt.MouseButton.LeftButton))
    assert differing(back) == {}


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_changes_its_value_by_key_and_its_button_resets_it(
    qtbot: QtBot, panel: ControlsPanel, name: str
) -> None:
    box = field(panel, name).findChild(QCheckBox)
    assert not reset_button(panel, name).isVisible()
    changed = announced(qtbot, panel, lambda: key(qtbot, box, Qt.Key.Key_Space))
    assert differing(changed) == {name: not Settings().values()[name]}
    assert reset_button(panel, name).isVisible()
    assert differing(announced(qtbot, panel, lambda: click(qtbot, reset_button(panel, name)))) == {}
    assert not reset_button(panel, name).isVisible()


@pytest.mark.parametrize(("name", "wanted"), CHOICES.items())
def test_a_choice_changes_its_value_by_keys_and_its_button_resets_it(
    qtbot: QtBot, panel: ControlsPanel, name: str, wanted: str
) -> None:
    box = field(panel, name).findChild(QComboBox)

    def choose() -> None:
        while box.currentData() != wanted:
            key(qtbot, box, Qt.Key.Key_Down)

    assert differing(announced(qtbot, panel, choose)) == {name: wanted}
    assert differing(announced(qtbot, panel, lambda: click(qtbot, reset_button(panel, name)))) == {}


def test_freezing_is_told_and_shown_but_no_setting(qtbot: QtBot, panel: ControlsPanel, heard: list[Settings]) -> None:
    box = next(box for box in panel.findChildren(QCheckBox) if box.text() == "Freeze")
    with qtbot.waitSignal(panel.freeze_toggled) as told:
        key(qtbot, box, Qt.Key.Key_Space)
    assert told.args == [True]
    with qtbot.assertNotEmitted(panel.freeze_toggled):
        panel.show_frozen(False)
        panel.show_frozen(True)
    assert box.isChecked()
    assert heard == []


def test_a_colour_is_live_while_it_is_chosen_and_cancelling_brings_the_old_one_back(
    qtbot: QtBot, panel: ControlsPanel
) -> None:
    panel.show_settings(Settings().changed({"background.kind": "colour", "background.colour": "#102030"}))
    button = field(panel, "background.colour").findChild(QPushButton)
    click(qtbot, button)
    dialog = panel.findChild(QColorDialog)
    changed = announced(qtbot, panel, lambda: dialog.setCurrentColor(QColor("#00aaff")))
    assert changed.background.choice == "#00aaff"
    assert "#00aaff" in button.text()
    assert announced(qtbot, panel, dialog.reject).background.colour == "#102030"


def test_a_picture_is_asked_for_when_there_is_none_and_only_then_its_row_shows(
    qtbot: QtBot, panel: ControlsPanel, tmp_path: Path
) -> None:
    picture = tmp_path / "beach.png"
    picture.write_bytes(b"")
    box = field(panel, "background.kind").findChild(QComboBox)
    assert not field(panel, "background.picture").isVisible()
    assert not field(panel, "background.colour").isVisible()
    key(qtbot, box, Qt.Key.Key_End)
    assert box.currentData() == "picture"
    assert field(panel, "background.picture").isVisible()
    dialog = panel.findChild(QFileDialog)
    assert dialog.isVisible()
    changed = announced(qtbot, panel, lambda: dialog.fileSelected.emit(str(picture)))
    assert changed.background.choice == str(picture)
    assert field(panel, "background.picture").findChild(QPushButton).text() == "beach.png"
    dialog.reject()


def test_showing_settings_shows_all_of_them_and_announces_nothing(
    qtbot: QtBot, panel: ControlsPanel, heard: list[Settings]
) -> None:
    other = Settings().changed(
        {
            **CHOICES,
            **{name: not Settings().values()[name] for name in SWITCHES},
            "motion.head": 1.234,
            "camera.device": "b",
        }
    )
    panel.show_settings(other)
    qtbot.wait(50)
    assert heard == []
    shown = {each.objectName(): each.value() for each in panel.findChildren(Field) if each.objectName()}
    assert shown == {name: other.values()[name] for name in shown}
    assert {*SLIDERS, *SWITCHES, *CHOICES} < set(shown)
    assert not field(panel, "motion.mouth").isEnabled()  # of no use in absolute mode
    slider = field(panel, "framing.zoom").findChild(QSlider)
    changed = announced(qtbot, panel, lambda: key(qtbot, slider, Qt.Key.Key_Right))
    assert changed.values() == other.values() | {"framing.zoom": 1.05}  # what no control shows, and 1.234, are kept


def test_what_changes_in_one_turn_is_announced_once(qtbot: QtBot, panel: ControlsPanel, heard: list[Settings]) -> None:
    slider = field(panel, "motion.head").findChild(QSlider)
    with qtbot.waitSignal(panel.changed):
        for value in range(100, 150):
            slider.setValue(value)
    qtbot.wait(20)
    assert [settings.motion.head for settings in heard] == [1.49]


def test_reset_all_resets_all_but_theme_and_language(qtbot: QtBot, panel: ControlsPanel) -> None:
    panel.show_settings(
        Settings().changed(
            {**CHOICES, **{name: not Settings().values()[name] for name in SWITCHES}, "motion.head": 0.5}
        )
    )
    panel.show_frozen(True)
    button = next(button for button in panel.findChildren(QPushButton) if button.text() == "Reset all")
    with qtbot.waitSignal(panel.freeze_toggled) as thawed:
        changed = announced(qtbot, panel, lambda: key(qtbot, button, Qt.Key.Key_Space))
    assert differing(changed) == {"window.theme": "dark", "window.language": "zh"}
    assert thawed.args == [False]


def test_each_control_has_a_name_a_tooltip_and_a_place_in_the_tab_order(qtbot: QtBot, panel: ControlsPanel) -> None:
    panel.show_settings(Settings().changed({"background.kind": "colour"}))
    reached: set[QWidget] = set()
    panel.findChildren(QToolButton)[0].setFocus()
    for _ in range(100):
        widget = QApplication.focusWidget()
        assert widget is not None
        reached.add(widget)
        qtbot.keyClick(widget, Qt.Key.Key_Tab)
    kinds = (QSlider, QCheckBox, QComboBox, QPushButton)
    controls = [each for kind in kinds for each in panel.findChildren(kind) if each.isVisible()]
    assert len(controls) > 20
    assert [each.accessibleName() for each in controls if each not in reached] == []
    assert all(each.accessibleName() and each.toolTip() for each in controls)
    assert len({each.accessibleName() for each in controls}) == len(controls)


def test_no_two_labels_claim_one_key(panel: ControlsPanel) -> None:
    texts = [label.text() for label in panel.findChildren(QLabel)] + [
        box.text() for box in panel.findChildren(QCheckBox)
    ]
    keys = [text[text.index("&") + 1].lower() for text in texts if "&" in text]
    assert len(keys) > 10
    assert sorted(set(keys)) == sorted(keys)


def test_a_labels_key_leads_to_its_control(qtbot: QtBot, panel: ControlsPanel) -> None:
    qtbot.keyClick(panel, Qt.Key.Key_H, Qt.KeyboardModifier.AltModifier)
    assert QApplication.focusWidget() is field(panel, "motion.head").findChild(QSlider)


def test_a_heading_folds_its_rows(qtbot: QtBot, panel: ControlsPanel) -> None:
    section = panel.findChildren(Section)[0]
    heading = section.findChild(QToolButton)
    key(qtbot, heading, Qt.Key.Key_Space)
    assert not field(panel, "motion.head").isVisible()
    assert field(panel, "framing.zoom").isVisible()
    key(qtbot, heading, Qt.Key.Key_Space)
    assert field(panel, "motion.head").isVisible()


def test_the_wheel_scrolls_the_panel_and_turns_nothing(
    qtbot: QtBot, panel: ControlsPanel, heard: list[Settings]
) -> None:
    scroller = panel.parent().parent()
    assert isinstance(scroller, QScrollArea)
    slider = field(panel, "motion.mouth").findChild(QSlider)
    place = slider.mapTo(scroller, slider.rect().center())
    QTest.wheelEvent(scroller.windowHandle(), QPointF(place), QPoint(0, -120))
    qtbot.waitUntil(lambda: scroller.verticalScrollBar().value() > 0)
    assert heard == []


def test_icons_follow_the_theme(qtbot: QtBot, panel: ControlsPanel) -> None:
    panel.show_settings(Settings().changed({"motion.head": 0.5}))
    button = reset_button(panel, "motion.head")
    style, palette, sheet = QApplication.style().objectName(), QApplication.palette(), qapp().styleSheet()
    try:
        shades = []
        for name in ("dark", "light"):
            theme.apply(name)
            QApplication.processEvents()
            drawn = button.icon().pixmap(14, 14).toImage()
            lines = [drawn.pixelColor(x, y) for x in range(14) for y in range(14)]
            shades.append(max((colour for colour in lines), key=QColor.alpha).lightness())
        assert shades[0] > 150 > shades[1]
    finally:
        qapp().setProperty("colours", None)
        qapp().setStyle(style)
        qapp().setPalette(palette)
        qapp().setStyleSheet(sheet)


def qapp() -> QApplication:
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    return application


def test_a_slider_keeps_what_a_file_says_exactly(qtbot: QtBot) -> None:
    slider = SliderField("Head", 1.0, limits=(0.0, 2.0), tooltip="far")
    qtbot.addWidget(slider)
    slider.set_value(1.2345)
    assert slider.value() == 1.2345


def key_edit(panel: ControlsPanel, name: str) -> QKeySequenceEdit:
    section = next(each for each in panel.findChildren(Section) if each.findChild(KeyField))
    section.unfold(True)
    edit = panel.findChild(KeyField, name).findChild(QKeySequenceEdit)
    edit.setFocus()
    return edit


def refusals(panel: ControlsPanel) -> list[str]:
    return [
        label.text() for label in panel.findChildren(QLabel) if label.isVisible() and label.property("role") == "error"
    ]


def test_a_key_is_typed_and_reset(qtbot: QtBot, panel: ControlsPanel, heard: list[Settings]) -> None:
    edit = key_edit(panel, "hotkeys.record")
    qtbot.keyClick(edit, Qt.Key.Key_F7, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: bool(heard))
    assert heard[-1].hotkeys.record == "Ctrl+F7"
    field = panel.findChild(KeyField, "hotkeys.record")
    field.reset()
    qtbot.waitUntil(lambda: len(heard) == 2)
    assert heard[-1] == Settings()
    qtbot.keyClick(edit, Qt.Key.Key_Backspace)
    qtbot.waitUntil(lambda: len(heard) == 3)
    assert heard[-1].hotkeys.record == ""


@pytest.mark.parametrize(
    ("key", "why"),
    [(Qt.Key.Key_S, "S is the key for “Snapshot” already."), (Qt.Key.Key_3, "3 is needed for something else")],
)
def test_a_key_that_is_taken_is_refused(
    key: Qt.Key, why: str, qtbot: QtBot, panel: ControlsPanel, heard: list[Settings]
) -> None:
    edit = key_edit(panel, "hotkeys.record")
    qtbot.keyClick(edit, key)
    qtbot.waitUntil(lambda: bool(refusals(panel)))
    assert refusals(panel)[0].startswith(why)
    assert edit.keySequence().toString() == "R"
    assert not heard
    qtbot.keyClick(edit, Qt.Key.Key_F7)
    qtbot.waitUntil(lambda: bool(heard))
    assert not refusals(panel)


def test_a_default_that_was_given_away_is_not_taken_back(panel: ControlsPanel) -> None:
    panel.show_settings(Settings().changed({"hotkeys.record": "F7", "hotkeys.snapshot": "R"}))
    key_edit(panel, "hotkeys.record")
    panel.findChild(KeyField, "hotkeys.record").reset()
    assert refusals(panel) == ["R is the key for “Snapshot” already."]


def test_the_tabulator_leaves_a_key_field(qtbot: QtBot, panel: ControlsPanel) -> None:
    edit = key_edit(panel, "hotkeys.record")
    qtbot.waitUntil(edit.hasFocus)
    qtbot.keyClick(edit, Qt.Key.Key_Tab)
    assert not edit.hasFocus()
    assert edit.keySequence().toString() == "R"


def test_no_two_actions_have_one_key() -> None:
    hotkeys = Settings().hotkeys
    assert texts().keys() == asdict(hotkeys).keys()
    assert not [conflict(hotkeys, name, key) for name, key in asdict(hotkeys).items() if conflict(hotkeys, name, key)]
