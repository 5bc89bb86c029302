"""Runs the stages live, each in a thread of its own: camera -> tracker -> animator -> sinks.

Between two stages lies a `Latest`, a place for one item and never a queue: what comes too fast is dropped,
so a slow stage costs frames, not delay. The stages are plain callables; `render` calls the same ones in a loop.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from puppet.outlets import MotionSink, Outlets, Tracked
from puppet.timings import Timing, Timings
from puppet.types import Frame, Image, Landmarks, Motion, Sink
from puppet.workers import Latest, Worker, run_with_timeout

__all__ = ["Latest", "MotionSink", "Pipeline", "Timing", "Timings", "Tracked", "Worker", "run_with_timeout"]

logger = logging.getLogger(__name__)

STOP_TIMEOUT_S = 2.0
SILENCE_S = (
    0.3  # without a picture, as when the camera hangs, or vanished and is awaited: longer than any camera's pause
)
SILENT_FPS = 30


class Pipeline:
    """The live program: `start` it, `stop` it within two seconds, or `join` until its source ends or a stage fails.

    source: yields Frames, or Landmarks | None straight away (recorded motion), for which `track` is skipped. While it
        is silent, nobody is seen: the portrait comes to rest, or idles.
    track, retarget: called in the tracker's thread; `retarget(landmarks, index, time_ns)` gets None for "no face".
    animate: called in the animator's thread, the only one that touches the engine. What it paints is its own matter:
        a portrait is swapped by reassigning what `animate` refers to.
    sinks: each is sent the frames in a thread of its own, as are those that `add_sink` brings later. One that fails is
        logged, kept in `failed_sinks` and left out; the pipeline fails only with its last one for frames. Source and
        sinks stay the caller's, who closes them.

    `timings` has the stages "track", "retarget", "animate", "send", and "age": now - capture time after sending.
    `error` is the first error of a stage. A pipeline runs once. Sinks may come and go from any thread; the other
    methods are for one.
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
        self.failed_sinks: list[tuple[Sink | MotionSink, BaseException]] = []
        self.hanging: list[str] = []
        self._track, self._retarget, self._animate = track, retarget, animate
        self._last_index = -1
        self._skipped = 0
        self._captured: Latest[Frame | Tracked] = Latest()
        self._motions: Latest[Motion] = Latest()
        self._tracked: Outlets[Tracked] = Outlets(self._sink_failed)
        self._painted: Outlets[Frame] = Outlets(self._sink_failed)
        self._lock = threading.Lock()  # around error and failed_sinks
        self._ending = threading.Event()
        self._stopped = False
        self._workers = [
            Worker("camera", source, self._capture, ended=self._stage_ended(self._captured)),
            Worker(
                "tracker",
                self._watched(),
                self._follow,
                ended=self._stage_ended(self._captured, self._motions, self._tracked),
            ),
            Worker("animator", self._motions, self._paint, ended=self._stage_ended(self._motions, self._painted)),
        ]
        for sink in sinks:
            self.add_sink(sink)

    @property
    def drops(self) -> dict[str, int]:
        """Frames lost so far: by the "camera" (gaps in its count), and before "tracker", "animator" and "sinks"."""
        return {
            "camera": self._skipped,
            "tracker": self._captured.drops,
            "animator": self._motions.drops,
            "sinks": self._painted.drops,
        }

    @property
    def running(self) -> bool:
        """Whether any thread is at work still."""
        return not all(worker.join(0) for worker in (*self._workers, *self._painted.workers, *self._tracked.workers))

    def add_sink(self, sink: Sink) -> None:
        """Send it the frames from now on."""

        def send(frame: Frame) -> None:
            with self.timings.measure("send"):
                sink.send(frame)
            self.timings.add("age", time.monotonic_ns() - frame.time_ns)

        self._painted.add(sink, send)

    def add_motion_sink(self, sink: MotionSink) -> None:
        """Send it what is tracked from now on."""
        self._tracked.add(sink, sink.send)

    def remove_sink(self, sink: Sink | MotionSink, *, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Send it nothing more; whether it is free by then. If not, it hangs, and closing it may hang, too."""
        workers = self._painted.remove(sink) + self._tracked.remove(sink)
        return all(worker.join(timeout_s) for worker in workers)

    def start(self) -> None:
        self._painted.start()
        self._tracked.start()
        for worker in self._workers:
            worker.start()

    def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End every thread. One that hangs (in a driver, say) is left behind after `timeout_s`, with a warning.

        Its name is in `hanging` then: whatever it is using must not be closed under it.
        """
        self._end()
        deadline_s = time.monotonic() + timeout_s
        for worker in self._threads():
            if not worker.join(max(0.0, deadline_s - time.monotonic())):
                logger.warning("The %s hangs; it was left behind after %g s.", worker.name, timeout_s)
                self.hanging.append(worker.name)
        self._stopped = True

    def join(self) -> None:
        """Wait until all is done, and raise the error of the stage that failed, if one did."""
        for worker in self._threads():
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
        return self._captured.put(Tracked(item, index, time.monotonic_ns()))

    def _watched(self) -> Iterator[Frame | Tracked]:
        """What is captured, and in between as often as may be asked of a camera, while it gives nothing, "no face"."""
        patience_s = SILENCE_S
        while True:
            item = self._captured.take(patience_s)
            if item is not None:
                patience_s = SILENCE_S
                yield item
            elif self._captured.closed:
                return
            else:
                patience_s = 1 / SILENT_FPS
                yield Tracked(None, max(self._last_index, 0), time.monotonic_ns())

    def _follow(self, item: Frame | Tracked) -> bool:
        if isinstance(item, Frame):
            with self.timings.measure("track"):
                item = Tracked(self._track(item), item.index, item.time_ns)
        self._tracked.put(item)
        with self.timings.measure("retarget"):
            motion = self._retarget(item.landmarks, item.index, item.time_ns)
        return self._motions.put(motion)

    def _paint(self, motion: Motion) -> bool:
        with self.timings.measure("animate"):
            image = self._animate(motion)
        self._painted.put(Frame(image, motion.index, motion.time_ns))
        return True

    def _threads(self) -> list[Worker]:
        """What may be at work still; after `stop`, nothing that would be worth waiting for."""
        return [] if self._stopped else [*self._workers, *self._painted.workers, *self._tracked.workers]

    def _sink_failed(self, sink: Sink | MotionSink, error: BaseException) -> None:
        with self._lock:
            self.failed_sinks.append((sink, error))
        if self._painted.all_failed:
            self._fail(error)

    def _stage_ended(
        self, *slots: Latest[Frame | Tracked] | Latest[Motion] | Outlets[Tracked] | Outlets[Frame]
    ) -> Callable[..., None]:
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
        self._tracked.close()
        self._painted.close()
