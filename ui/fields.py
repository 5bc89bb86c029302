"""The rows of a form: a labelled slider, switch, choice, colour or file, each with a button back to its default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from PySide6.QtCore import QEvent, QSize, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QMouseEvent, QPixmap, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QColorDialog,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSlider,
    QToolButton,
    QWidget,
)

from ui import theme
from ui.language import tr

LABEL_PX = 84  # so that what stands beside the labels lines up
VALUE_PX = 44
HANDLE_PX = 22  # high enough for a slider's handle
BUTTON_PX = QSize(32, 32)  # the style's padding leaves 14 for the icon
SWATCH_PX = 16
TICKS = 100  # of a slider per unit


def percent(value: float) -> str:
    return f"{round(100 * value)} %"


class Field(QWidget):
    """One value that the user sets; `changed` carries it, and setting it from the program emits nothing."""

    changed = Signal(object)

    def __init__(self, text: str, default: object, *, tooltip: str) -> None:
        super().__init__()
        self.default = default
        self.name = text.replace("&", "")
        self.setToolTip(tooltip)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(theme.SPACE_PX)
        self._reset = QToolButton()
        self._reset.setProperty("role", "quiet")
        self._reset.setIconSize(QSize(14, 14))
        self._reset.setFixedSize(BUTTON_PX)
        self._reset.setToolTip(tr("Back to the default"))
        self._reset.setAccessibleName(tr("Reset {name}").format(name=self.name))
        self._reset.clicked.connect(self.reset)
        space = self._reset.sizePolicy()
        space.setRetainSizeWhenHidden(True)
        self._reset.setSizePolicy(space)

    def value(self) -> object:
        raise NotImplementedError

    def set_value(self, value: object) -> None:
        raise NotImplementedError

    def reset(self) -> None:
        """As if the user had chosen the default."""
        if self.value() != self.default:
            self.set_value(self.default)
            self.changed.emit(self.default)

    def changeEvent(self, event: QEvent) -> None:  # Qt's name
        if event.type() == QEvent.Type.PaletteChange and not self._reset.isHidden():
            self._reset.setIcon(theme.icon("reset"))
        super().changeEvent(event)

    def _fill(self, label: QLabel | None, *widgets: QWidget) -> None:
        """Lay out the row; the first widget is what the label's key leads to."""
        for widget in widgets:
            widget.setToolTip(self.toolTip())
            widget.setAccessibleName(self.name)
        if label is not None:
            label.setBuddy(widgets[0])
            label.setMinimumWidth(LABEL_PX)
            self._row.addWidget(label)
        for widget in widgets:
            self._row.addWidget(widget, stretch=int(widget is widgets[0]))
        self._row.addWidget(self._reset)
        self._show_reset()

    def _user_changed(self) -> None:
        self._show_reset()
        self.changed.emit(self.value())

    def _show_reset(self) -> None:
        differs = self.value() != self.default
        if differs and self._reset.icon().isNull():
            self._reset.setIcon(theme.icon("reset"))
        self._reset.setVisible(differs)


class _Track(QSlider):
    """Leaves the wheel to the panel that it scrolls in."""

    double_clicked = Signal()

    def wheelEvent(self, event: QWheelEvent) -> None:  # Qt's name
        event.ignore()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # Qt's name
        self.double_clicked.emit()


class _Box(QComboBox):
    """Leaves the wheel to the panel that it scrolls in."""

    def wheelEvent(self, event: QWheelEvent) -> None:  # Qt's name
        event.ignore()


class SliderField(Field):
    """A float between two limits, in steps of 0.01; a double click resets it."""

    def __init__(
        self,
        text: str,
        default: float,
        *,
        limits: tuple[float, float],
        tooltip: str,
        shown: Callable[[float], str] = percent,
    ) -> None:
        super().__init__(text, default, tooltip=tooltip)
        self._shown = shown
        self._track = _Track(Qt.Orientation.Horizontal)
        self._track.setRange(round(limits[0] * TICKS), round(limits[1] * TICKS))
        self._track.setSingleStep(5)
        self._track.setPageStep(25)
        self._track.setMinimumSize(60, HANDLE_PX)
        self._text = QLabel()
        self._text.setProperty("role", "value")
        self._text.setMinimumWidth(VALUE_PX)
        self._text.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._track.setValue(round(default * TICKS))
        self._exact = default
        self._track.valueChanged.connect(self._moved)
        self._track.double_clicked.connect(self.reset)
        self._fill(QLabel(text), self._track, self._text)
        self._text.setText(shown(default))

    def value(self) -> float:
        return self._exact

    def set_value(self, value: object) -> None:
        assert isinstance(value, int | float)
        self._exact = float(value)  # a file may hold more digits than the slider knows
        self._track.blockSignals(True)
        self._track.setValue(round(value * TICKS))
        self._track.blockSignals(False)
        self._text.setText(self._shown(self._exact))
        self._show_reset()

    def _moved(self, ticks: int) -> None:
        self._exact = ticks / TICKS
        self._text.setText(self._shown(self._exact))
        self._user_changed()


