"""The dialog that tunes the generator to one person: it asks, shows how far it is, and has the user compare."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Final

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from puppet.library import Entry, Library
from puppet.types import PuppetError
from ui.backstage import Gain, Tuning
from ui.bridge import Background, Inbox
from ui.comparison import Comparison, Moment, moments
from ui.language import told, tr
from ui.theme import MARGIN_PX

logger = logging.getLogger(__name__)

WIDTH_PX: Final = 520
COMPARED_PX: Final = (860, 600)
PROGRESS: Final = 1000  # steps of the bar
TELLING: Final = 0.02  # of the whole, from which on the time that it took says what is left


class _State(Enum):
    ASKING = auto()
    TUNING = auto()
    STOPPING = auto()
    COMPARING = auto()
    OVER = auto()


class TuningDialog(QDialog):
    """The window goes on behind it. `kept`: the library has the portrait tuned from now on.

    Tuning and comparing are one job in the background, which sends what is to be done here.
    """

    kept = Signal()

    def __init__(self, entry: Entry, *, library: Library, tuning: Tuning, parent: QWidget) -> None:
        super().__init__(parent)
        self._entry, self._library, self._tuning = entry, library, tuning
        self._background = Background(self)
        self._inbox: Inbox[Callable[[], None]] = Inbox(self)
        self._inbox.arrived.connect(self._act, Qt.ConnectionType.QueuedConnection)
        self._stopped, self._decided = Event(), Event()  # the tuning ends; the comparison does
        self._wanted = False  # what was decided
        self._state = _State.ASKING
        self._first: tuple[float, float] | None = None  # when progress was told first, and which
        self._text, self._hint = QLabel(), QLabel()
        self._bar, self._comparison = QProgressBar(), Comparison()
        self._yes, self._no = QPushButton(), QPushButton()
        self._lay_out()
        self._ask()

    def close_down(self) -> None:
        """Give up whatever is under way, and let the thread end; idempotent."""
        self._stopped.set()
        self._decided.set()
        self._inbox.close()
        self._background.close(timeout_s=0.0)

    def reject(self) -> None:
        """Esc, and the button that says no. While it tunes, this only stops it: something may have been gained."""
        if self._state is _State.TUNING:
            self._state = _State.STOPPING
            self._stopped.set()
            self._no.setEnabled(False)
            self._hint.setText(tr("Stopping …"))
            return
        self.close_down()
        super().reject()

    def _lay_out(self) -> None:
        self.setWindowTitle(tr("Tune to this person"))
        self.setMinimumWidth(WIDTH_PX)
        for label in (self._text, self._hint):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)  # a name may look like markup
        self._hint.setProperty("role", "hint")
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName(tr("Progress"))
        self._yes.setProperty("role", "primary")
        self._no.setAutoDefault(False)
        self._yes.clicked.connect(self._agree)
        self._no.clicked.connect(self.reject)
        buttons = QDialogButtonBox()
        buttons.addButton(self._yes, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.addButton(self._no, QDialogButtonBox.ButtonRole.RejectRole)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN_PX, MARGIN_PX, MARGIN_PX, MARGIN_PX)
        layout.setSpacing(MARGIN_PX)
        layout.addWidget(self._text)
        layout.addWidget(self._comparison, stretch=1)
        layout.addWidget(self._bar)
        layout.addWidget(self._hint)
        layout.addWidget(buttons)

    # What the user sees, one after the other.

    def _show(
        self, state: _State, text: str, *, hint: str = "", yes: tuple[str, str] | None = None, no: tuple[str, str]
    ) -> None:
        self._state = state
        self._text.setText(text)
        self._hint.setText(hint)
        self._hint.setVisible(bool(hint))
        self._bar.setVisible(state is _State.TUNING)
        self._comparison.setVisible(state is _State.COMPARING)
        self._yes.setVisible(yes is not None)
        for button, (title, tip) in ((self._yes, yes or ("", "")), (self._no, no)):
            button.setText(title)
            button.setToolTip(tip)
            button.setEnabled(True)
        asked = self._yes if yes is not None else self._no
        asked.setDefault(True)
        asked.setFocus()

    def _ask(self) -> None:
        name, count = self._entry.name, 1 + len(self._entry.more)
        if count == 1:
            text = tr(
                "Puppet can learn a little from one picture of {name}. "
                "More pictures would bring many times as much: add them first, if you have some."
            )
        else:
            text = tr("Puppet can learn from {count} pictures of {name} how this face looks when it moves.")
        self._show(
            _State.ASKING,
            text.format(count=count, name=name),
            hint=tr(
                "That takes some minutes, in which the portrait may move less smoothly. "
                "Then you compare, and choose; it can be undone at any time."
            ),
            yes=(tr("Tune"), tr("Nothing changes before you choose")),
            no=(tr("Close"), ""),
        )

    def _agree(self) -> None:
        if self._state is _State.COMPARING:
            self._wanted = True
            self._decided.set()
            self._yes.setEnabled(False)
            self._no.setEnabled(False)
            return
        self._bar.setRange(0, 0)  # busy, until there is something to tell
        self._show(
            _State.TUNING,
            tr("Tuning to {name}").format(name=self._entry.name),
            hint=tr("Looking at the pictures …"),
            no=(tr("Cancel"), tr("Stop here; if something was gained by now, you can still compare")),
        )
        self._background.run(self._work, self._finish, self._fail)

    def _show_progress(self, done: float) -> None:
        now_s = time.monotonic()
        self._first = self._first or (now_s, done)
        self._bar.setRange(0, PROGRESS)
        self._bar.setValue(round(PROGRESS * done))
        gone = done - self._first[1]
        if self._state is _State.TUNING and gone >= TELLING:
            minutes = math.ceil((now_s - self._first[0]) / gone * (1 - done) / 60)
            left = tr("Less than a minute left") if minutes <= 1 else tr("{minutes} minutes left, or fewer")
            self._hint.setText(left.format(minutes=minutes))

    def _show_preparing(self) -> None:
        self._bar.setRange(0, 0)
        self._hint.setText(tr("Preparing the comparison …"))

    def _compare(self, gain: Gain, moment: Moment) -> None:
        self._comparison.show_moment(moment)
        if self._state is _State.COMPARING:
            return
        nearer = 100 * (1 - gain.lpips_after / gain.lpips_before)
        if gain.held_back:
            hint = tr("Pictures kept back to judge by: {count}. The tuned one comes {percent} % nearer to them.")
        else:
            hint = tr("Painted in other poses and turned back, the tuned one comes {percent} % nearer to the picture.")
        self._show(
            _State.COMPARING,
            tr("The same motion, before and after. Which one is more like {name}?").format(name=self._entry.name),
            hint=hint.format(count=gain.held_back, percent=f"{nearer:.0f}"),
            yes=(tr("Use the tuned one"), tr("Whenever this portrait is shown, until you forget the tuning")),
            no=(tr("Keep as it was"), tr("Throw the new tuning away")),
        )
        self.resize(*COMPARED_PX)

    def _finish(self, kept: bool) -> None:
        if kept:
            self.close_down()
            self.kept.emit()
            self.accept()
        else:
            self._end(tr("Stopped before anything was gained; {name} is as it was.").format(name=self._entry.name))

    def _fail(self, error: Exception) -> None:
        if isinstance(error, PuppetError):
            self._end(told(error))
        else:
            logger.debug("Tuning failed.", exc_info=error)
            self._end(tr("The tuning failed ({error}); nothing has changed.").format(error=error))

    def _end(self, text: str) -> None:
        self._show(_State.OVER, text, no=(tr("Close"), ""))

    def _act(self) -> None:
        do = self._inbox.take()
        if do is not None:
            do()

    # In the background.

    def _work(self) -> bool:
        """Whether the library has the portrait tuned now."""
        entry = self._entry

        def report(done: float | None) -> bool:
            if done is not None:
                self._inbox.send(partial(self._show_progress, done))
            return not self._stopped.is_set()

        with TemporaryDirectory(prefix="puppet-") as folder:
            out = Path(folder) / "new.tuned"
            try:
                gain = self._tuning.tune(
                    entry.picture, out, also=entry.more, selection=entry.selection, progress=report
                )
            except KeyboardInterrupt:
                return False
            if not self._decided.is_set():
                self._inbox.send(self._show_preparing)
                for moment in moments(entry, out, tuning=self._tuning, until=self._decided):
                    self._inbox.send(partial(self._compare, gain, moment))
            if self._wanted:
                self._library.keep_tuning(entry, out)
        return self._wanted
