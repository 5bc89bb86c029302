"""Background jobs of which each is done, one after the other; a `Background` alone does only the newest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from PySide6.QtCore import QObject

from ui.bridge import Background

T = TypeVar("T")


class Errands(QObject):
    """A queue before one Background. It belongs to the GUI thread, where the replies come as well."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._background = Background(self)
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = False

    @property
    def busy(self) -> bool:
        """Whether anything is left to be done."""
        return self._busy or bool(self._waiting)

    def run(self, op: Callable[[], T], done: Callable[[T], None], failed: Callable[[Exception], None]) -> None:
        """Call `op` in the background when its turn comes, then `done(result)` or `failed(error)`."""

        def reply(answer: Callable[[], None]) -> None:
            self._busy = False
            try:
                answer()
            finally:
                self._start_next()

        self._waiting.append(
            lambda: self._background.run(
                op, lambda result: reply(lambda: done(result)), lambda error: reply(lambda: failed(error))
            )
        )
        self._start_next()

    def close(self) -> bool:
        """Whether the thread has ended in time; what was waiting is left undone."""
        self._waiting.clear()
        return self._background.close()

    def _start_next(self) -> None:
        if not self._busy and self._waiting:
            self._busy = True
            self._waiting.popleft()()
