"""Whether a computer paints fast enough for an engine to be chosen unasked: measured once a week, and remembered."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
from platformdirs import user_cache_path

logger = logging.getLogger(__name__)

BUDGET_MS: Final = {1: 16.0, 2: 24.0}  # by cores, of 40 ms at 25 fps: tracking and sending want the rest of so few
WHOLE_BUDGET_MS: Final = 40.0
KEPT_S: Final = 7 * 24 * 3600
WARM_UP, TRIALS = 3, 7


def budget_ms() -> float:
    """What painting one frame may take here."""
    return BUDGET_MS.get(os.cpu_count() or 1, WHOLE_BUDGET_MS)


def remembered(subject: str, measure: Callable[[], float], *, folder: Path | None = None) -> float:
    """What `measure` gave for `subject` during the last week on this computer, or gives now; ms."""
    folder = folder or user_cache_path("puppet") / "pace"
    file = folder / sha256(f"{subject} {os.cpu_count()}".encode()).hexdigest()[:16]
    try:
        if time.time() - file.stat().st_mtime < KEPT_S:
            return float(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        pass  # not measured yet, or damaged: measured anew
    pace_ms = measure()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{pace_ms:.2f}", encoding="ascii")
    except OSError as error:
        logger.info("the pace could not be kept: %s", error)
    return pace_ms


def median_ms(work: Callable[[], float]) -> float:
    """The median of what `work`, which gives seconds, took once it was warm."""
    return 1000 * float(np.median([work() for _ in range(WARM_UP + TRIALS)][WARM_UP:]))
