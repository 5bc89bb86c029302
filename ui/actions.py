"""What can be done with a key or a button: one action for each hotkey of the settings."""

from __future__ import annotations

from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QWidget

from puppet.settings import HotkeySettings
from ui import theme
from ui.language import tr

CHECKABLE = ("start", "freeze", "virtual_camera", "stream", "record", "self_view", "calibrate", "panel", "full_screen")


def texts() -> dict[str, tuple[str, str]]:
    """What each action is called, and what it does; by the names of the hotkeys."""
    return {
        "start": (tr("Start"), tr("Bring the portrait to life, or let go of the camera")),
        "calibrate": (tr("Calibrate"), tr("Take your face at rest anew; look into the camera")),
        "freeze": (tr("Freeze"), tr("Hold the portrait still")),
        "virtual_camera": (tr("Virtual camera"), tr("Show the portrait to other programs as a camera")),
        "stream": (tr("Stream"), tr("Show the portrait on a page of this computer, for OBS's browser source")),
        "record": (tr("Record"), tr("Record the portrait to a file, without sound")),
        "snapshot": (tr("Snapshot"), tr("Save what the portrait looks like now")),
        "self_view": (tr("Self-view"), tr("See yourself, here only; nobody else does")),
        "panel": (tr("Controls"), tr("Show or hide the controls")),
        "full_screen": (tr("Full screen"), tr("Show nothing but the portrait; Esc leads back")),
    }


class Actions:
    """Each by the name of its hotkey; their keys work wherever the focus is in `window`."""

    def __init__(self, window: QWidget, hotkeys: HotkeySettings) -> None:
        self._window = window
        self._all: dict[str, QAction] = {}
        for name, (text, _) in texts().items():
            action = QAction(text, window)
            action.setCheckable(name in CHECKABLE)
            window.addAction(action)
            self._all[name] = action
        self.use(hotkeys)
        self.refresh_icons()

    def __getitem__(self, name: str) -> QAction:
        return self._all[name]

    def use(self, hotkeys: HotkeySettings) -> None:
        """Give each its key."""
        for name, (_, tip) in texts().items():
            key = QKeySequence(getattr(hotkeys, name))
            self._all[name].setShortcut(key)
            shown = key.toString(QKeySequence.SequenceFormat.NativeText)
            self._all[name].setToolTip(f"{tip} ({shown})" if shown else tip)

    def refresh_icons(self) -> None:
        """Draw them in the colours of the theme."""
        theme_colours = theme.colours()
        for name, action in self._all.items():
            on, colour = action.isChecked(), ""
            drawing = {"start": "stop" if on else "play", "panel": "settings"}.get(name, name)
            if name == "record":
                drawing, colour = ("stop", theme_colours.on_danger) if on else (name, theme_colours.danger)
            action.setIcon(theme.icon(drawing.replace("_", "-"), colour=colour))

    def remove(self) -> None:
        """Take them from the window again."""
        for action in self._all.values():
            self._window.removeAction(action)
            action.deleteLater()
