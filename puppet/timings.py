"""How long each stage takes and how often it runs, over a sliding window."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

RATE_WINDOW_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Timing:
    """What one stage took, over the window."""

    p50_ms: float
    p95_ms: float
    fps: float  # over the last two seconds
    count: int  # since the beginning


class Timings:
    """Durations by stage, over a sliding window of the last `window` ones, or over all. Any thread may add."""

    def __init__(self, *, window: int | None = 300) -> None:
        self._window = window
        self._samples: dict[str, deque[tuple[int, int]]] = {}  # (when, duration), both ns
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, stage: str, duration_ns: int) -> None:
        with self._lock:
            self._samples.setdefault(stage, deque(maxlen=self._window)).append((time.monotonic_ns(), duration_ns))
            self._counts[stage] = self._counts.get(stage, 0) + 1

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add what the with-block takes; a block that raises is not counted."""
        start_ns = time.monotonic_ns()
        yield
        self.add(stage, time.monotonic_ns() - start_ns)

    def snapshot(self) -> dict[str, Timing]:
        """The stages seen so far, in the order of their first sample."""
        with self._lock:
            samples = {stage: np.array(kept) for stage, kept in self._samples.items()}  # (n, 2)
            counts = dict(self._counts)
        now_ns = time.monotonic_ns()
        timings = {}
        for stage, kept in samples.items():
            p50_ms, p95_ms = np.percentile(kept[:, 1], (50, 95)) / 1e6
            recent_ns = kept[kept[:, 0] > now_ns - RATE_WINDOW_NS, 0]
            fps = (len(recent_ns) - 1) * 1e9 / max(1, recent_ns[-1] - recent_ns[0]) if len(recent_ns) > 1 else 0.0
            timings[stage] = Timing(float(p50_ms), float(p95_ms), float(fps), counts[stage])
        return timings
