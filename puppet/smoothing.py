"""Smooth in time and in value: the one-euro filter, steady at rest and quick in motion, and the smoothstep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DERIVATIVE_CUTOFF_HZ = 1.0


@dataclass(frozen=True, slots=True)
class Smoothness:
    """Cut-off at rest in Hz, and how many Hz it rises per unit of speed (signal units per second)."""

    rest_hz: float
    per_speed: float


def _share(cutoff_hz: Array | float, dt_s: float) -> Array:
    """The share of the new sample in a first-order low-pass."""
    radians = 2.0 * np.pi * np.asarray(cutoff_hz, np.float64) * dt_s
    share: Array = radians / (radians + 1.0)
    return share


class OneEuro:
    """Casiez, Roussel, Vogel: 1€ Filter, CHI 2012, algorithm 1, for an array whose elements are filtered apart.

    A stamp that does not rise gives the last value again.
    """

    def __init__(self, smoothness: Smoothness) -> None:
        self._smoothness = smoothness
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next sample passes unchanged."""
        self._time_ns: int | None = None
        self._value = self._speed = np.zeros(0)

    def __call__(self, sample: Array, *, time_ns: int, amount: float = 1.0, unit: float = 1.0) -> Array:
        """Filter one sample; `amount` 0 lets it through unchanged, 1 is the setting, 2 halves the cut-off.

        `unit` is the length in the samples' unit in which speed is told.
        """
        if self._time_ns is None or amount <= 0.0:
            self._value, self._speed = sample.astype(np.float64), np.zeros(sample.shape)
        elif time_ns > self._time_ns:
            dt_s = (time_ns - self._time_ns) * 1e-9
            speed = (sample - self._value) / dt_s
            self._speed = self._speed + _share(DERIVATIVE_CUTOFF_HZ, dt_s) * (speed - self._speed)
            cutoff_hz = self._smoothness.rest_hz + self._smoothness.per_speed / unit * np.abs(self._speed)
            self._value = self._value + _share(cutoff_hz / amount, dt_s) * (sample - self._value)
        else:
            return self._value
        self._time_ns = time_ns
        return self._value


def smoothstep(u: Array | float) -> Array:
    """0 below 0, 1 above 1, and smooth between."""
    u = np.clip(u, 0.0, 1.0)
    step: Array = np.asarray(u * u * (3.0 - 2.0 * u))
    return step
