"""The proportions in which faces differ: how far the same expression moves the points of this one."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from puppet import canonical, facemesh
from puppet.headpose import head_size

Array = NDArray[np.float64]

EYE_CORNERS: Final = np.array([[lids[0], lids[-1]] for lids in facemesh.LID_UPPER])  # (2, 2) left, right
LEAST, MOST = 0.7, 1.4  # beyond it is a painter's hand or a tracker's error, not a face
OPEN_DAMPS: Final = 2.0  # a mouth that is open at rest has less way to go: travel / (1 + this * gap / width)


def _lengths(frontal: Array) -> Array:
    """Mouth width, height from eyes to nose base, brow above eye, in head units; `frontal` is (N, 3)."""
    brows = frontal[list(facemesh.BROW[0] + facemesh.BROW[1])].mean(axis=0)
    eyes = frontal[EYE_CORNERS.ravel()].mean(axis=0)
    height = frontal[facemesh.NOSE_BASE] - eyes
    lengths: Array = np.array([_mouth_width(frontal), height[1], eyes[1] - brows[1]]) / head_size(frontal)
    return lengths


def _mouth_width(frontal: Array) -> float:
    left, right = frontal[[facemesh.LIP_OUTER_UPPER[0], facemesh.LIP_OUTER_UPPER[-1]]]
    return float(np.hypot(*(right - left)[:2]))


_CANONICAL: Final = _lengths(canonical.VERTICES)


def travel(frontal: Array) -> Array:
    """(478, 3) how much farther than the canonical face's each point of this (N, 3) face in frontal axes travels."""
    mouth, height, brow = np.clip(_lengths(frontal) / _CANONICAL, LEAST, MOST)
    mouth = np.sqrt(mouth)  # half of it is a smile rather than a wide mouth
    gap = frontal[facemesh.LIP_ROWS_LOWER[0], 1] - frontal[facemesh.LIP_ROWS_UPPER[-1], 1]
    opening = np.sqrt(mouth * height) / (1.0 + OPEN_DAMPS * max(float(gap.mean()), 0.0) / _mouth_width(frontal))
    lower = np.array([mouth, opening, opening]) - 1.0
    upper = np.array([1.0, brow, 1.0]) - 1.0
    scale: Array = 1.0 + canonical.LOWER_FACE[:, None] * lower + canonical.UPPER_FACE[:, None] * upper
    return scale
