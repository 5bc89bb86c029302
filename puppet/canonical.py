"""MediaPipe's canonical face: its points in space, its triangles, its mirror, and soft masks of its parts.

`assets/face_mesh.npz` holds the canonical mesh (vertices, triangles) of the FaceLandmarker bundle's
`geometry_pipeline_metadata_landmarks.binarypb`, taken out once so that nothing here needs MediaPipe.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from puppet import facemesh
from puppet.smoothing import smoothstep
from puppet.types import LANDMARK_COUNT

Array = NDArray[np.float64]

MESH_COUNT: Final = 468  # the mesh proper; the ten points of the irises come after

# Picture axes (x right, y down, z away) <-> the canonical model's (x right, y up, z to the viewer).
FLIP: Final[Array] = np.diag([1.0, -1.0, -1.0])

with np.load(Path(__file__).parent / "assets" / "face_mesh.npz", allow_pickle=False) as _file:
    VERTICES: Final[Array] = _file["vertices"].astype(np.float64) @ FLIP  # (468, 3) cm, picture axes
    TRIANGLES: Final[NDArray[np.int64]] = _file["triangles"].astype(np.int64)  # (898, 3), eyes and mouth filled


def _mirror() -> NDArray[np.int64]:
    distance = np.linalg.norm(VERTICES[:, None] * [-1.0, 1.0, 1.0] - VERTICES, axis=2)
    mesh = distance.argmin(axis=1)
    left, right = facemesh.IRIS
    swapped = [0, 3, 2, 1, 4]  # centre, right, top, left, bottom of the rim
    return np.concatenate([mesh, np.take(right, swapped), np.take(left, swapped)])


MIRROR: Final[NDArray[np.int64]] = _mirror()  # (478,) the landmark at the other side of the face


def _masks() -> tuple[Array, Array, Array]:
    x, y, _ = VERTICES.T
    nose_base, mouth, brow_edge = (y[list(part)].mean() for part in ((facemesh.NOSE_BASE,), _MOUTH, facemesh.BROW[0]))
    masks = np.zeros((3, LANDMARK_COUNT))
    masks[0, :MESH_COUNT] = smoothstep((y - nose_base + 2.0) / 2.8)
    masks[1, :MESH_COUNT] = smoothstep((brow_edge + 1.2 - y) / 1.2)
    masks[2, :MESH_COUNT] = smoothstep((y - mouth + 0.5) / 1.5) * (1.0 - np.square(x / np.abs(x).max()))
    return masks[0], masks[1], masks[2]


_MOUTH = (facemesh.LIP_INNER_UPPER[0], facemesh.LIP_INNER_UPPER[-1])

# (478,) 0..1: what mouth and jaw carry along, fading out over the cheeks; brows and forehead, fading to the lids;
# and how far the jaw moves the skin below the mouth when it drops.
LOWER_FACE, UPPER_FACE, JAW = _masks()


def _spread() -> Array:
    """(478, 478) row-stochastic: lets skin share the motion of its neighbours in the mesh."""
    touching = np.zeros((LANDMARK_COUNT, LANDMARK_COUNT))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        touching[TRIANGLES[:, a], TRIANGLES[:, b]] = touching[TRIANGLES[:, b], TRIANGLES[:, a]] = 1.0
    own = np.diag((touching.sum(axis=1) == 0.0).astype(np.float64))  # the irises are not in the mesh
    once = 0.5 * np.eye(LANDMARK_COUNT) + 0.5 * (touching + own) / (touching + own).sum(axis=1, keepdims=True)
    once[_EXACT] = np.eye(LANDMARK_COUNT)[_EXACT]
    spread: Array = np.linalg.matrix_power(once, 3)
    return spread


_LIPS = facemesh.LIP_ROWS_UPPER + facemesh.LIP_ROWS_LOWER + facemesh.LIP_CORNERS
_EXACT = np.concatenate(facemesh.LID_UPPER + facemesh.LID_LOWER + _LIPS).astype(np.int64)
SPREAD: Final[Array] = _spread()
