"""From landmark displacements to a dense backward flow: where in the portrait each output pixel comes from.

The forward displacement of the head is a thin-plate spline (Bookstein 1989) through control points: landmarks of the
face, a shell of points around the head that turns with it as a rigid body, and the shoulders, which follow a little.
A spline is linear in the displacements of its control points, so everything but one matrix product is done once per
portrait. Lids and lips slide over what lies behind them, which no smooth flow can do: they are left out here and
drawn by `engines.eyes` and `engines.mouth` relative to where this flow carries them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.response import head_change, silhouette_depth
from puppet import facemesh
from puppet.headpose import fit_similarity
from puppet.types import Floats

GRID = 64  # nodes along each side of the region
NEAR = 6  # nodes around the face, where the spline bends sharply, too
REGION_FACES = 3.4  # side of the region that moves, in face sizes
SMOOTHNESS = 2e-4  # of the spline: landmarks are noisy by a fraction of a pixel
# Newton's steps: the share of the displacement that each solves for. Where the flow stretches hard, each starts near
# the last one's answer.
NEWTON_GENTLE, NEWTON_STEEP = (1.0, 1.0, 1.0), (0.3, 0.6, 0.85, 1.0, 1.0, 1.0)
STEEP = 0.35  # slope of the displacement
LEAST_AREA = 0.2  # to which the flow may shrink a patch of the picture
UNFOLDING_PASSES = 16
SHELL_ANGLES = 24
SHELL_RADII = (1.1, 1.35, 1.8)  # of the face's oval: scalp, hair, what lies beyond
SHOULDERS_FOLLOW = 0.5  # share of the head's shift

_INSIDE_LIPS = (
    76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306, 77, 90, 180, 85, 16, 315, 404, 320, 307,
    62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292, 96, 89, 179, 86, 15, 316, 403, 319, 325,
    *facemesh.LIP_INNER_UPPER, *facemesh.LIP_INNER_LOWER,
)  # fmt: skip
_LIDS = {i for curves in (facemesh.LID_UPPER, facemesh.LID_LOWER) for curve in curves for i in curve[1:-1]} | {
    i for curve in facemesh.LID_SKIN_UPPER for i in curve
}
FACE_CONTROLS = np.array(sorted(set(range(468)) - set(_INSIDE_LIPS) - _LIDS))
# How much of the skull's own motion a control takes instead of its landmark's: the tracker lets the forehead's follow
# the brows, and hair that hangs on them would bob.
_SKULL_SHARE = (0.7 * np.isin(FACE_CONTROLS, facemesh.FOREHEAD))[:, None]

_NODES = np.stack(np.meshgrid(np.arange(GRID), np.arange(GRID)), axis=-1).astype(np.float32)


def _between() -> Floats:
    """(GRID, F) by which values at _FAR give those at all nodes: cubics through the four around (Lagrange)."""
    weights = np.zeros((GRID, len(_FAR)))
    for node in range(GRID):
        first = int(np.clip(node // 2 - 1, 0, len(_FAR) - 4))
        four = _FAR[first : first + 4]
        for own, place in enumerate(four):
            others = np.delete(four, own)
            weights[node, first + own] = np.prod((node - others) / (place - others))
    return weights.astype(np.float32)


_FAR = np.append(np.arange(0, GRID, 2), GRID - 1)
_BETWEEN = _between()
_NO_SECOND_MAP = np.empty((0, 0), np.float32)


def face_size(points: Floats) -> float:
    """Mean of the width and height of the face's oval, px, in the picture plane."""
    oval = points[list(facemesh.OVAL), :2]
    return float(np.ptp(oval, axis=0).mean())


def facing_of(points: Floats) -> Floats:
    """(478,) -1..1: how much of the surface at each landmark faces the camera, as if the head were a ball."""
    outward = points - (points[list(facemesh.OVAL)].mean(axis=0) + (0, 0, 0.25 * face_size(points)))
    return np.asarray(-outward[:, 2] / np.linalg.norm(outward, axis=1), np.float32)


