"""A calm line above the portrait that says what the user should know, and goes away when that is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QToolButton, QWidget

from ui import theme
from ui.language import tr

ICONS = {"information": "information", "warning": "warning", "error": "warning"}
PASSING_MS, READING_MS = 5000, 70  # of what is only told: at least, and for each of its letters
WIDEST_PX = 640


@dataclass(frozen=True, slots=True)
class _Message:
    text: str
    kind: str
    cancel: Callable[[], None] | None = None  # ends what it tells of


class Banner(QFrame):
    """Lies over the top of `stage`. What lasts, such as a lost camera, is a standing message, kept by its subject."""

    def __init__(self, stage: QWidget) -> None:
        super().__init__(stage)
        self._stage = stage
        self.setObjectName("banner")
        self._standing: dict[str, _Message] = {}
        self._told: _Message | None = None
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
        self._cancel = QPushButton(tr("Cancel"))
        self._cancel.setAutoDefault(False)
        self._cancel.clicked.connect(self._give_up)
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.MARGIN_PX, 6, 6, 6)
        row.setSpacing(theme.SPACE_PX)
        row.addWidget(self._drawing)
        row.addWidget(self._text, stretch=1)
        row.addWidget(self._cancel)
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
        self._told = _Message(text, kind) if text else None
        self._timer.stop()
        if text and kind == "information":
            self._timer.start(max(PASSING_MS, READING_MS * len(text)))
        self._show_most_urgent()

    def stand(
        self, subject: str, text: str, kind: str = "warning", *, cancel: Callable[[], None] | None = None
    ) -> None:
        """Show it as long as it is so; an empty text ends that. cancel: what a button does that ends it."""
        message = _Message(text, kind, cancel) if text else None
        if self._standing.get(subject) == message:
            return
        if message is None:
            del self._standing[subject]
        else:
            self._standing[subject] = message  # in its former place, if it only says what is new
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

    def _give_up(self) -> None:
        shown = next(reversed(self._standing.values()), None)
        if shown is not None and shown.cancel is not None:
            shown.cancel()

    def _show_most_urgent(self) -> None:
        shown = self._told or next(reversed(self._standing.values()), None)
        if shown is None:
            self.hide()
            return
        self._text.setText(shown.text)
        palette = theme.colours()
        colour = {"information": palette.accent, "warning": palette.warning, "error": palette.danger}[shown.kind]
        self._drawing.setPixmap(theme.pixmap(ICONS[shown.kind], colour=colour, ratio=self.devicePixelRatio()))
        self._dismiss.setVisible(self._told is not None)
        self._cancel.setVisible(shown.cancel is not None)
        self.setProperty("kind", shown.kind)
        self.style().unpolish(self)
        self.style().polish(self)
        self.place()
        self.show()
        self.raise_()
