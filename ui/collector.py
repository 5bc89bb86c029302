"""Collects Python's garbage in the thread of the window: elsewhere it would destroy Qt's objects, which may crash."""

from __future__ import annotations

import gc
from types import TracebackType
from typing import Final, Self

from PySide6.QtCore import QObject, QTimer

INTERVAL_MS: Final = 200


class Collector:
    """While it is entered, garbage is collected as often as otherwise, but by a timer of the thread that entered it."""

    def __init__(self) -> None:
        self._owner = QObject()
        self._timer = QTimer(self._owner)
        self._timer.setInterval(INTERVAL_MS)
        self._timer.timeout.connect(self.collect)

    def collect(self) -> None:
        """The oldest generation of which there is enough."""
        due = [
            generation
            for generation, (count, threshold) in enumerate(zip(gc.get_count(), gc.get_threshold(), strict=True))
            if count > threshold > 0
        ]
        if due:
            gc.collect(max(due))

    def __enter__(self) -> Self:
        gc.disable()
        gc.freeze()  # what is loaded by now stays; looking through it each time would be felt
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.stop()
        gc.unfreeze()
        gc.enable()