@dataclass(frozen=True, slots=True)
class Controls:
    """The control points of one portrait. They are cheap: made from its landmarks and its size alone."""

    points: Floats  # (N, 2) px: face, then shell, then shoulders
    noise: Floats  # (N,) how little to trust each: points that the head itself hides lie anywhere
    shell: Floats  # (S, 3) px: with depth
    shell_weight: Floats  # (S, 1): 1 turns with the head, 0 stays
    shoulder_weight: Floats  # (B, 2): share of the head's shift along x and y
    response: Floats | None = None  # (S + B, CHANGES, 2) px: how much further shell and shoulders go, if that is known

    @property
    def around(self) -> Floats:
        """(S + B, 2) px: shell and shoulders."""
        return self.points[len(FACE_CONTROLS) :]


def controls_of(points: Floats, *, bottom_px: float) -> Controls:
    """Place the control points for landmarks (478, 3); `bottom_px` is the y of the picture's lower edge."""
    size = face_size(points)
    oval = points[list(facemesh.OVAL)]
    centre = oval.mean(axis=0)
    up = points[10, :2] - points[facemesh.CHIN, :2]
    up = up / np.linalg.norm(up)
    right = np.array([-up[1], up[0]])
    along, above = (oval[:, :2] - centre[:2]) @ right, (oval[:, :2] - centre[:2]) @ up
    half_width, half_height = np.abs(along).max(), np.abs(above).max()
    depth = silhouette_depth(points)  # so that turning the head hardly shifts it
    angle = np.linspace(0, 2 * np.pi, SHELL_ANGLES, endpoint=False)
    shell, weight = [], []
    for radius in SHELL_RADII:
        x, y = np.cos(angle) * half_width * radius, np.sin(angle) * half_height * radius
        xy = centre[:2] + x[:, None] * right + y[:, None] * up
        below = np.clip((-y / half_height - 0.75) / 0.75, 0, 1)  # the neck's share: 0 at the jaw, 1 at the collar
        keep = below < 0.999
        shell.append(np.column_stack([xy, np.full(len(xy), depth)])[keep])
        weight.append((1 - below)[keep])
    chin = points[facemesh.CHIN, :2]
    shoulders, follow = [], []
    for down in (0.75, 1.25, 2.0):
        for across in np.linspace(-1.6, 1.6, 7):
            xy = chin - up * down * size + right * across * size
            shoulders.append(xy)
            stay = np.clip((bottom_px - xy[1]) / (1.0 * size), 0, 1)  # the picture's lower edge must not lift
            follow.append((SHOULDERS_FOLLOW * (1.4 - 0.4 * down), SHOULDERS_FOLLOW * stay))
    shell_points = np.concatenate(shell).astype(np.float32)
    shell_weight = np.concatenate(weight)
    apart = np.linalg.norm(shell_points[:, None, :2] - oval[None, :, :2], axis=-1).min(axis=1) > 0.08 * size
    shell_points, shell_weight = shell_points[apart], shell_weight[apart]
    facing = facing_of(points)[FACE_CONTROLS].clip(0, 1)
    noise = SMOOTHNESS * (1 + (np.clip(0.45 - facing, 0, 1) / 0.06) ** 2)
    shoulder_points = np.array(shoulders, np.float32)
    return Controls(
        points=np.concatenate([points[FACE_CONTROLS, :2], shell_points[:, :2], shoulder_points]).astype(np.float32),
        noise=np.concatenate([noise, np.full(len(shell_points) + len(shoulder_points), 10 * SMOOTHNESS)]),
        shell=shell_points,
        shell_weight=shell_weight.astype(np.float32)[:, None],
        shoulder_weight=np.array(follow, np.float32),
    )


