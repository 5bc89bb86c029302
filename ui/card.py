"""A graphics card that could paint is made ready for it once, in the background, while the processor paints."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Protocol

from PySide6.QtCore import QObject, Qt, Signal

from puppet.types import PuppetError
from ui.bridge import Background, Inbox
from ui.language import told, tr


class Card(Protocol):
    """This computer's graphics card; given by who composes the program. For any thread."""

    def is_wanted(self) -> bool:
        """Whether it could paint, but is not ready for it."""
        ...

    def prepare(self, progress: Callable[[float], bool]) -> None:
        """Make it ready, for good; `progress` is told what part is done, and says whether to go on.

        Raises PuppetError, also where it was stopped.
        """
        ...


class CardCare(QObject):
    """Makes a card ready.

    ready: engines that are loaded from now on paint on it. said: a message, and whether it is an error.
    working: what is being done, empty when that is over; `give_up` ends it, until the program starts again.
    """

    ready = Signal()
    said = Signal(str, bool)
    working = Signal(str)

    def __init__(self, card: Card, parent: QObject) -> None:
        super().__init__(parent)
        self._card = card
        self._background = Background(self)
        self._progress: Inbox[float] = Inbox(self)
        self._progress.arrived.connect(self._show, Qt.ConnectionType.QueuedConnection)
        self._given_up = Event()

    def begin(self) -> None:
        """Have a look, and make it ready if it is not."""
        self._background.run(self._card.is_wanted, self._go_on, self._fail)

    def give_up(self) -> None:
        self._given_up.set()

    def close(self) -> bool:
        """Whether the thread has ended in time."""
        self.give_up()
        self._progress.close()
        return self._background.close()

    def _go_on(self, wanted: bool) -> None:
        if wanted:
            self._progress.send(0.0)
            self._background.run(lambda: self._card.prepare(self._tell), self._end, self._fail)

    def _tell(self, done: float) -> bool:
        self._progress.send(done)
        return not self._given_up.is_set()

    def _show(self) -> None:
        done = self._progress.take()
        if done is not None:
            percent = f"{100 * done:.0f}"
            self.working.emit(tr("Preparing the graphics card, once and for all: {percent} %").format(percent=percent))

    def _end(self, _: None) -> None:
        self._progress.take()
        self.working.emit("")
        self.said.emit(tr("The graphics card paints from now on."), False)
        self.ready.emit()

    def _fail(self, error: Exception) -> None:
        self._progress.take()
        self.working.emit("")
        if not self._given_up.is_set():
            reason = told(error) if isinstance(error, PuppetError) else error
            self.said.emit(tr("The graphics card does not paint ({reason}).").format(reason=reason), True)
