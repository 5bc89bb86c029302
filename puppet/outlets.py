"""Where a live program's items go: sinks that come and go while it runs, each in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from puppet.types import Closing, Landmarks, Sink
from puppet.workers import Latest, Worker

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tracked:
    """What was seen in one picture of the source; stamped, because "no face" carries no stamp of its own."""

    landmarks: Landmarks | None
    index: int
    time_ns: int


class MotionSink(Closing, Protocol):
    """Takes what was tracked, as a Sink takes what was painted."""

    def send(self, tracked: Tracked) -> None: ...


@dataclass(frozen=True, slots=True)
class _Outlet(Generic[T]):
    sink: Sink | MotionSink
    slot: Latest[T]
    worker: Worker


class Outlets(Generic[T]):
    """The sinks of one kind of item, which come and go at any time, each with a slot and a thread of its own.

    One that fails is logged and handed to `failed`; it gets nothing more, and stays here until it is removed.
    """

    def __init__(self, failed: Callable[[Sink | MotionSink, BaseException], None]) -> None:
        self._failed = failed
        self._outlets: tuple[_Outlet[T], ...] = ()
        self._lock = threading.Lock()  # around changes
        self._started = self._closed = False
        self._removed_drops = 0

    @property
    def drops(self) -> int:
        return self._removed_drops + sum(outlet.slot.drops for outlet in self._outlets)

    @property
    def all_failed(self) -> bool:
        return bool(self._outlets) and all(outlet.worker.error is not None for outlet in self._outlets)

    @property
    def workers(self) -> list[Worker]:
        return [outlet.worker for outlet in self._outlets]

    def add(self, sink: Sink | MotionSink, send: Callable[[T], None]) -> None:
        slot: Latest[T] = Latest()

        def step(item: T) -> bool:
            send(item)
            return True

        def ended(error: BaseException | None) -> None:
            slot.close()
            if error is not None:
                logger.error("%s failed and was left out: %s", type(sink).__name__, error)
                self._failed(sink, error)

        worker = Worker(f"sender to {type(sink).__name__}", slot, step, ended=ended)
        with self._lock:
            self._outlets = (*self._outlets, _Outlet(sink, slot, worker))
            if self._closed:
                slot.close()
            if self._started:
                worker.start()

    def remove(self, sink: Sink | MotionSink) -> list[Worker]:
        """Give `sink` nothing more; its worker, if it is here, ends with what was put before."""
        with self._lock:
            removed = [outlet for outlet in self._outlets if outlet.sink is sink]
            self._outlets = tuple(outlet for outlet in self._outlets if outlet.sink is not sink)
            for outlet in removed:
                outlet.slot.close()
                self._removed_drops += outlet.slot.drops
        return [outlet.worker for outlet in removed]

    def put(self, item: T) -> None:
        for outlet in self._outlets:
            outlet.slot.put(item)

    def start(self) -> None:
        with self._lock:
            self._started = True
            for outlet in self._outlets:
                outlet.worker.start()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for outlet in self._outlets:
                outlet.slot.close()
