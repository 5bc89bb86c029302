"""One place where the portrait is shown to other programs as long as that is wanted: the virtual camera, the page."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from PySide6.QtCore import QObject, Signal

from puppet.types import Closing, Frame, PuppetError, Sink
from ui.bridge import Background
from ui.language import told, tr
from ui.session import Session

if TYPE_CHECKING:
    from puppet.pipeline import MotionSink

logger = logging.getLogger(__name__)

S = TypeVar("S", bound=Sink)


class Turned(Closing):
    """A Sink before another, which mirrors the pictures while the settings of `session` say so."""

    def __init__(self, session: Session, sink: Sink) -> None:
        self._session = session
        self._sink = sink

    def send(self, frame: Frame) -> None:
        self._sink.send(turned(frame, mirrored=self._session.settings.view.mirror_output))

    def close(self) -> None:
        self._sink.close()


class Broadcast(QObject, Generic[S]):
    """Belongs to the GUI thread; the sink is opened and closed in the background.

    open_sink: called there; raises PuppetError. begun: what the user is told of the sink that was opened.
    ended: what he is told of the error with which it failed.
    """

    changed = Signal()
    said = Signal(str, str)  # what the user should know, and "information", "warning" or "error"

    def __init__(
        self,
        session: Session,
        open_sink: Callable[[], S],
        *,
        begun: Callable[[S], str],
        ended: Callable[[BaseException], str],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self.wanted = False
        self.sink: S | None = None  # while it is open
        self._session = session
        self._open_sink, self._begun, self._ended = open_sink, begun, ended
        self._worker = Background(self)
        self._turned: Sink | None = None  # the same sink, as it was given to the session
        self._opening = False

    def show(self, wanted: bool) -> None:
        """Begin it, or end it."""
        if wanted == self.wanted:
            return
        self.wanted = wanted
        if wanted and not self._opening:
            self._opening = True
            self._worker.run(self._open_sink, self._opened, self._failed)
        elif not wanted and self._turned is not None:
            self._worker.run(letting_go(self._session, self._turned), lambda _: None, self._failed)
            self.sink = self._turned = None
        self.changed.emit()

    def check(self) -> None:
        """End it if the show left it out, as it failed; to be called now and then."""
        error = self._session.failure_of(self._turned)
        if error is not None:
            self.show(False)
            self.said.emit(self._ended(error), "error")

    def close(self) -> None:
        self.show(False)
        self._worker.close()

    def _opened(self, sink: S) -> None:
        self._opening = False
        if not self.wanted:  # any more
            self._worker.run(sink.close, lambda _: None, self._failed)
            return
        self.sink, self._turned = sink, Turned(self._session, sink)
        self._session.add_sink(self._turned)
        self.said.emit(self._begun(sink), "information")
        self.changed.emit()

    def _failed(self, error: Exception) -> None:
        self.wanted = self._opening = False
        self.said.emit(sentence(error), "error")
        self.changed.emit()


def letting_go(session: Session, sink: Sink | MotionSink) -> Callable[[], None]:
    """What closes a sink once nothing is sent to it any more; to be called in the background. May raise SinkError."""
    free = session.remove_sink(sink)

    def let_go() -> None:
        from puppet.output import SinkError

        if not free():  # closed under a thread that uses it, it would take the program down
            raise SinkError(tr("An output does not answer any more, and was left behind."))
        sink.close()

    return let_go


def sentence(error: Exception) -> str:
    """What the user is told of an error."""
    logger.debug("An output failed.", exc_info=error)
    return told(error) if isinstance(error, PuppetError) else repr(error)


def turned(frame: Frame, *, mirrored: bool) -> Frame:
    if not mirrored:
        return frame
    return Frame(np.ascontiguousarray(frame.image[:, ::-1]), frame.index, frame.time_ns)
