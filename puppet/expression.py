"""What a driver's face does: one tracked face read against the same person's rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from puppet import canonical, facemesh
from puppet.headpose import (
    PIVOT,
    STABLE,
    fit_similarity,
    frontal_rotation,
    head_size,
    rotation_vector,
    to_space,
)
from puppet.proportions import EYE_CORNERS, travel
from puppet.smoothing import smoothstep
from puppet.types import Calibration, Floats, Landmarks

Array = NDArray[np.float64]

LIDS_UPPER: Final = np.array(facemesh.LID_UPPER)[:, 1:-1]  # (2, 7) without the corners
LIDS_LOWER: Final = np.array(facemesh.LID_LOWER)[:, 1:-1]
IRIS_CENTRES: Final = np.array(facemesh.IRIS)[:, 0]
LIDS_AND_IRISES: Final = np.unique(np.concatenate(facemesh.LID_UPPER + facemesh.LID_LOWER + facemesh.IRIS))
EYE_BLINK: Final = (10, 9)  # blendshapes eyeBlinkRight, eyeBlinkLeft: the eye at the picture's left first

# Lid gap / eye width that FaceLandmarker reports for shut eyes: 0.04 on average where its own blink blendshape
# says shut, a little more in the two or three frames that a blink has.
SHUT_GAP: Final = 0.055
LEAST_RANGE: Final = 0.06  # between shut and open, or noise would blink
NEARLY_SHUT: Final = 0.25  # opening below which an eye is drawn to shut: no portrait sleeps with a slit
BLINK_DOUBTFUL, BLINK_SURE = 0.55, 0.75  # eyeBlink blendshape
MOUTH_OPEN: Final = 0.6  # mouth_gap that counts as wide open: 3 cm on average, of 5
MOUTH_GAINS: Final = (0.75, 1.35)  # within which a driver's opening is scaled to that
ONE_EYE, WINK = 0.25, 0.6  # difference in opening: below it is half noise, above it is meant


@dataclass(frozen=True, slots=True)
class Reading:
    """A Motion before smoothing: the same quantities in the same units.

    The rotation is the difference of two rotation vectors (axis times angle), the present one's and the rest's.
    """

    rotation: Array  # (3,)
    translation: Array  # (2,)
    log_scale: float
    expression: Array  # (478, 3)
    eyes: Array  # (2,)
    gaze: Array  # (2, 2)


def to_frontal(landmarks: Landmarks) -> Array:
    """The (478, 3) points in space turned to face the viewer, px."""
    points: Array = to_space(landmarks) @ frontal_rotation(landmarks)
    return points


def eye_gaps(frontal: Array | Floats) -> Array:
    """(2,) mean gap between the lids over the width of the eye, of (478, 3) points in frontal axes."""
    gap = (frontal[LIDS_LOWER, 1] - frontal[LIDS_UPPER, 1]).mean(axis=1)
    corners = frontal[EYE_CORNERS]
    gaps: Array = gap / np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)
    return gaps


def mouth_gap(frontal: Array | Floats) -> float:
    """Mean gap between the lips over the width of the mouth, of (478, 3) points in frontal axes."""
    upper, lower = list(facemesh.LIP_ROWS_UPPER[-1]), list(facemesh.LIP_ROWS_LOWER[0])
    left, right = frontal[[facemesh.LIP_OUTER_UPPER[0], facemesh.LIP_OUTER_UPPER[-1]]]
    return float(np.maximum(frontal[lower, 1] - frontal[upper, 1], 0.0).mean() / np.linalg.norm(right - left))


def eye_gaze(frontal: Array) -> Array:
    """(2, 2) iris centre from the middle of the eye's corners, x and y in widths of the eye, frontal axes."""
    corners = frontal[EYE_CORNERS]
    width = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1, keepdims=True)
    offset: Array = (frontal[IRIS_CENTRES] - corners.mean(axis=1))[:, :2] / width
    return offset


class ExpressionReader:
    """Reads tracked faces of one person against that person's Calibration."""

    def __init__(self, calibration: Calibration) -> None:
        neutral = calibration.neutral
        self._height_px = neutral.height_px
        self._rest = to_space(neutral)
        self._rotation = frontal_rotation(neutral)
        self._turn = rotation_vector(self._rotation)
        self._size = head_size(self._rest)
        self._frontal = self._rest @ self._rotation
        self._travel = travel(self._frontal)
        self._pivot = self._rest[STABLE].mean(axis=0) + self._size * self._rotation @ PIVOT
        self._gaze = eye_gaze(self._frontal)
        self._gains = _gains(calibration)
        self._open = calibration.eye_open.astype(np.float64)
        self._shut = np.minimum(calibration.eye_closed.astype(np.float64), self._open - LEAST_RANGE)

    def __call__(self, landmarks: Landmarks) -> Reading:
        points = to_space(landmarks) * (self._height_px / landmarks.height_px)  # the camera may have changed its size
        own = frontal_rotation(landmarks)
        head = fit_similarity(self._rest[STABLE], points[STABLE], rotation=own @ self._rotation.T)
        frontal = head.undo(points) @ self._rotation  # the head held as it is at rest, seen from its front
        expression = self._gains * (frontal - self._frontal) / (self._size * self._travel)
        expression[LIDS_AND_IRISES] = 0.0
        expression = canonical.SPREAD @ expression
        eyes = self._eyes(eye_gaps(frontal), landmarks)
        return Reading(
            rotation=rotation_vector(own) - self._turn,
            translation=((head(self._pivot[None])[0] - self._pivot) / self._size)[:2],
            log_scale=float(np.log(head.scale)),
            expression=expression,
            eyes=eyes,
            gaze=self._shift(eye_gaze(frontal), eyes),
        )

    def _eyes(self, gap: Array, landmarks: Landmarks) -> Array:
        opening = np.clip((gap - self._shut) / (self._open - self._shut), 0.0, None)
        # The blendshape knows a shut eye where the gap is noise; its doubt (looking down: 0.3..0.5) changes nothing.
        blink = landmarks.blendshapes[list(EYE_BLINK)].astype(np.float64)
        opening *= 1.0 - np.clip((blink - BLINK_DOUBTFUL) / (BLINK_SURE - BLINK_DOUBTFUL), 0.0, 1.0)
        opening *= smoothstep(opening / NEARLY_SHUT)
        mean, half = opening.mean(), (opening[1] - opening[0]) / 2.0
        half *= 0.5 + 0.5 * smoothstep((2.0 * abs(half) - ONE_EYE) / (WINK - ONE_EYE))
        return np.array([mean - half, mean + half])

    def _shift(self, gaze: Array, eyes: Array) -> Array:
        """Both eyes look one way: the mean, in which the more open eye has more say."""
        weight = np.minimum(eyes, 1.0) + 1e-3
        shift: Array = np.tile(weight @ (gaze - self._gaze) / weight.sum(), (2, 1))
        return shift


def _gains(calibration: Calibration) -> Array:
    """(478, 3) how much the opening of this driver's mouth is enlarged, so that its widest is a wide one."""
    gain = np.clip(MOUTH_OPEN / calibration.mouth_open, *MOUTH_GAINS) if calibration.mouth_open > 0.0 else 1.0
    gains: Array = 1.0 + canonical.LOWER_FACE[:, None] * [0.0, gain - 1.0, gain - 1.0]
    return gains