def displacements(controls: Controls, source: Floats, target: Floats) -> Floats:
    """(N, 2) px: how far each control point goes when the landmarks go from `source` to `target`, both (478, 3)."""
    skull = list(facemesh.SKULL)
    head = fit_similarity(source[skull].astype(float), target[skull].astype(float))
    head_centre = np.append(source[skull, :2].mean(axis=0), controls.shell[0, 2])
    head_shift = (head(head_centre[None])[0] - head_centre)[:2]
    shell = (head(controls.shell) - controls.shell)[:, :2]
    neck = SHOULDERS_FOLLOW * head_shift
    face, rigid = (goal[FACE_CONTROLS, :2] - source[FACE_CONTROLS, :2] for goal in (target, head(source)))
    around = np.concatenate(
        [controls.shell_weight * shell + (1 - controls.shell_weight) * neck, controls.shoulder_weight * head_shift]
    )
    if controls.response is not None:
        around += np.tensordot(head_change(head, source), controls.response, axes=(0, 1))
    return np.concatenate([face + _SKULL_SHARE * (rigid - face), around]).astype(np.float32)


def region_of(points: Floats, *, width_px: int, height_px: int) -> tuple[slice, slice]:
    """Rows and columns of the part of the picture that can move."""
    half = REGION_FACES / 2 * face_size(points)
    x, y = points[list(facemesh.OVAL), :2].mean(axis=0)
    left, top = max(0, int(x - half)), max(0, int(y - 0.95 * half))
    return np.s_[top : min(height_px, int(y + 1.05 * half)), left : min(width_px, int(x + half))]


def grid_nodes(shape: tuple[int, ...]) -> Floats:
    """(GRID * GRID, 2) px: the nodes in a region of `shape` (h, w, …), where `cv2.resize` has them."""
    x, y = ((np.arange(GRID) + 0.5) * side / GRID - 0.5 for side in (shape[1], shape[0]))
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float32)


