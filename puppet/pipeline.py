"""Runs the stages live, each in a thread of its own: camera -> tracker -> animator -> sinks. Threads exist here only.

Between two stages lies a `Latest`, a place for one item and never a queue: what comes too fast is dropped,
so a slow stage costs frames, not delay. The stages are plain callables; `render` calls the same ones in a loop.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

from puppet.timings import Timing, Timings
from puppet.types import Frame, Image, Landmarks, Motion, Sink

__all__ = ["Latest", "Pipeline", "Timing", "Timings", "Worker", "run_with_timeout"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

STOP_TIMEOUT_S = 2.0


class Latest(Generic[T]):
    """A place for one item: `put` replaces what was not taken yet and never blocks. Any thread may call it.

    Iterating takes items until the slot is closed. An item that lies there when it closes can still be taken.
    """

    def __init__(self) -> None:
        self.drops = 0  # items that were replaced before anybody took them
        self.closed = False
        self._item: T | None = None
        self._changed = threading.Condition()

    def put(self, item: T) -> bool:
        """Leave `item` for the taker; False if the slot is closed and nobody will come for it."""
        with self._changed:
            if self.closed:
                return False
            self.drops += self._item is not None
            self._item = item
            self._changed.notify()
            return True

    def take(self, timeout_s: float | None = None) -> T | None:
        """Wait for an item and take it; None when the time is over, or when the slot is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self.closed, timeout_s)
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Wake whoever waits and accept nothing more."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while (item := self.take()) is not None:
            yield item


