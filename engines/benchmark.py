"""How fast each runner that works here runs the generator and paints, beside what this computer's cores can do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from engines import pace
from engines.geometry import COARSE_PX, SIDE_PX
from engines.neural import TRIAL_SHIFT_PX, NeuralEngine
from engines.runner import RUNNERS, for_repair, load
from puppet.types import PuppetError

GMACS: Final = 1.69  # of the generator, per frame; a test counts them
FRAME_PX: Final = 512
WARM_UP, FRAMES = 3, 40
CEILING_SIDE = 1024  # of the matrices


@dataclass(frozen=True, slots=True)
class Pace:
    """One runner's figures, or why there are none."""

    runner: str
    p50_ms: float | None = None
    p95_ms: float | None = None
    gmacs_per_s: float | None = None
    frame_p50_ms: float | None = None  # of a whole frame: warped, repaired, back in memory
    frame_p95_ms: float | None = None
    reason: str = ""

    def __str__(self) -> str:
        if self.reason:
            return self.reason
        return (
            f"{self.p50_ms:7.1f} ms, 95 % within {self.p95_ms:.1f} ms, {self.gmacs_per_s:.0f} GMAC/s; "
            f"a whole frame {self.frame_p50_ms:.1f} ms, 95 % within {self.frame_p95_ms:.1f} ms"
        )


def paces(weights: Path) -> Iterator[Pace]:
    """Run every runner on the same random frame, and let it paint one of FRAME_PX, one after the other."""
    random = np.random.default_rng(0)
    seen = random.integers(0, 256, (SIDE_PX, SIDE_PX, 7), np.uint8)
    head = random.normal(size=(COARSE_PX, COARSE_PX, 4)).astype(np.float32)
    portrait = pace.trial_portrait(FRAME_PX)
    for name in RUNNERS:
        try:
            with NeuralEngine(weights, ready=(runner := load(weights, name))) as engine:
                cached = for_repair(runner.embed(seen))
                times_ms = _timed(partial(runner.repair, seen, head, **cached))
                embedding = engine.embed(portrait)
                target = portrait.landmarks.points + np.float32(TRIAL_SHIFT_PX)
                frame_ms = _timed(partial(engine.paint, embedding, target))
        except PuppetError as error:
            yield Pace(name, reason=str(error))
        else:
            yield Pace(name, *times_ms, round(1000 * GMACS / times_ms[0], 1), *frame_ms)


def ceiling_gmacs_per_s() -> float:
    """What all cores would do if each multiplied float32 matrices as fast as one does alone.

    Networks in bfloat16 may come above it.
    """
    matrix = np.random.default_rng(0).normal(size=(CEILING_SIDE, CEILING_SIDE)).astype(np.float32)
    p50_ms, _ = _timed(lambda: matrix @ matrix)
    threads = int(os.environ.get("OPENBLAS_NUM_THREADS") or os.cpu_count() or 1)
    return round(CEILING_SIDE**3 / 1e6 / p50_ms * (os.cpu_count() or 1) / threads, 1)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """p50 and p95 in ms."""
    taken = []
    for _ in range(WARM_UP + FRAMES):
        start_s = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - start_s))
    p50_ms, p95_ms = np.percentile(taken[WARM_UP:], (50, 95))
    return round(float(p50_ms), 2), round(float(p95_ms), 2)
