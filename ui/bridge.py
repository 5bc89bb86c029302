"""The only file of the window's that crosses threads: what workers make becomes Qt signals in the GUI thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

from PySide6.QtCore import QObject, Qt, Signal, Slot

from puppet.workers import Latest, Worker

T = TypeVar("T")

CLOSING_TIMEOUT_S = 1.0


class Inbox(QObject, Generic[T]):
    """The window's end of what workers make: `send` in a worker's thread, `take` in the GUI thread after `arrived`.

    The signal carries nothing, and at most one is under way: Qt's event queue has no bound, and frames that went
    through it would grow old there while the window is busy. It goes with its parent: Python, which may look for
    garbage in any thread, must not be the one to end it.
    """

    arrived = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._items: Latest[T] = Latest()
        self._announced = False

    def send(self, item: T) -> None:
        if self._items.put(item) and not self._announced:  # once closed, this object may be gone any moment
            self._announced = True
            self.arrived.emit()

    def take(self) -> T | None:
        """The newest item; None if it was taken before."""
        self._announced = False  # first, so that an item which comes in between is announced again
        return self._items.take(0)

    def close(self) -> None:
        self._items.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Job(Generic[T]):
    op: Callable[[], T]
    done: Callable[[T], None]
    failed: Callable[[Exception], None]


class Background(QObject):
    """A thread for one kind of one-shot work, of which only the newest request counts."""

    _ended = Signal(object, object, object)  # job, result, error

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._newest: _Job[object] | None = None
        self._jobs: Latest[_Job[object]] = Latest()
        self._worker = Worker("background", self._jobs, self._work)
        self._ended.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        self._worker.start()

    def run(self, op: Callable[[], T], done: Callable[[T], None], failed: Callable[[Exception], None]) -> None:
        """Call `op` in the background, then `done(result)` or `failed(error)` in the GUI thread.

        A request that came before and has not been answered yet never will be.
        """
        job = _Job(op, done, failed)
        self._newest = job  # type: ignore[assignment]
        self._jobs.put(job)  # type: ignore[arg-type]

    def close(self, *, timeout_s: float = CLOSING_TIMEOUT_S) -> bool:
        """Whether the thread has ended in time, with what it was asked before; no reply comes after this."""
        self._newest = None
        self._jobs.close()
        return self._worker.join(timeout_s)

    def _work(self, job: _Job[object]) -> bool:
        result, failure = None, None
        try:
            result = job.op()
        except Exception as error:  # handed to whoever asked
            failure = error
        if job is self._newest:  # it is not after `close`, when this object may be gone any moment
            self._ended.emit(job, result, failure)
        return True

    @Slot(object, object, object)
    def _deliver(self, job: _Job[object], result: object, error: Exception | None) -> None:
        if job is not self._newest:
            return
        self._newest = None
        if error is None:
            job.done(result)
        else:
            job.failed(error)
