"""A calm line above the portrait that says what the user should know, and goes away when that is over."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QToolButton, QWidget

from ui import theme
from ui.language import tr

ICONS = {"information": "information", "warning": "warning", "error": "warning"}
PASSING_MS = 5000  # of what is only told
WIDEST_PX = 640


class Banner(QFrame):
    """Lies over the top of `stage`. What lasts, such as a lost camera, is a standing message, kept by its subject."""

    def __init__(self, stage: QWidget) -> None:
        super().__init__(stage)
        self._stage = stage
        self.setObjectName("banner")
        self._standing: dict[str, tuple[str, str]] = {}
        self._told: tuple[str, str] | None = None
        self._drawing, self._text = QLabel(), QLabel()
        self._text.setWordWrap(True)
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._dismiss = QToolButton()
        self._dismiss.setProperty("role", "quiet")
        self._dismiss.setIcon(theme.icon("close"))
        self._dismiss.setToolTip(tr("Dismiss"))
        self._dismiss.setAccessibleName(tr("Dismiss"))
        self._dismiss.clicked.connect(self._forget)
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.MARGIN_PX, 6, 6, 6)
        row.setSpacing(theme.SPACE_PX)
        row.addWidget(self._drawing)
        row.addWidget(self._text, stretch=1)
        row.addWidget(self._dismiss)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._forget)
        self.hide()

    @property
    def text(self) -> str:
        """What is shown; empty if nothing is."""
        return self._text.text() if not self.isHidden() else ""

    def tell(self, text: str, kind: str = "information") -> None:
        """Show it: an information for some seconds, else until it is dismissed; an empty text takes it away."""
        self._told = (text, kind) if text else None
        self._timer.stop()
        if text and kind == "information":
            self._timer.start(PASSING_MS)
        self._show_most_urgent()

    def stand(self, subject: str, text: str, kind: str = "warning") -> None:
        """Show it as long as it is so; an empty text ends that."""
        if self._standing.get(subject, ("", kind)) == (text, kind):
            return
        self._standing.pop(subject, None)
        if text:
            self._standing[subject] = text, kind
        self._show_most_urgent()

    def place(self) -> None:
        """Sit at the top of the stage; to be called when that changes its size."""
        stage = self._stage
        width_px = min(stage.width() - 2 * theme.MARGIN_PX, WIDEST_PX)
        left_px = (stage.width() - width_px) // 2
        self.setGeometry(left_px, theme.MARGIN_PX, width_px, max(self.heightForWidth(width_px), 40))

    def _forget(self) -> None:
        self._told = None
        self._timer.stop()
        self._show_most_urgent()

    def _show_most_urgent(self) -> None:
        shown = self._told or next(reversed(self._standing.values()), None)
        if shown is None:
            self.hide()
            return
        text, kind = shown
        self._text.setText(text)
        palette = theme.colours()
        colour = {"information": palette.accent, "warning": palette.warning, "error": palette.danger}[kind]
        self._drawing.setPixmap(theme.pixmap(ICONS[kind], colour=colour, ratio=self.devicePixelRatio()))
        self._dismiss.setVisible(self._told is not None)
        self.setProperty("kind", kind)
        self.style().unpolish(self)
        self.style().polish(self)
        self.place()
        self.show()
        self.raise_()
