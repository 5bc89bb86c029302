"""The frame of the dialogs that ask something about a picture: a sentence, the picture, a hint, two buttons."""

from __future__ import annotations

from PySide6.QtWidgets import QDialog, QDialogButtonBox, QLabel, QVBoxLayout, QWidget

from ui.language import tr
from ui.picture_view import PictureView
from ui.theme import MARGIN_PX, SPACE_PX

LEAST_WIDTH_PX = 520


class PictureDialog(QDialog):
    """`open()` it; `accepted` comes once the user is done. The answer is the subclass's."""

    def __init__(self, view: PictureView, *, title: str, question: str, done: str, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self._hint = QLabel()
        self._hint.setProperty("role", "hint")
        self._hint.setWordWrap(True)
        heading = QLabel(question)
        heading.setWordWrap(True)
        view.setAccessibleName(title)
        view.setAccessibleDescription(question)
        buttons = QDialogButtonBox()
        self._done = buttons.addButton(done, QDialogButtonBox.ButtonRole.AcceptRole)
        self._done.setProperty("role", "primary")
        buttons.addButton(tr("Cancel"), QDialogButtonBox.ButtonRole.RejectRole)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self.setMinimumWidth(LEAST_WIDTH_PX)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN_PX, MARGIN_PX, MARGIN_PX, MARGIN_PX)
        layout.setSpacing(SPACE_PX)
        layout.addWidget(heading)
        layout.addWidget(view, stretch=1)
        layout.addWidget(self._hint)
        layout.addWidget(buttons)
        self._done.setDefault(True)  # once it is in the dialog, which else forgets it when the focus has gone round
        view.setFocus()

    def answer_ready(self, ready: bool, hint: str) -> None:
        """Whether the user may be done, and what to know of the answer, or what is missing."""
        self._done.setEnabled(ready)
        self._hint.setText(hint)