def _plate(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    squared = ((a[:, None] - b[None]) ** 2).sum(axis=-1)
    return 0.5 * squared * np.log(squared + 1e-12)


def spline_basis(controls: Floats, at: Floats, *, noise: Floats, unit_px: float) -> Floats:
    """(M, N) float32 B with displacement(at) = B @ displacement(controls), a smoothing thin-plate spline."""
    knots, places = controls.astype(np.float64) / unit_px, at.astype(np.float64) / unit_px
    count = len(knots)
    affine = np.column_stack([np.ones(count), knots])
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _plate(knots, knots) + np.diag(noise)
    system[:count, count:] = affine
    system[count:, :count] = affine.T
    inverse = np.linalg.inv(system)[:, :count]
    rows = np.column_stack([_plate(places, knots), np.ones(len(places)), places])
    return (rows @ inverse).astype(np.float32)


class Spline:
    """`spline_basis` where the face bends it, and elsewhere every second node, between which it is smooth.

    For a basis of all nodes hardly fits a cache, and to read it is most of the work.
    """

    def __init__(self, basis: Floats, points: Floats, shape: tuple[int, ...]) -> None:
        """Of the `basis` (GRID * GRID, N), for landmarks (478, 3) px of a region of `shape` (h, w, …)."""
        nodes = points[:, 1::-1] * (GRID / np.array(shape[:2]))
        low = np.clip(np.floor(nodes.min(axis=0)) - NEAR, 0, GRID).astype(int)
        high = np.clip(np.ceil(nodes.max(axis=0)) + NEAR, low, GRID).astype(int)
        self._near = np.s_[low[0] : high[0], low[1] : high[1]]
        self._size = (*(high - low).tolist(), 2)
        all_nodes = basis.reshape(GRID, GRID, -1)
        near, far = all_nodes[self._near], all_nodes[np.ix_(_FAR, _FAR)]
        self._rows = np.concatenate([part.reshape(-1, basis.shape[1]) for part in (far, near)])

    def __call__(self, shifts: Floats) -> Floats:
        """(GRID, GRID, 2) px: where each node goes when the controls go by `shifts` (N, 2) px."""
        moved = self._rows @ shifts
        count = len(_FAR)
        far, near = moved[: count * count].reshape(count, count, 2), moved[count * count :]
        field: Floats = _BETWEEN @ (_BETWEEN @ far.reshape(count, -1)).reshape(GRID, count, 2)
        field[self._near] = near.reshape(self._size)
        return field


def border_window(region: tuple[slice, slice], shape: tuple[int, ...]) -> Floats:
    """(GRID, GRID, 1): 1 inside, 0 at those edges of the region that are not the edges of the picture of `shape`."""
    ramp = np.clip(np.arange(GRID) / (GRID * 0.12), 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    sides = []
    for part, length in zip(region, shape, strict=False):
        sides.append((ramp if part.start > 0 else 1) * (ramp[::-1] if part.stop < length else np.ones(GRID)))
    return np.outer(*sides).astype(np.float32)[..., None]


def sample(picture: NDArray[Any], at: Floats, *, border: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """`picture` (H, W, C) at the places `at` (h, w, 2) px, bilinear; `border` is OpenCV's rule for beyond the edge."""
    return cv2.remap(picture, at, _NO_SECOND_MAP, cv2.INTER_LINEAR, dst=out, borderMode=border)


def at_points(field: Floats, points: Floats, shape: tuple[int, ...]) -> Floats:
    """(N, 2): what enlarging `field` (GRID, GRID, 2) to a region of `shape` (h, w, …) puts at `points` (N, 2) px."""
    finer = cv2.resize(field, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)  # else sampling would be too coarse
    nodes = (points + np.float32(0.5)) * (np.array(finer.shape[1::-1]) / shape[1::-1]).astype(np.float32) - 0.5
    return np.asarray(sample(finer, nodes[None].astype(np.float32), border=cv2.BORDER_REPLICATE)[0], np.float32)


def unfold(forward: Floats, step_px: tuple[float, float]) -> Floats:
    """Smooth a forward displacement where it would fold the picture over, as when a profile turns to the front.

    (GRID, GRID, 2) px; comes back as it is when nothing folds.
    """
    for _ in range(UNFOLDING_PASSES):
        a, b, c, d = np.moveaxis(_slopes(forward / np.array(step_px, np.float32)), -1, 0)
        tight = (1 + a) * (1 + d) - b * c < LEAST_AREA
        if not tight.any():
            break
        share = cv2.blur(cv2.dilate(tight.astype(np.float32), np.ones((7, 7))), (7, 7))[..., None]
        forward = forward + share * (cv2.blur(forward, (7, 7), borderType=cv2.BORDER_REPLICATE) - forward)
    return forward


def _slopes(cells: Floats) -> Floats:
    """(GRID, GRID, 4): the Jacobian of a displacement in grid cells, row by row."""
    dy, dx = np.gradient(cells, axis=(0, 1))
    return np.stack([dx[..., 0], dy[..., 0], dx[..., 1], dy[..., 1]], axis=-1)


def invert(forward: Floats, step_px: tuple[float, float]) -> Floats:
    """The backward displacement of a forward one on the same grid, (GRID, GRID, 2) px each, by Newton's method.

    `step_px` is the distance of neighbouring nodes. Solves b + D(x + b) = 0 per node; a fixed point would diverge
    where the mouth stretches the face by more than its own height.
    """
    step = np.array(step_px, np.float32)
    cells = np.ascontiguousarray(forward / step, np.float32)
    slopes = _slopes(cells)
    back = np.zeros_like(cells)
    for share in NEWTON_STEEP if np.abs(slopes).max() > STEEP else NEWTON_GENTLE:
        at = _NODES + back
        x, y = cv2.split(back + share * sample(cells, at, border=cv2.BORDER_REPLICATE))
        a, b, c, d = cv2.split(share * sample(slopes, at, border=cv2.BORDER_REPLICATE))
        a, d = a + 1, d + 1
        determinant = np.maximum(a * d - b * c, 0.15)
        back -= np.clip(cv2.merge([(d * x - b * y) / determinant, (a * y - c * x) / determinant]), -4, 4)
    return back * step
