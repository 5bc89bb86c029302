"""Shows how well the user's face matches the portrait's pose, and what to change."""

from __future__ import annotations

from typing import Final

from PySide6.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QVBoxLayout, QWidget

from calibration.collect import MISSING
from calibration.match import match
from puppet.types import Landmarks
from ui import theme
from ui.language import told, tr

UNKNOWN: Final = "-"


class MatchScore(QWidget):
    """A number of 0..100, a bar, and a hint."""

    def __init__(self) -> None:
        super().__init__()
        name = tr("Match with the portrait")
        self._number = QLabel(UNKNOWN)
        self._bar = QProgressBar()
        self._bar.setRange(0, 100)
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName(name)
        self._hint = QLabel()
        self._hint.setProperty("role", "hint")
        self._hint.setWordWrap(True)
        row = QHBoxLayout()
        row.addWidget(QLabel(name), stretch=1)
        row.addWidget(self._number)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(theme.SPACE_PX)
        whole.addLayout(row)
        whole.addWidget(self._bar)
        whole.addWidget(self._hint)

    def show_match(self, face: Landmarks | None, portrait: Landmarks | None) -> None:
        """Compare the user's face with the portrait's, as far as there are any."""
        if face is None or portrait is None:
            self._bar.setValue(0)
            self._number.setText(UNKNOWN)
            self._hint.setText("" if portrait is None else told(MISSING))
            return
        found = match(face, portrait)
        self._bar.setValue(found.score)
        self._number.setText(str(found.score))
        self._hint.setText(told(found.hint))
