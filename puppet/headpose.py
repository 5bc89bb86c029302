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

FIELD_OF_VIEW: Final = np.radians(63.0)  # vertical, of the camera that FaceLandmarker supposes
# Faces are seen through longer lenses than that. Half as far again keeps yaw, pitch and roll of a re-tracked puppet
# together closest to the driver's (r 0.98, 0.87, 0.92; at 1: 0.97, 0.84, 0.95; without perspective: 0.97, 0.89, 0.83).
FARTHER: Final = 1.5
NEAREST: Final = 0.2  # of the face's distance: no point comes nearer to the camera


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


def fit_similarity(
    source: Array, target: Array, *, rotation: Array | None = None, weights: Array | None = None
) -> Similarity:
    """The similarity that lays (N, D) `source` over `target` with least squares (Umeyama 1991, eq. 40-42).

    A `rotation` that is known otherwise is taken as it is; scale and shift are then the best for it. (N,) `weights`
    say how much each point counts.
    """
    shares = np.full(len(source), 1 / len(source)) if weights is None else weights / weights.sum()
    source_mean, target_mean = shares @ source, shares @ target
    source, target = source - source_mean, target - target_mean
    counted = shares[:, None] * target
    if rotation is None:
        left, _, right = np.linalg.svd(counted.T @ source)
        signs = np.ones(len(left))
        signs[-1] = np.sign(np.linalg.det(left) * np.linalg.det(right)) or 1.0
        rotation = (left * signs) @ right
    scale = float(np.sum(counted * (source @ rotation.T)) / (shares @ np.square(source)).sum())
    return Similarity(scale, rotation, target_mean - scale * rotation @ source_mean)


def frontal_rotation(landmarks: Landmarks) -> Array:
    """(3, 3) rotation from frontal axes to the picture's, out of the head's 4x4 pose."""
    left, _, right = np.linalg.svd(landmarks.pose[:3, :3].astype(np.float64))
    rotation: Array = canonical.FLIP @ left @ right @ canonical.FLIP
    return rotation


def distance_px(landmarks: Landmarks) -> float:
    """Distance of the face from the camera, in px of its picture: the focal length, since the face's plane is 1:1."""
    return float(FARTHER * landmarks.height_px / (2.0 * np.tan(FIELD_OF_VIEW / 2.0)))


def to_space(landmarks: Landmarks) -> Array:
    """(478, 3) points in space, px at the face's distance, from where the camera's axis meets the face's plane.

    That plane is at the mean depth of the mesh; how far away it lies shows in the size of the face alone. Here, and
    not in the picture, a turn of the head is about the one that its 4x4 pose reports, since MediaPipe's face geometry
    module takes the picture for a perspective one.
    """
    points = landmarks.points.astype(np.float64)
    deep = _depth(points)
    centred = points[:, :2] - _centre_px(landmarks)
    return np.hstack([centred * (1.0 + deep / distance_px(landmarks)), deep])


def to_picture(points: Array, landmarks: Landmarks) -> Array:
    """Undo `to_space`: (478, 3) `points` in space as the camera of `landmarks` sees them, z as it was there."""
    near = np.maximum(1.0 + _depth(points) / distance_px(landmarks), NEAREST)
    flat = points[:, :2] / near + _centre_px(landmarks)
    return np.hstack([flat, points[:, 2:] + landmarks.points[: canonical.MESH_COUNT, 2].mean()])


def _depth(points: Array) -> Array:
    """(478, 1) behind the face's plane."""
    depth: Array = points[:, 2:] - points[: canonical.MESH_COUNT, 2].mean()
    return depth


def _centre_px(landmarks: Landmarks) -> Array:
    return np.array([landmarks.width_px, landmarks.height_px]) / 2.0


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
