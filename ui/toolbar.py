"""The row of buttons at the top: the camera at the left, what leaves the window in the middle, views at the right."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QAction, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QMenu, QSizePolicy, QToolButton, QWidget

from ui import theme
from ui.actions import Actions
from ui.language import tr

NARROW_PX = 1170  # below it, buttons show drawings only: a camera with a long name needs room, too
NARROWEST_PX = 760  # below it, even the camera does
WORDED = ("virtual_camera", "stream", "record", "snapshot", "self_view", "calibrate")


class Toolbar(QWidget):
    """Buttons for `actions`, around the camera picker."""

    record_wanted = Signal(str)  # a format of ui.outputs.FORMATS
    address_wanted = Signal()  # to be copied

    def __init__(self, actions: Actions, picker: QToolButton) -> None:
        super().__init__()
        self._picker = picker
        self.setObjectName("bar")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.MARGIN_PX, theme.SPACE_PX, theme.MARGIN_PX, theme.SPACE_PX)
        row.setSpacing(theme.SPACE_PX)
        self.buttons: dict[str, QToolButton] = {}
        row.addWidget(self._button("start", actions["start"]))
        row.addWidget(picker)
        row.addStretch(1)
        for name in WORDED:
            row.addWidget(self._button(name, actions[name]))
        row.addStretch(1)
        for name in ("freeze", "panel", "full_screen"):
            button = self._button(name, actions[name])
            button.setProperty("role", "quiet")
            row.addWidget(button)
        self.buttons["record"].setProperty("role", "danger")
        self._offer_formats(self.buttons["record"])
        self._address = self._offer_address(self.buttons["stream"])
        self._show_words()

    def show_recording(self, recording: bool) -> None:
        """While it records, no other format can be chosen."""
        for action in self.buttons["record"].menu().actions():
            action.setEnabled(not recording)

    def show_address(self, address: str) -> None:
        """Of the stream's page; empty while there is none."""
        self._address.setText(tr("Copy the address {address}").format(address=address).strip())
        self._address.setEnabled(bool(address))

    def resizeEvent(self, event: QResizeEvent) -> None:  # Qt's name
        super().resizeEvent(event)
        self._show_words()

    def _button(self, name: str, action: QAction) -> QToolButton:
        button = _Button()
        button.setDefaultAction(action)
        button.setAccessibleName(action.text())
        button.setIconSize(QSize(theme.ICON_PX, theme.ICON_PX))
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.buttons[name] = button
        return button

    def _offer_formats(self, button: QToolButton) -> None:
        menu = QMenu(button)
        for kind, text in {
            "mp4": tr("Video (MP4)"),
            "gif": tr("Animation (GIF)"),
            "motion": tr("Motion only, without any picture"),
        }.items():
            menu.addAction(text).triggered.connect(lambda _=False, kind=kind: self.record_wanted.emit(kind))
        _attach(menu, button)

    def _offer_address(self, button: QToolButton) -> QAction:
        menu = QMenu(button)
        action = menu.addAction("")
        action.triggered.connect(self.address_wanted)
        _attach(menu, button)
        return action

    def _show_words(self) -> None:
        worded = Qt.ToolButtonStyle.ToolButtonTextBesideIcon
        bare = Qt.ToolButtonStyle.ToolButtonIconOnly
        style = worded if self.width() >= NARROW_PX else bare
        for name in WORDED:
            if self.buttons[name].toolButtonStyle() != style:
                self.buttons[name].setToolButtonStyle(style)
        self.buttons["start"].setToolButtonStyle(worded)
        self._picker.setToolButtonStyle(worded if self.width() >= NARROWEST_PX else bare)


class _Button(QToolButton):
    """Its menu, if it has one, opens with the arrow key down, too."""

    def keyPressEvent(self, event: QKeyEvent) -> None:  # Qt's name
        if self.menu() is not None and event.key() == Qt.Key.Key_Down:
            self.menu().popup(self.mapToGlobal(self.rect().bottomLeft()))
        else:
            super().keyPressEvent(event)


def _attach(menu: QMenu, button: QToolButton) -> None:
    button.setMenu(menu)
    button.setPopupMode(QToolButton.ToolButtonPopupMode.MenuButtonPopup)
