"""The row of buttons at the top: the camera at the left, what leaves the window in the middle, views at the right."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QAction, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QMenu, QSizePolicy, QToolButton, QWidget

from ui import theme
from ui.actions import Actions
from ui.language import tr

NARROW_PX = 1060  # below it, buttons show drawings only
WORDED = ("virtual_camera", "record", "snapshot", "self_view", "calibrate")


class Toolbar(QWidget):
    """Buttons for `actions`, around the camera picker."""

    record_wanted = Signal(str)  # a format of ui.outputs.FORMATS

    def __init__(self, actions: Actions, picker: QWidget) -> None:
        super().__init__()
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
        self._show_words()

    def resizeEvent(self, event: QResizeEvent) -> None:  # Qt's name
        super().resizeEvent(event)
        self._show_words()

    def _button(self, name: str, action: QAction) -> QToolButton:
        button = QToolButton()
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
        button.setMenu(menu)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.MenuButtonPopup)

    def _show_words(self) -> None:
        worded = Qt.ToolButtonStyle.ToolButtonTextBesideIcon
        bare = Qt.ToolButtonStyle.ToolButtonIconOnly
        style = worded if self.width() >= NARROW_PX else bare
        for name in WORDED:
            if self.buttons[name].toolButtonStyle() != style:
                self.buttons[name].setToolButtonStyle(style)
        self.buttons["start"].setToolButtonStyle(worded)
