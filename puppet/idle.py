"""What a living face does by itself: blinks at random, and a head that sways and breathes gently."""

from __future__ import annotations

import math
import random
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 3.0, 5.0  # between the end of one blink and the begin of the next
# A spontaneous blink shuts about twice as fast as it opens.
SHUTTING_S: Final = 0.08
SHUT_S: Final = 0.04
OPENING_S: Final = 0.16
BLINK_S: Final = SHUTTING_S + SHUT_S + OPENING_S
OWN_BLINK: Final = 0.4  # opening below which the driver's own eyes blink

# Of each sway the amplitudes and periods of a slow wave and of a slower one; periods that share no multiple soon.
PITCH_DEG: Final = ((0.10, 4.1), (0.10, 11.3))  # the first is the breath, as is that of the scale
YAW_DEG: Final = ((0.10, 7.3), (0.14, 17.9))
ROLL_DEG: Final = ((0.06, 8.7), (0.07, 13.7))
RISE: Final = ((0.006, 4.1),)  # head units
LOG_SCALE: Final = ((0.002, 4.1),)
Waves = tuple[tuple[float, float], ...]


class Blinks:
    """Blinks that come 3 to 5 s after the last one, the driver's own ones included. The seed decides when."""

    def __init__(self, *, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._start_ns: int | None = None  # of the next blink, or of the one that is
        self._under_way = False

    def __call__(self, time_ns: int, *, eyes: float = 1.0) -> float:
        """The opening of the lids at a time that never falls, 0..1: 1 but for some 0.3 s at each blink.

        eyes: how far the driver's own eyes are open; while they blink, no blink of ours begins.
        """
        if self._start_ns is None or (eyes < OWN_BLINK and not self._under_way):
            self._start_ns = self._after(time_ns)
        seconds = (time_ns - self._start_ns) * 1e-9
        if seconds >= BLINK_S:
            self._start_ns = self._after(time_ns)
        self._under_way = 0.0 <= seconds < BLINK_S
        return _opening(seconds)

    def _after(self, time_ns: int) -> int:
        return time_ns + round(self._random.uniform(SHORTEST_PAUSE_S, LONGEST_PAUSE_S) * 1e9)


def _opening(seconds: float) -> float:
    """Of the lids, that long after a blink began."""
    if seconds < SHUTTING_S:
        shut = max(seconds, 0.0) / SHUTTING_S
    else:
        shut = min(max(BLINK_S - seconds, 0.0) / OPENING_S, 1.0)
    return 0.5 + 0.5 * math.cos(math.pi * shut)


def sway(time_ns: int) -> Array:
    """(6,) rotation vector in radians, shift in head units, and log scale of a head at rest; a smooth function."""
    seconds = time_ns * 1e-9
    turn = [math.radians(_wave(waves, seconds)) for waves in (PITCH_DEG, YAW_DEG, ROLL_DEG)]
    return np.array([*turn, 0.0, _wave(RISE, seconds), _wave(LOG_SCALE, seconds)])


def _wave(waves: Waves, seconds: float) -> float:
    return sum(amplitude * math.sin(math.tau * seconds / period_s) for amplitude, period_s in waves)
