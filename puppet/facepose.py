"""The canonical face's 4x4 pose from its landmarks, as MediaPipe's face geometry module finds it.

(mediapipe/modules/face_geometry: the landmarks are taken for a perspective picture whose camera looks along -z, with
its near plane at 1 cm; how far they lie behind it follows from fitting the canonical face twice.)
"""

from __future__ import annotations

from typing import Final

import numpy as np

from puppet import canonical
from puppet.headpose import FIELD_OF_VIEW, Array, Similarity, fit_similarity
from puppet.types import Floats

# How much the fit goes by each landmark (`procrustes_landmark_basis` of the module's metadata): those in the middle of
# the face, and those to the picture's left, which count as much as their mirror images.
_MIDDLE: Final = {4: 0.070909940, 6: 0.032100145, 10: 0.008446551}
_SIDE: Final = {
    33: 0.058724169, 54: 0.007667080, 67: 0.009078059, 117: 0.009791938, 119: 0.014565368, 121: 0.018591361,
    127: 0.005197994, 129: 0.120625205, 132: 0.005560019, 133: 0.053286184, 136: 0.066890456, 143: 0.014816548,
    147: 0.014262834, 198: 0.025462192, 205: 0.047252279,
}  # fmt: skip
_FITTED: Final = np.array([*_MIDDLE, *_SIDE, *canonical.MIRROR[list(_SIDE)]])
_WEIGHTS: Final = np.array([*_MIDDLE.values(), *_SIDE.values(), *_SIDE.values()])
_CANONICAL: Final[Array] = (canonical.VERTICES @ canonical.FLIP)[_FITTED]  # cm; x right, y up, z to the viewer


def face_pose(points: Floats, *, width_px: int, height_px: int) -> Floats:
    """(4, 4) float32, canonical face (cm; x right, y up, z to the viewer) -> camera, of (478, 3) `points` in px."""
    unit = 2.0 * np.tan(FIELD_OF_VIEW / 2.0) / height_px  # cm of the near plane a px
    mesh = points[: canonical.MESH_COUNT].astype(np.float64)
    flat = (mesh[_FITTED, :2] - [width_px / 2.0, height_px / 2.0]) * [unit, -unit]
    deep = mesh[:, 2] * unit
    behind = deep[_FITTED] - deep.mean() + 1.0
    first = _fit(np.column_stack([flat, -deep[_FITTED]])).scale
    second = _fit(_in_space(flat, behind / first)).scale
    found = _fit(_in_space(flat, behind / (first * second)))
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3], pose[:3, 3] = found.scale * found.rotation, found.shift
    return pose


def _in_space(flat: Array, distance: Array) -> Array:
    """Points of the near plane, moved along their rays to (N,) `distance` from the camera."""
    return np.column_stack([flat * distance[:, None], -distance])


def _fit(points: Array) -> Similarity:
    return fit_similarity(_CANONICAL, points, weights=_WEIGHTS)
