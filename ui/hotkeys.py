"""The keys of the window's actions: a field to type each in, and which keys are taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import QKeySequenceEdit, QLabel, QSizePolicy

from puppet.settings import HotkeySettings
from ui.actions import texts
from ui.fields import Field
from ui.language import tr

LABEL_PX = 104

# What moves the focus and works the focused control, and the keys of the portraits in the strip.
RESERVED = (
    *"123456789", "Tab", "Shift+Tab", "Shift+Backtab", "Esc", "Space", "Return", "Enter", "Left", "Right", "Up", "Down",
    "Home", "End", "PgUp", "PgDown", "Backspace", "Del", "F2", "Ctrl+V", "Ctrl+Left", "Ctrl+Right",
)  # fmt: skip


def conflict(hotkeys: HotkeySettings, name: str, key: str) -> str:
    """Why the action `name` cannot have this key, a sentence for the user; empty if it can."""
    if not key:
        return ""
    shown = QKeySequence(key).toString(QKeySequence.SequenceFormat.NativeText)
    if key in RESERVED:
        return tr("{key} is needed for something else in the window.").format(key=shown)
    for other, taken in asdict(hotkeys).items():
        if other != name and QKeySequence(taken) == QKeySequence(key):
            return tr("{key} is the key for “{name}” already.").format(key=shown, name=texts()[other][0])
    return ""


class KeyField(Field):
    """One key with its modifiers, as Qt writes it, or none. `refused` carries why a key is not taken, or nothing."""

    refused = Signal(str)

    def __init__(self, text: str, default: str, *, tooltip: str, conflict: Callable[[str], str]) -> None:
        super().__init__(text, default, tooltip=tooltip)
        self._conflict = conflict
        self._key = default
        self._edit = _Edit()
        self._edit.setMaximumSequenceLength(1)
        self._edit.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._edit.setKeySequence(QKeySequence(default))
        self._edit.editingFinished.connect(lambda: self._choose(self._edit.keySequence().toString()))
        label = QLabel(text)
        self._fill(label, self._edit)
        label.setMinimumWidth(LABEL_PX)

    def value(self) -> str:
        return self._key

    def set_value(self, value: object) -> None:
        self._key = str(value)
        self._edit.setKeySequence(QKeySequence(self._key))
        self._show_reset()

    def reset(self) -> None:
        self._choose(str(self.default))

    def _choose(self, key: str) -> None:
        why_not = self._conflict(key)
        self.refused.emit(why_not)
        if why_not:
            self.set_value(self._key)
        elif key != self._key:
            self.set_value(key)
            self.changed.emit(key)


class _Edit(QKeySequenceEdit):
    """Backspace takes the key away, and the tabulator moves the focus, which could not get out otherwise."""

    def event(self, event: QEvent) -> bool:  # Qt's name
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            if event.key() in (Qt.Key.Key_Tab, Qt.Key.Key_Backtab):
                return self.focusNextPrevChild(event.key() == Qt.Key.Key_Tab)
            if event.key() == Qt.Key.Key_Backspace:
                self.clear()
                self.editingFinished.emit()
                return True
        return super().event(event)