class Worker:
    """A thread that hands each of `items` to `step` until they end, `step` returns False, or one of them raises.

    It keeps the error and then calls `ended(error)`. It does not keep the process alive.
    """

    def __init__(
        self,
        name: str,
        items: Iterable[T],
        step: Callable[[T], bool],
        *,
        ended: Callable[[BaseException | None], None] = lambda error: None,
    ) -> None:
        self.name = name
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(items, step, ended), name=f"puppet-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> bool:
        """Whether the thread has ended within the time, or never began."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(
        self, items: Iterable[T], step: Callable[[T], bool], ended: Callable[[BaseException | None], None]
    ) -> None:
        try:
            for item in items:
                if not step(item):
                    break
        except BaseException as error:  # not swallowed: whoever started the thread finds it, or gets it raised
            self.error = error
        ended(self.error)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """One step of recorded motion, stamped here because "no face" carries no stamp of its own."""

    landmarks: Landmarks | None
    index: int
    time_ns: int


class Pipeline:
    """The live program: `start` it, `stop` it within two seconds, or `join` until its source ends or a stage fails.

    source: yields Frames, or Landmarks | None straight away (recorded motion), for which `track` is skipped.
    track, retarget: called in the tracker's thread; `retarget(landmarks, index, time_ns)` gets None for "no face".
    animate: called in the animator's thread, the only one that touches the engine. What it paints is its own matter:
        a portrait is swapped by reassigning what `animate` refers to.
    sinks: each is sent the frames in a thread of its own. One that fails is logged, kept in `failed_sinks` and left
        out; the pipeline fails only with its last sink. Source and sinks stay the caller's, who closes them.

    `timings` has the stages "track", "retarget", "animate", "send", and "age": now - capture time after sending.
    `error` is the first error of a stage. A pipeline runs once; its methods are for one thread.
    """

    def __init__(
        self,
        source: Iterable[Frame | Landmarks | None],
        *,
        track: Callable[[Frame], Landmarks | None],
        retarget: Callable[[Landmarks | None, int, int], Motion],
        animate: Callable[[Motion], Image],
        sinks: Sequence[Sink],
    ) -> None:
        self.timings = Timings()
        self.error: BaseException | None = None
        self.failed_sinks: list[tuple[Sink, BaseException]] = []
        self._track, self._retarget, self._animate = track, retarget, animate
        self._last_index = -1
        self._skipped = 0
        self._captured: Latest[Frame | _Recorded] = Latest()
        self._motions: Latest[Motion] = Latest()
        self._painted: list[Latest[Frame]] = [Latest() for _ in sinks]
        self._lock = threading.Lock()  # around error and failed_sinks
        self._ending = threading.Event()
        self._workers = [
            Worker("camera", source, self._capture, ended=self._stage_ended(self._captured)),
            Worker("tracker", self._captured, self._follow, ended=self._stage_ended(self._captured, self._motions)),
            Worker("animator", self._motions, self._paint, ended=self._stage_ended(self._motions, *self._painted)),
            *(self._sender(sink, frames) for sink, frames in zip(sinks, self._painted, strict=True)),
        ]

    @property
    def drops(self) -> dict[str, int]:
        """Frames lost so far: by the "camera" (gaps in its count), and before "tracker", "animator" and "sinks"."""
        return {
            "camera": self._skipped,
            "tracker": self._captured.drops,
            "animator": self._motions.drops,
            "sinks": sum(frames.drops for frames in self._painted),
        }

    @property
    def running(self) -> bool:
        """Whether any thread is at work still."""
        return not all(worker.join(0) for worker in self._workers)

    def start(self) -> None:
        for worker in self._workers:
            worker.start()

    def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End every thread. One that hangs (in a driver, say) is left behind after `timeout_s`, with a warning."""
        self._end()
        deadline_s = time.monotonic() + timeout_s
        for worker in self._workers:
            if not worker.join(max(0.0, deadline_s - time.monotonic())):
                logger.warning("The %s hangs; it was left behind after %g s.", worker.name, timeout_s)
        self._workers = []

    def join(self) -> None:
        """Wait until all is done, and raise the error of the stage that failed, if one did."""
        for worker in self._workers:
            # Waking up twice a second lets Ctrl-C through on Windows, where a plain join cannot be interrupted.
            while not self._ending.is_set() and not worker.join(0.5):
                pass
        self.stop()
        if self.error:
            raise self.error

    close = stop

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _capture(self, item: Frame | Landmarks | None) -> bool:
        index = self._last_index + 1 if item is None else item.index
        self._skipped += max(0, index - self._last_index - 1)
        self._last_index = index
        if isinstance(item, Frame):
            return self._captured.put(item)
        return self._captured.put(_Recorded(item, index, time.monotonic_ns()))

    def _follow(self, item: Frame | _Recorded) -> bool:
        if isinstance(item, Frame):
            with self.timings.measure("track"):
                landmarks = self._track(item)
        else:
            landmarks = item.landmarks
        with self.timings.measure("retarget"):
            motion = self._retarget(landmarks, item.index, item.time_ns)
        return self._motions.put(motion)

    def _paint(self, motion: Motion) -> bool:
        with self.timings.measure("animate"):
            image = self._animate(motion)
        frame = Frame(image, motion.index, motion.time_ns)
        taken = [frames.put(frame) for frames in self._painted]
        return any(taken)

    def _sender(self, sink: Sink, frames: Latest[Frame]) -> Worker:
        def send(frame: Frame) -> bool:
            with self.timings.measure("send"):
                sink.send(frame)
            self.timings.add("age", time.monotonic_ns() - frame.time_ns)
            return True

        def ended(error: BaseException | None) -> None:
            frames.close()
            if error is None:
                return
            logger.error("%s failed and was left out: %s", type(sink).__name__, error)
            with self._lock:
                self.failed_sinks.append((sink, error))
            if len(self.failed_sinks) == len(self._painted):
                self._fail(error)

        return Worker(f"sender to {type(sink).__name__}", frames, send, ended=ended)

    def _stage_ended(self, *slots: Latest[Frame | _Recorded] | Latest[Motion] | Latest[Frame]) -> Callable[..., None]:
        """What a stage does at its end: shut the slots on both of its sides, so that its neighbours end too."""

        def ended(error: BaseException | None) -> None:
            for slot in slots:
                slot.close()
            if error is not None:
                self._fail(error)

        return ended

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self.error = self.error or error
        self._end()

    def _end(self) -> None:
        self._ending.set()
        self._captured.close()
        self._motions.close()
        for frames in self._painted:
            frames.close()


def run_with_timeout(op: Callable[[], T], *, timeout_s: float, discard: Callable[[T], None]) -> T:
    """Return what `op` returns, or raise what it raises; TimeoutError if it takes longer than `timeout_s`.

    For calls into drivers, which may hang. Such a call cannot be ended: it goes on in its thread, and what it
    returns too late is handed to `discard` there.
    """
    lock = threading.Lock()
    results: list[T] = []
    abandoned = False

    def step(op: Callable[[], T]) -> bool:
        result = op()
        with lock:
            results.append(result)
        if abandoned:
            discard(result)
        return True

    worker = Worker("driver call", [op], step)
    worker.start()
    worker.join(timeout_s)
    with lock:
        abandoned = not results
    if worker.error:
        raise worker.error
    if abandoned:
        raise TimeoutError(f"The call took more than {timeout_s:g} s.")
    return results[0]
