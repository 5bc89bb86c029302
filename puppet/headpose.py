"""The head as a rigid body: its size, its rotation, and the similarity that lays one face over another."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from puppet import canonical, facemesh
from puppet.types import Floats, Landmarks

Array = NDArray[np.float64]

STABLE: Final = np.array(facemesh.STABLE)


def head_size(points: Array | Floats) -> float:
    """The head unit: root-mean-square distance of the stable points of (478, 3) `points` from their mean."""
    stable = np.asarray(points, np.float64)[STABLE]
    return float(np.sqrt(np.square(stable - stable.mean(axis=0)).sum(axis=1).mean()))


# Where a head turns: the joint of skull and neck, between the ears and 5 cm behind the cheekbones' edge;
# (3,) in head units from the mean of the stable points, frontal axes.
_JOINT_CM: Final = np.array([0.0, 1.0, 5.0])
PIVOT: Final[Array] = (_JOINT_CM - canonical.VERTICES[STABLE].mean(axis=0)) / head_size(canonical.VERTICES)


class Similarity(NamedTuple):
    """x -> scale * rotation @ x + shift."""

    scale: float
    rotation: Array  # (D, D)
    shift: Array  # (D,)

    def __call__(self, points: Array) -> Array:
        """Map (N, D) points."""
        mapped: Array = self.scale * points @ self.rotation.T + self.shift
        return mapped

    def undo(self, points: Array) -> Array:
        """Map (N, D) points back."""
        mapped: Array = (points - self.shift) @ self.rotation / self.scale
        return mapped


def fit_similarity(source: Array, target: Array, *, rotation: Array | None = None) -> Similarity:
    """The similarity that lays (N, D) `source` over `target` with least squares (Umeyama 1991, eq. 40-42).

    A `rotation` that is known otherwise is taken as it is; scale and shift are then the best for it.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    source, target = source - source_mean, target - target_mean
    if rotation is None:
        left, _, right = np.linalg.svd(target.T @ source)
        signs = np.ones(len(left))
        signs[-1] = np.sign(np.linalg.det(left) * np.linalg.det(right)) or 1.0
        rotation = (left * signs) @ right
    scale = float(np.sum(target * (source @ rotation.T)) / np.square(source).sum())
    return Similarity(scale, rotation, target_mean - scale * rotation @ source_mean)


def frontal_rotation(landmarks: Landmarks) -> Array:
    """(3, 3) rotation from frontal axes to the picture's, out of the head's 4x4 pose."""
    left, _, right = np.linalg.svd(landmarks.pose[:3, :3].astype(np.float64))
    rotation: Array = canonical.FLIP @ left @ right @ canonical.FLIP
    return rotation


def rotation_vector(rotation: Array) -> Array:
    """Axis times angle in radians, (3,), of a (3, 3) rotation of less than half a turn."""
    axis = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    sine, cosine = np.linalg.norm(axis) / 2.0, (np.trace(rotation) - 1.0) / 2.0
    return axis / 2.0 if sine < 1e-9 else axis * (np.arctan2(sine, cosine) / (2.0 * sine))


def rotation_matrix(vector: Array) -> Array:
    """The (3, 3) rotation of an axis times angle (Rodrigues); exactly the identity for zero."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    rotation: Array = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    return rotation
