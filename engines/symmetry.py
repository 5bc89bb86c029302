"""The far side of a face that looks aside, once it turns to the front: the near side's, mirrored.

Its own few pixels would be drawn out over half of the face, and background with them. Faces are nearly symmetric; where
the picture shows one side well and the other hardly, the one is the better guess at the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import flow
from engines.figure import basis_of, local, mirrored_figure
from puppet import canonical, facemesh
from puppet.smoothing import smoothstep
from puppet.types import Floats, Image, Portrait, PortraitEmbedding

FEW: Final = 8  # landmarks of the far side, for which painting twice does not pay
HIDDEN: Final = (0.45, 0.1)  # how far a place faces the viewer: no mirroring above, nothing else below
NEARER: Final = (0.1, 0.4)  # by how much more its counterpart must do so: no mirroring under it, nothing else beyond
SEEN: Final = (0.1, 0.3)  # how far a place must face the viewer to be mirrored: not at all, fully
TURNED: Final = (0.05, 0.25)  # and by how much more than in the picture
TRUSTED: Final = (0.25, 0.5)  # how far a place must face the viewer for its colour to count: not at all, fully
ALONG: Final = 3.0  # times as far count places above one another as beside one another, where colours are taken from
TONE: Final = 0.06  # of the face's size: shades finer than that are the near side's own
GAIN: Final = 2.5  # that it is made so much brighter or darker at most
BESIDE: Final = 1.2  # of the outline, from its middle, up to which ears and hair come with the face

EDGE: Final = 0.05  # of a share, where its soft edge ends


def _rim() -> NDArray[np.int64]:
    """(N, 2) neighbours in the face's outline, above the mouth: below, neck and collar begin."""
    pairs = np.stack([facemesh.OVAL, np.roll(facemesh.OVAL, -1)], axis=1)
    mouth_cm = canonical.VERTICES[list(facemesh.LIP_INNER_UPPER), 1].mean()
    return pairs[(canonical.VERTICES[pairs, 1] < mouth_cm).all(axis=1)]


_RIM: Final = _rim()


@dataclass(frozen=True, slots=True)
class FarSide:
    """What a portrait hides of its face."""

    hidden: Floats  # (478,) 0..1: how much of each landmark's surroundings to take from the other side
    facing: Floats  # (478,): as in the picture

    @classmethod
    def of(cls, points: Floats) -> FarSide | None:
        """For landmarks (478, 3) of the picture; None where both sides are seen well enough."""
        facing = flow.facing_of(points)
        nearer = facing[canonical.MIRROR] - facing
        hidden = _ramp(facing, HIDDEN) * _ramp(nearer, NEARER)
        return cls(hidden, facing) if hidden[: canonical.MESH_COUNT].sum() > FEW else None

    def shown(self, target: Floats) -> Floats:
        """(478,) 0..1: how much of each landmark's surroundings to mirror now, for landmarks `target` (478, 3)."""
        facing = flow.facing_of(target)
        return np.asarray(self.hidden * _ramp(facing, SEEN) * _ramp(facing - self.facing, TURNED), np.float32)


class Mirrored:
    """The near side of an embedding's portrait, ready to be laid over the far one."""

    def __init__(self, embedding: PortraitEmbedding, far: FarSide) -> None:
        portrait = embedding.portrait
        person = np.zeros((*portrait.image.shape[:2], 4), np.uint8)
        person[local(portrait.landmarks.points, person.shape)[0]] = embedding.tensors["person"]
        person = np.ascontiguousarray(person[:, ::-1])
        points = _mirrored_points(portrait)
        region, here = local(points, person.shape)
        part = person[region]
        part[..., 3] *= _connected(part[..., 3], here)
        brighter = cv2.resize(_drawn(_gains(portrait, far) - 1, here, part.shape), part.shape[1::-1])
        part[..., :3] = np.clip(np.rint(part[..., :3] * (1 + brighter)), 0, 255)
        self.figure = mirrored_figure(embedding, person, points, embedding.tensors["mirrored.basis"])

    def over(self, picture: Image, mirrored: Image, target: Floats, shown: Floats) -> None:
        """Lay the `mirrored` figure (h, w, 3) over `picture` (H, W, 3 or 4) in place, as much as is `shown` (478,).

        Both are painted just now, at landmarks `target` (478, 3) px of the picture.
        """
        under = picture[self.figure.region]
        share = cv2.resize(_drawn(shown[:, None], target - self.figure.origin, under.shape), under.shape[1::-1])
        left, top, width, height = cv2.boundingRect((share > 0).astype(np.uint8))
        box = np.s_[top : top + height, left : left + width]
        under, above = under[box], mirrored[box]
        share = (share[box] * self.figure.moved[box][..., 3] * np.float32(1 / 255))[..., None]
        if under.shape[2] == 4:
            above = np.dstack([above, np.full_like(share, 255)])
        under[:] = np.rint(under + share * (above - under.astype(np.float32)))


