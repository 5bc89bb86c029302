"""How long each stage takes and how often it runs, over a sliding window."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

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
        with self._lock:  # no longer than need be: who adds waits
            samples = {stage: list(kept) for stage, kept in self._samples.items()}
            counts = dict(self._counts)
        since_ns = time.monotonic_ns() - RATE_WINDOW_NS
        timings = {}
        for stage, kept in samples.items():
            ordered_ns = sorted(duration_ns for _, duration_ns in kept)
            recent_ns = [when_ns for when_ns, _ in kept if when_ns > since_ns]
            fps = (len(recent_ns) - 1) * 1e9 / max(1, recent_ns[-1] - recent_ns[0]) if len(recent_ns) > 1 else 0.0
            p50_ms, p95_ms = (_quantile(ordered_ns, share) / 1e6 for share in (0.50, 0.95))
            timings[stage] = Timing(p50_ms, p95_ms, fps, counts[stage])
        return timings


def _quantile(ordered: Sequence[int], share: float) -> float:
    """Linear between the values around it, as numpy's, which takes ten times as long for so few."""
    place, rest = divmod(share * (len(ordered) - 1), 1)
    low, high = ordered[int(place)], ordered[min(int(place) + 1, len(ordered) - 1)]
    return low + rest * (high - low)
