"""A face where the detector sees none: the canonical mesh, laid through five points that a person has placed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from puppet import canonical, facemesh
from puppet.faces import CLOSE_UP, View, close_up, focal_px, softened, treatments
from puppet.headpose import rotation_matrix
from puppet.tracking import FaceDetector, face_width_px
from puppet.types import BLENDSHAPE_COUNT, LANDMARK_COUNT, Image, Landmarks, PuppetError

Array = NDArray[np.float64]

COUNT: Final = 5  # the eyes, the tip of the nose, the corners of the mouth; left before right, as in the picture
# How exactly they are placed, with what faces differ by; and how far heads are tilted down, give or take, and turned:
# the mean of 14 photographs and paintings, whose points are then met within 2.5 % of the face's width, 4 % if each
# marker is misplaced by 2 %.
PLACED_CM: Final = 0.6
USUAL_TILT, TILT, TURN = np.radians([8.0, 5.0, 30.0])
MOST_TILT, MOST_TURN = np.radians(30.0), np.radians(60.0)
IRIS_CM: Final = 0.59  # radius
LEAST_PX: Final = 8.0  # between the eyes
LEAST_SPREAD: Final = 0.15  # of the lengths that the points span: less is a line, of which no face can be made
LOW_CONFIDENCE: Final = 0.1  # of the detector: where the face is, is known
AGREEMENT: Final = 0.08  # face widths that what the detector sees there may lie apart from the five points


class MarkersError(PuppetError, ValueError):
    """No face can go through these five points."""


def face_at(image: Image, markers: Sequence[tuple[float, float]]) -> Landmarks:
    """The face at five `markers` (px) of an (H, W, 3) uint8 RGB picture: eyes, tip of the nose, corners of the mouth.

    The detector's, where it agrees when it is shown that very place; otherwise `fitted`'s. Raises MarkersError.
    """
    face = fitted(markers, width_px=image.shape[1], height_px=image.shape[0])
    return _seen(image, face) or face


def fitted(markers: Sequence[tuple[float, float]], *, width_px: int, height_px: int) -> Landmarks:
    """The canonical face, turned, scaled and bent to go through the `markers` (px), with a face at rest's blendshapes.

    A similarity and a turn of the head first (weak perspective), then a thin-plate spline (Bookstein 1989) for what
    is left. Raises MarkersError.
    """
    placed = np.asarray(markers, np.float64)
    _check(placed)
    rotation, scale = _attitude(placed)
    posed = scale * _FACE @ rotation.T
    origin = placed.mean(axis=0) - _five(posed).mean(axis=0)[:2]  # where the canonical model's is seen
    posed += np.append(origin, -posed[: canonical.MESH_COUNT, 2].mean())
    points = np.hstack([_bent(_five(posed)[:, :2], placed, posed[:, :2]), posed[:, 2:]])
    pose = np.eye(4)
    pose[:3, :3] = canonical.FLIP @ rotation @ canonical.FLIP
    x_px, y_px = origin - (width_px / 2, height_px / 2)
    pose[:3, 3] = np.array([x_px, -y_px, -focal_px(height_px)]) / scale
    rest = np.zeros(BLENDSHAPE_COUNT, np.float32)
    return Landmarks(points.astype(np.float32), rest, pose.astype(np.float32), width_px, height_px)


def markers_of(face: Landmarks) -> list[tuple[float, float]]:
    """Where the five points of a face are, px of its picture."""
    return [(float(x), float(y)) for x, y in _five(face.points.astype(np.float64))[:, :2]]


def suggestion(width_px: int, height_px: int) -> list[tuple[float, float]]:
    """Five points to start from, px: a face in the upper middle of the picture."""
    side = 0.35 * min(width_px, height_px)
    shape = (_five(_FACE)[:, :2] - _five(_FACE)[:, :2].mean(axis=0)) / np.ptp(_FACE[:, 0])
    return [(width_px / 2 + side * float(x), 0.42 * height_px + side * float(y)) for x, y in shape]


def _whole_face() -> Array:
    """(478, 3) cm, picture axes: the canonical face with irises, which look straight ahead."""
    rim = IRIS_CM * np.array([[0, 0, 0], [1, 0, 0], [0, -1, 0], [-1, 0, 0], [0, 1, 0]], np.float64)
    face = np.zeros((LANDMARK_COUNT, 3))
    face[: canonical.MESH_COUNT] = canonical.VERTICES
    for iris, lids in zip(facemesh.IRIS, facemesh.LID_UPPER, strict=True):
        face[list(iris)] = face[[lids[0], lids[-1]]].mean(axis=0) + rim
    return face


_FACE: Final[Array] = _whole_face()
_PAIRS: Final = [[lids[0], lids[-1]] for lids in facemesh.LID_UPPER]
_SINGLES: Final = [facemesh.NOSE_TIP, facemesh.LIP_OUTER_UPPER[0], facemesh.LIP_OUTER_UPPER[-1]]


def _five(points: Array) -> Array:
    """(5, D) the marked places of (478, D) points; an eye is in the middle of its corners."""
    return np.concatenate([points[_PAIRS].mean(axis=1), points[_SINGLES]])


def _check(placed: Array) -> None:
    if placed.shape != (COUNT, 2) or not np.isfinite(placed).all():
        raise MarkersError(f"A face needs {COUNT} points: the eyes, the tip of the nose and the corners of the mouth.")
    eyes_px = float(np.linalg.norm(placed[1] - placed[0]))
    spread = np.linalg.svd(placed - placed.mean(axis=0), compute_uv=False)
    if eyes_px < LEAST_PX or spread[1] < LEAST_SPREAD * spread[0]:
        raise MarkersError("The five points lie too near to each other or on one line; put each on its place.")
    across, down = placed[1] - placed[0], placed[3:].mean(axis=0) - placed[:2].mean(axis=0)
    if across[0] * down[1] - across[1] * down[0] <= 0 or np.dot(placed[4] - placed[3], across) <= 0:
        raise MarkersError("The five points are mixed up; keep left and right as in the picture, and the mouth below.")


def _attitude(placed: Array) -> tuple[Array, float]:
    """(3, 3) rotation in picture axes and px per cm: the likeliest ones that show the canonical five at `placed`.

    For each tilt and turn on a grid of 1 degree, roll, scale and shift are one complex regression.
    """
    tilts, turns = np.meshgrid(_degrees(MOST_TILT), _degrees(MOST_TURN), indexing="ij")
    x, y, z = _five(_FACE - _five(_FACE).mean(axis=0)).T[:, :, None, None]
    turned_z = z * np.cos(turns) - x * np.sin(turns)
    model = x * np.cos(turns) + z * np.sin(turns) + 1j * (y * np.cos(tilts) - turned_z * np.sin(tilts))  # (5, A, B)
    goal = (placed - placed.mean(axis=0)) @ [1, 1j]
    factor = np.tensordot(goal, model.conj(), 1) / np.square(np.abs(model)).sum(axis=0)  # scale * exp(i * roll)
    left = np.square(np.abs(goal[:, None, None] - factor * model)).sum(axis=0) / np.square(np.abs(factor) * PLACED_CM)
    cost = left + np.square((tilts - USUAL_TILT) / TILT) + np.square(turns / TURN)
    best = np.unravel_index(int(cost.argmin()), cost.shape)
    tilt, turn, roll = tilts[best], turns[best], np.angle(factor[best])
    rotation = rotation_matrix(np.array([0, 0, roll])) @ rotation_matrix(np.array([tilt, 0, 0]))
    return rotation @ rotation_matrix(np.array([0, turn, 0])), float(np.abs(factor[best]))


def _degrees(most: float) -> Array:
    return np.radians(np.arange(-round(np.degrees(most)), round(np.degrees(most)) + 1))


def _bent(source: Array, target: Array, points: Array) -> Array:
    """(N, 2) `points` moved by the thin-plate spline that takes `source` to `target`, (M, 2) each."""
    unit = float(np.ptp(source))  # the kernel's size matters to the numbers' accuracy, not to the spline
    knots, places = source / unit, points / unit
    affine, count = np.column_stack([np.ones(len(knots)), knots]), len(knots)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count], system[:count, count:], system[count:, :count] = _plate(knots, knots), affine, affine.T
    weights = np.linalg.solve(system, np.vstack([target - source, np.zeros((3, 2))]))
    shift: Array = np.column_stack([_plate(places, knots), np.ones(len(places)), places]) @ weights
    return points + shift


def _plate(a: Array, b: Array) -> Array:
    squared = np.square(a[:, None] - b[None]).sum(axis=-1)
    kernel: Array = squared * np.log(squared + 1e-12)
    return kernel


def _seen(image: Image, face: Landmarks) -> Landmarks | None:
    """What the detector sees where `face` was fitted, if that is the same face."""
    expected = _five(face.points.astype(np.float64))[:, :2]
    across = expected[1] - expected[0]
    upright_deg = float(np.degrees(np.arctan2(across[1], across[0])))
    middle = face.points[:, :2].mean(axis=0)
    side_px = CLOSE_UP * face_width_px(face)
    with FaceDetector(confidence=LOW_CONFIDENCE) as detector:
        for treated in treatments(image):
            view = View.square(
                softened(treated, side_px), (float(middle[0]), float(middle[1])), side_px, angle_deg=upright_deg
            )
            for found in detector(view.image):
                if _agrees(view.in_picture(found), expected):
                    settled = close_up(image, treated, view.in_picture(found), angle_deg=upright_deg)
                    return settled if _agrees(settled, expected) else None
    return None


def _agrees(face: Landmarks, expected: Array) -> bool:
    apart_px = np.linalg.norm(_five(face.points.astype(np.float64))[:, :2] - expected, axis=1)
    return bool(apart_px.mean() < AGREEMENT * face_width_px(face))