def mirrored_basis(portrait: Portrait) -> Floats:
    """`figure.basis_of` the portrait with left and right exchanged: what takes longest to make for it."""
    shape = portrait.image.shape
    region, points = local(_mirrored_points(portrait), shape)
    size = tuple(part.stop - part.start for part in region)
    return basis_of(points, size, bottom_px=shape[0] - region[0].start)


def _mirrored_points(portrait: Portrait) -> Floats:
    points = portrait.landmarks.points[canonical.MIRROR]
    points[:, 0] = portrait.image.shape[1] - 1 - points[:, 0]
    return points


def _ramp(value: Floats, between: tuple[float, float]) -> Floats:
    """Smoothly from 0 to 1 between these."""
    low, high = between
    return np.asarray(smoothstep((value - low) / (high - low)), np.float32)


def _gains(portrait: Portrait, far: FarSide) -> Floats:
    """(478, 3): how much brighter the mirrored side must be at each landmark, that light goes on across the seam.

    Broad colours are those of the face at the same height where it begins to be hidden; shades are the near side's.
    """
    count = canonical.MESH_COUNT
    mesh = portrait.landmarks.points[:count, :2]
    left, top, width, height = cv2.boundingRect(np.rint(mesh).astype(np.int32))
    left, top = max(left, 0), max(top, 0)
    image = portrait.image[top : top + height, left : left + width]
    mesh = mesh - np.array([left, top], np.float32)
    face = np.zeros(image.shape[:2], np.float32)
    cv2.fillConvexPoly(face, cv2.convexHull(np.rint(mesh).astype(np.int32)), (1.0,))
    sigma_px = max(TONE * flow.face_size(portrait.landmarks.points), 1.0)
    sums = cv2.GaussianBlur(np.dstack([image * face[..., None], face]), (0, 0), sigma_px)
    at = mesh[None].astype(np.float32)
    found = flow.sample(np.asarray(sums, np.float32), at, border=cv2.BORDER_REPLICATE)[0]
    colours = found[:, :3] / np.maximum(found[:, 3:], 1e-3)
    across, down = canonical.VERTICES[:, 0], canonical.VERTICES[:, 1]
    apart = np.square(across[:, None] - across) + np.square(ALONG * (down[:, None] - down))
    trusted = _ramp(far.facing[:count], TRUSTED) / np.square(apart + 1)
    wanted = (trusted @ colours) / trusted.sum(axis=1, keepdims=True)
    gains = np.ones((len(far.facing), 3), np.float32)
    gains[:count] = np.clip((wanted + 1) / (colours[canonical.MIRROR[:count]] + 1), 1 / GAIN, GAIN)
    return gains


def _connected(matte: NDArray[np.uint8], points: Floats) -> NDArray[np.bool_]:
    """(h, w): where the person hangs together with the face at landmarks `points` (478, 3), without the neck's help.

    A scarf that hangs down apart from it would otherwise float beside the head.
    """
    near = _drawn(np.ones((len(points), 1), np.float32), points, matte.shape)
    around = cv2.resize(near, matte.shape[::-1]) > EDGE
    person = (matte > 127) & around
    _, labels = cv2.connectedComponents(person.astype(np.uint8))
    x, y = np.clip(np.rint(points[facemesh.NOSE_TIP, :2]).astype(int), 0, np.array(matte.shape[::-1]) - 1)
    whole = person & (labels == labels[y, x])
    return cv2.dilate(whole.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def _drawn(values: Floats, points: Floats, shape: tuple[int, ...]) -> Floats:
    """(GRID, GRID, C) of a region of `shape` (h, w, …): `values` (478, C) between its landmarks, none far beyond."""
    cells = (points[:, :2] + 0.5) * (flow.GRID / np.array(shape[1::-1])) - 0.5
    drawn = np.zeros((flow.GRID, flow.GRID, values.shape[1]), np.float32)

    def fill(patches: Floats, of: Floats) -> None:
        """Polygons (P, corners, 2), each in the mean of what is at its landmarks, (P, …, C)."""
        corners = np.rint(patches * 16).astype(np.int32)
        for patch, value in zip(corners, of.mean(axis=1).tolist(), strict=True):
            cv2.fillConvexPoly(drawn, patch, value, cv2.LINE_8, shift=4)

    rim = _RIM[values[_RIM].any(axis=(1, 2))]
    middle = cells[list(facemesh.OVAL)].mean(axis=0)
    fill(np.concatenate([middle + BESIDE * (cells[rim] - middle), cells[rim[:, ::-1]]], axis=1), values[rim])
    mesh = canonical.TRIANGLES[values[canonical.TRIANGLES].any(axis=(1, 2))]
    fill(cells[mesh], values[mesh])
    return np.asarray(cv2.GaussianBlur(drawn, (0, 0), 1.0)).reshape(drawn.shape)
