"""A face made of numbers: the canonical mesh, posed and moved by known amounts, as a perfect tracker would see it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from puppet import canonical, facemesh
from puppet.headpose import FARTHER, FIELD_OF_VIEW, rotation_matrix
from puppet.types import BLENDSHAPE_COUNT, Landmarks

PX_PER_CM = 8.8  # at the distance of the face, which is 135 px wide
WIDTH_PX, HEIGHT_PX = 320, 240
CENTRE_PX = np.array([160.0, 120.0])  # of the picture: where the camera's axis meets it, and the model's origin lies
FOCAL_PX = FARTHER * 120.0 / np.tan(FIELD_OF_VIEW / 2.0)


def face(
    *,
    rotation: Sequence[float] = (0.0, 0.0, 0.0),
    shift_px: Sequence[float] = (0.0, 0.0),
    scale: float = 1.0,
    identity: Sequence[float] = (1.0, 1.0, 1.0),
    shut: Sequence[float] = (0.0, 0.0),
    jaw_cm: float = 0.0,
    look: Sequence[float] = (0.0, 0.0),
    time_ns: int = 0,
) -> Landmarks:
    """A pinhole camera's view of a face whose mesh is, on average, FOCAL_PX / (scale * PX_PER_CM) cm away.

    rotation: axis times angle, picture axes; shift_px: of the model's origin, at that distance; shut: 0 open, 1 shut,
    left and right; look: in eye widths.
    """
    points = np.concatenate([canonical.VERTICES, np.zeros((10, 3))])
    for side in (0, 1):
        upper, lower = list(facemesh.LID_UPPER[side]), list(facemesh.LID_LOWER[side])
        width = np.linalg.norm(points[upper[-1]] - points[upper[0]])
        iris = (points[upper[0]] + points[upper[-1]]) / 2.0 + [look[0] * width, look[1] * width, 0.0]
        points[list(facemesh.IRIS[side])] = iris + [[0, 0, 0], [0.6, 0, 0], [0, -0.6, 0], [-0.6, 0, 0], [0, 0.6, 0]]
        points[upper] += shut[side] * (points[lower] - points[upper])
    points[np.ravel(facemesh.LIP_ROWS_LOWER), 1] += jaw_cm
    points[facemesh.CHIN, 1] += jaw_cm
    turn = rotation_matrix(np.asarray(rotation, np.float64))
    placed = (points * identity) @ turn.T
    placed[:, :2] += np.asarray(shift_px) / (PX_PER_CM * scale)
    placed[:, 2] -= placed[: canonical.MESH_COUNT, 2].mean()
    distance_cm = FOCAL_PX / (PX_PER_CM * scale)
    seen = CENTRE_PX + FOCAL_PX * placed[:, :2] / (distance_cm + placed[:, 2:])
    seen = np.hstack([seen, PX_PER_CM * scale * placed[:, 2:]])
    blendshapes = np.zeros(BLENDSHAPE_COUNT, np.float32)
    blendshapes[[10, 9]] = 0.7 * np.asarray(shut)
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3] = canonical.FLIP @ turn @ canonical.FLIP
    return Landmarks(seen.astype(np.float32), blendshapes, pose, WIDTH_PX, HEIGHT_PX, time_ns=time_ns)


def in_space(points: np.ndarray) -> np.ndarray:
    """(478, 3) points of a seen face as they are in space, px at its distance from the camera's axis and its plane."""
    depth = points[:, 2:].astype(np.float64) - points[: canonical.MESH_COUNT, 2].mean()
    return np.hstack([(points[:, :2] - CENTRE_PX) * (FOCAL_PX + depth) / FOCAL_PX, depth])
