"""A group of a form's rows, under a heading that folds them away."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtWidgets import QSizePolicy, QToolButton, QVBoxLayout, QWidget

from ui import theme
from ui.language import tr


class Section(QWidget):
    """Rows under a heading that folds them away."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._body = QWidget()
        self._heading = QToolButton()
        self._heading.setProperty("role", "quiet")
        self._heading.setText(title)
        self._heading.setAccessibleName(title.replace("&", ""))
        self._heading.setToolTip(tr("Show or hide this group"))
        self._heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._heading.setIconSize(QSize(16, 16))
        font = self._heading.font()
        font.setBold(True)
        self._heading.setFont(font)
        self._heading.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._heading.clicked.connect(lambda: self.unfold(self._body.isHidden()))
        self._rows = QVBoxLayout(self._body)
        self._rows.setContentsMargins(theme.SPACE_PX, 0, 0, theme.SPACE_PX)
        self._rows.setSpacing(theme.SPACE_PX // 2)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(theme.SPACE_PX // 2)
        whole.addWidget(self._heading)
        whole.addWidget(self._body)
        self.unfold(True)

    def add(self, widget: QWidget) -> None:
        self._rows.addWidget(widget)

    def unfold(self, wanted: bool) -> None:
        """Show the rows, or hide them."""
        self._body.setVisible(wanted)
        self._heading.setIcon(theme.icon("chevron-down" if wanted else "chevron-right"))

    def changeEvent(self, event: QEvent) -> None:  # Qt's name
        if event.type() == QEvent.Type.PaletteChange:
            self.unfold(not self._body.isHidden())
        super().changeEvent(event)