class SwitchField(Field):
    """On or off."""

    def __init__(self, text: str, default: bool, *, tooltip: str) -> None:
        super().__init__(text, default, tooltip=tooltip)
        self._box = QCheckBox(text)
        self._box.setChecked(default)
        self._box.clicked.connect(self._user_changed)
        self._box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._fill(None, self._box)

    def value(self) -> bool:
        return self._box.isChecked()

    def set_value(self, value: object) -> None:
        self._box.setChecked(bool(value))
        self._show_reset()


class ChoiceField(Field):
    """One of several: `choices` are values and what the user reads."""

    def __init__(self, text: str, default: str, *, choices: Mapping[str, str], tooltip: str) -> None:
        super().__init__(text, default, tooltip=tooltip)
        self._box = _Box()
        self._box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._box.setMinimumContentsLength(8)
        for value, words in choices.items():
            self._box.addItem(words, value)
        self._box.setCurrentIndex(self._box.findData(default))
        self._box.activated.connect(self._user_changed)
        self._fill(QLabel(text), self._box)

    def value(self) -> str:
        return str(self._box.currentData())

    def set_value(self, value: object) -> None:
        self._box.setCurrentIndex(self._box.findData(value))
        self._show_reset()


class ColourField(Field):
    """A colour as "#rrggbb", chosen in a dialog, live while it is open."""

    def __init__(self, text: str, default: str, *, tooltip: str) -> None:
        super().__init__(text, default, tooltip=tooltip)
        self._button = QPushButton()
        self._button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._button.clicked.connect(self.ask)
        self._colour = default
        self._paint()
        self._fill(QLabel(text), self._button)

    def value(self) -> str:
        return self._colour

    def set_value(self, value: object) -> None:
        self._colour = str(value)
        self._paint()
        self._show_reset()

    def ask(self) -> None:
        """Let the user choose; cancelling brings the colour from before back."""
        before = self._colour
        dialog = QColorDialog(QColor(before), self)
        dialog.setWindowTitle(self.name)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.currentColorChanged.connect(lambda colour: self._choose(colour.name()))
        dialog.rejected.connect(lambda: self._choose(before))
        dialog.open()

    def _choose(self, colour: str) -> None:
        if colour != self._colour:
            self.set_value(colour)
            self.changed.emit(colour)

    def _paint(self) -> None:
        swatch = QPixmap(SWATCH_PX, SWATCH_PX)
        swatch.fill(QColor(self._colour))
        self._button.setIcon(QIcon(swatch))
        self._button.setText(f" {self._colour}")


class FileField(Field):
    """A file's path; empty for none."""

    mode = QFileDialog.FileMode.ExistingFile

    def __init__(self, text: str, default: str, *, filter_text: str = "", tooltip: str) -> None:
        super().__init__(text, default, tooltip=tooltip)
        self._filter = filter_text
        self._path = default
        self._button = QPushButton()
        self._button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._button.clicked.connect(self.ask)
        self._fill(QLabel(text), self._button)
        self._show_name()

    def value(self) -> str:
        return self._path

    def set_value(self, value: object) -> None:
        self._path = str(value)
        self._show_name()
        self._show_reset()

    def ask(self) -> None:
        """Let the user choose."""
        dialog = QFileDialog(self, self.name, filter=self._filter)
        dialog.setFileMode(self.mode)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if self._path:
            dialog.selectFile(self._path)
        dialog.fileSelected.connect(self._choose)
        dialog.open()

    def resizeEvent(self, event: QResizeEvent) -> None:  # Qt's name
        super().resizeEvent(event)
        self._show_name()

    def _choose(self, path: str) -> None:
        self.set_value(path)
        self.changed.emit(path)

    def _show_name(self) -> None:
        name, room_px = Path(self._path).name or tr("Choose …"), self._button.width() - 2 * theme.MARGIN_PX
        self._button.setText(self._button.fontMetrics().elidedText(name, Qt.TextElideMode.ElideMiddle, room_px))
        self._button.setToolTip(self._path or self.toolTip())


class FolderField(FileField):
    """A folder's path; empty for the system's own."""

    mode = QFileDialog.FileMode.Directory
