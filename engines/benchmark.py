"""How fast each runner that works here runs the generator, beside what this computer's cores can do at most."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from engines.geometry import COARSE_PX, SIDE_PX
from engines.runner import RUNNERS, load
from puppet.types import PuppetError

GMACS: Final = 1.69  # of the generator, per frame; a test counts them
WARM_UP, FRAMES = 3, 40
CEILING_SIDE = 1024  # of the matrices


@dataclass(frozen=True, slots=True)
class Pace:
    """One runner's figures, or why there are none."""

    runner: str
    p50_ms: float | None = None
    p95_ms: float | None = None
    gmacs_per_s: float | None = None
    reason: str = ""


def paces(weights: Path) -> Iterator[Pace]:
    """Run every runner on the same random frame, one after the other."""
    random = np.random.default_rng(0)
    seen = random.integers(0, 256, (SIDE_PX, SIDE_PX, 7), np.uint8)
    head = random.normal(size=(COARSE_PX, COARSE_PX, 4)).astype(np.float32)
    for name in RUNNERS:
        try:
            with load(weights, name) as runner:
                cached = runner.embed(seen)
                p50_ms, p95_ms = _timed(lambda run=runner, of=cached: run.repair(seen, head, **of))
        except PuppetError as error:
            yield Pace(name, reason=str(error))
        else:
            yield Pace(name, round(p50_ms, 2), round(p95_ms, 2), round(1000 * GMACS / p50_ms, 1))


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
    return float(p50_ms), float(p95_ms)
