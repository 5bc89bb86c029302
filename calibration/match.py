"""How near a face comes to a portrait's pose, and what to change: for taking the rest where both look alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from puppet.expression import eye_gaps, mouth_gap, to_frontal
from puppet.headpose import frontal_rotation, rotation_vector
from puppet.types import Landmarks

Array = NDArray[np.float64]

# What halves the score: radians of pitch, yaw and roll; gap of the lips over the width of the mouth; gap of the lids
# over that of the eye, wide enough for eyes that differ by nature.
HALVING: Final = np.array([*np.radians([10.0, 10.0, 8.0]), 0.15, 0.15])
WORTH_SAYING: Final = 0.4  # of those

ALIKE: Final = "That is the portrait's pose."
HINTS: Final = (  # for too much of it and for too little, from the user's own point of view
    ("Raise your chin a little.", "Lower your chin a little."),
    ("Turn your head a little to your left.", "Turn your head a little to your right."),
    ("Tilt your head a little to your right.", "Tilt your head a little to your left."),
    ("Close your mouth a little.", "Open your mouth a little."),
    ("Narrow your eyes a little.", "Open your eyes a little."),
)


@dataclass(frozen=True, slots=True)
class Match:
    """How alike two faces are held, whoever they are."""

    score: int  # 0..100
    hint: str  # what to change first: one of HINTS, or ALIKE


def match(face: Landmarks, portrait: Landmarks) -> Match:
    """Compare the user's face, in a picture that is not mirrored, with the portrait's."""
    departures = (_held(face) - _held(portrait)) / HALVING
    worst = int(np.abs(departures).argmax())
    score = round(100.0 * 0.5 ** float(departures @ departures))
    return Match(score, HINTS[worst][int(departures[worst] < 0.0)] if abs(departures[worst]) > WORTH_SAYING else ALIKE)


def _held(face: Landmarks) -> Array:
    """(5,) pitch, yaw, roll, the mouth's gap, the eyes' gap; the order of HALVING and HINTS."""
    frontal = to_frontal(face)
    return np.array([*rotation_vector(frontal_rotation(face)), mouth_gap(frontal), eye_gaps(frontal).mean()])
