"""Samples of a face to a Calibration: pure functions, robust against the odd bad frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from puppet.expression import LEAST_RANGE, eye_gaps, mouth_gap, to_frontal
from puppet.neutral import CalibrationError, neutral_of
from puppet.types import Calibration, Landmarks

__all__ = ["MOST_SHUT", "CalibrationError", "fit", "neutral_of"]

LEAST_OPEN: Final = 0.3  # gap of the lips / width of the mouth, which speech seldom reaches
OPEN_PERCENTILE: Final = 75  # of the gaps of a wide-open mouth
MOST_SHUT: Final = 0.6  # of the gap at rest: what is wider was never shut
SHUT_PERCENTILE: Final = 75  # of the gaps of shut eyes: noise above it must not open them again


def fit(rest: Sequence[Landmarks], shut: Sequence[Landmarks], opened: Sequence[Landmarks] = ()) -> Calibration:
    """A Calibration from frames at rest, frames with both eyes shut and, if any, frames with the mouth wide open.

    The lids are measured apart from the face at rest: an average over blinks would leave no eye that can shut.
    Raises CalibrationError if one of the first two is empty, or no shut eye or no open mouth is where it should be.
    """
    calibration = neutral_of(rest)
    if not shut:
        raise CalibrationError("No face was seen to take the shut eyes from: stay in the picture and shut both eyes.")
    closed = np.percentile([eye_gaps(to_frontal(face)) for face in shut], SHUT_PERCENTILE, axis=0)
    if np.any(closed > MOST_SHUT * calibration.eye_open):
        share = float(np.max(closed / calibration.eye_open))
        raise CalibrationError(
            f"The eyes were still {share:.0%} open when they should have been shut: shut both eyes and try again."
        )
    closed = np.minimum(closed, calibration.eye_open - LEAST_RANGE)
    return replace(calibration, eye_closed=closed.astype(np.float32), mouth_open=_mouth_open(opened))


def _mouth_open(opened: Sequence[Landmarks]) -> float:
    if not opened:
        return 0.0
    widest = float(np.percentile([mouth_gap(to_frontal(face)) for face in opened], OPEN_PERCENTILE))
    if widest < LEAST_OPEN:
        raise CalibrationError("The mouth was hardly open when it should have been: open it wide and try again.")
    return widest
