"""Finding a face's rest among its first frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from puppet import canonical, facemesh
from puppet.expression import LEAST_RANGE, SHUT_GAP, eye_gaps, mouth_gap, to_frontal
from puppet.headpose import (
    STABLE,
    fit_similarity,
    frontal_rotation,
    head_size,
    rotation_vector,
    to_picture,
    to_space,
)
from puppet.types import Calibration, Landmarks, PuppetError

Array = NDArray[np.float64]

NEAR: Final = 0.03  # head units rms between a frame and the most neutral one that count as the same rest
# What each departure from rest costs: mouth gap per mouth width, missing lid gap per eye width,
# radians away from the viewer, head units moved per frame.
COSTS: Final = np.array([3.0, 4.0, 0.7, 2.0])
JAW_SHARE: Final = 0.85  # of the mouth's gap that the lower lip closes
MID_COLUMNS: Final = slice(3, 6)  # of the lips


class CalibrationError(PuppetError, ValueError):
    """The frames do not show what a calibration needs."""


def neutral_of(landmarks: Sequence[Landmarks]) -> Calibration:
    """The rest of a face out of its first second: mouth closed, eyes open, frontal, little motion.

    The most neutral frame gives place and pose; the points are the median over the frames like it.
    """
    if not landmarks:
        raise CalibrationError("No face was seen to take the rest from: show a face, looking at the camera.")
    frontals = [to_frontal(face) for face in landmarks]
    gaps = np.array([eye_gaps(frontal) for frontal in frontals])
    best = int(_departures(landmarks, frontals, gaps).argmin())
    anchor = to_space(landmarks[best])
    size = head_size(anchor)
    laid = np.array([_lay(face, anchor) for face in landmarks])
    distance = np.sqrt(np.square(laid - anchor).sum(axis=2).mean(axis=1)) / size
    near = distance < NEAR
    blendshapes = np.array([face.blendshapes for face in landmarks])
    points = _mouth_shut(np.median(laid[near], axis=0), frontal_rotation(landmarks[best]))
    neutral = replace(
        landmarks[best],
        points=to_picture(points, landmarks[best]).astype(np.float32),
        blendshapes=np.median(blendshapes[near], axis=0).astype(np.float32),
    )
    return Calibration(
        neutral=neutral,
        eye_closed=np.full(2, SHUT_GAP, np.float32),
        eye_open=eye_gaps(to_frontal(neutral)).astype(np.float32),
    )


def with_ranges_of(measured: Calibration, calibration: Calibration) -> Calibration:
    """A newly taken rest with the ranges that were measured before, of the same face."""
    closed = np.minimum(measured.eye_closed, calibration.eye_open - LEAST_RANGE)
    return replace(calibration, eye_closed=closed.astype(np.float32), mouth_open=measured.mouth_open)


def _mouth_shut(points: Array, rotation: Array) -> Array:
    """The same face with its lips together: a driver who starts in mid-word has still a closed mouth as rest."""
    upper, lower = np.array(facemesh.LIP_ROWS_UPPER), np.array(facemesh.LIP_ROWS_LOWER)
    frontal = points @ rotation
    gap = np.maximum(frontal[lower[0], 1] - frontal[upper[-1], 1], 0.0)
    rise = canonical.JAW * gap[MID_COLUMNS].mean()
    rise[lower] = gap
    rise *= JAW_SHARE
    rise[upper] = (JAW_SHARE - 1.0) * gap
    shut: Array = points - rise[:, None] * rotation[:, 1]
    return shut


def _lay(face: Landmarks, anchor: Array) -> Array:
    points = to_space(face)
    return fit_similarity(points[STABLE], anchor[STABLE])(points)


def _departures(landmarks: Sequence[Landmarks], frontals: Sequence[Array], gaps: Array) -> Array:
    """(N,) how far each frame is from a face at rest."""
    mouths = [mouth_gap(frontal) for frontal in frontals]
    eyes = np.maximum(np.percentile(gaps, 80, axis=0) - gaps, 0.0).mean(axis=1)
    turns = [np.linalg.norm(rotation_vector(frontal_rotation(face))) for face in landmarks]
    stable = np.array([face.points[STABLE] / head_size(face.points) for face in landmarks])
    # The first frame is measured against the second: it has none before it.
    moved = np.linalg.norm(np.diff(stable, axis=0, prepend=stable[:2][-1:]), axis=2).mean(axis=1)
    departures: Array = COSTS @ np.array([mouths, eyes, turns, moved])
    return departures
