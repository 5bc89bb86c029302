"""What a network sees of a face: the square around it, its landmarks drawn in colours, its openings as a mask.

Part of every trained network's contract: training and application share this module, and weights made with one
VERSION of it are of no use with another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet import facemesh
from puppet.types import Floats, Image, Landmarks

VERSION: Final = 1
SIDE_PX: Final = 256  # of the square that networks work on
FACE_SHARE: Final = 0.5  # the face's width in the square, where the picture has room enough

COARSE_PX: Final = 64  # side of the grid on which networks know and say where things move

_FARTHEST_PX: Final = 64.0
_SUBPIXEL_BITS: Final = 4
# Each feature its own colour, as in section 3.1 of Zakharov et al. 2019 (arXiv 1905.08233); irises are our addition.
_STRIPS: Final[tuple[tuple[tuple[int, int, int], bool, tuple[facemesh.Indices, ...]], ...]] = (
    ((0, 255, 0), True, (facemesh.OVAL,)),
    ((255, 0, 0), False, tuple(brow[:5] for brow in facemesh.BROW)),
    ((0, 0, 255), False, ((168, 6, 197, 195, 5, 4, 1, 2), (98, 97, 2, 326, 327))),  # nose: bridge and base
    ((255, 0, 255), False, (*facemesh.LID_UPPER, *facemesh.LID_LOWER)),
    ((0, 255, 255), False, (facemesh.LIP_OUTER_UPPER, facemesh.LIP_OUTER_LOWER)),
    ((255, 255, 0), False, (facemesh.LIP_INNER_UPPER, facemesh.LIP_INNER_LOWER)),
)
_IRIS_COLOUR: Final = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Crop:
    """A square of a picture, px."""

    left: int
    top: int
    side: int

    @classmethod
    def around(cls, points: Floats, *, width_px: int, height_px: int) -> Self:
        """The square around the face of landmarks (478, 3) px, moved and shrunk to lie inside the picture."""
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        side = min(round(float(high[0] - low[0]) / FACE_SHARE), width_px, height_px)
        left, top = (
            int(np.clip(round(float(middle) - side / 2), 0, length - side))
            for middle, length in zip((low + high) / 2, (width_px, height_px), strict=True)
        )
        return cls(left, top, side)

    @classmethod
    def of(cls, face: Landmarks) -> Self:
        """The square around the face in the picture that it was found in."""
        return cls.around(face.points, width_px=face.width_px, height_px=face.height_px)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the picture."""
        return slice(self.top, self.top + self.side), slice(self.left, self.left + self.side)

    def cut(self, image: Image) -> Image:
        """(SIDE_PX, SIDE_PX, C) uint8: the square of `image`, resampled."""
        square = image[self.slices]
        if self.side == SIDE_PX:
            return np.ascontiguousarray(square)
        finer = self.side > SIDE_PX
        resized = cv2.resize(square, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA if finer else cv2.INTER_CUBIC)
        return np.asarray(resized, np.uint8)

    def to_square(self, points: Floats) -> Floats:
        """Landmarks (478, 3) from px of the picture to px of the resampled square."""
        scale = SIDE_PX / self.side
        return ((points - np.array([self.left, self.top, 0], np.float32)) * scale).astype(np.float32)


def rasterise(points: Floats) -> Image:
    """(SIDE_PX, SIDE_PX, 3) uint8 RGB: landmarks (478, 3) px of the square as coloured strips on black."""
    raster = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    fixed = _fixed(points)
    for colour, closed, curves in _STRIPS:
        strips = [fixed[list(curve)] for curve in curves]
        cv2.polylines(raster, strips, closed, colour, 1, cv2.LINE_AA, _SUBPIXEL_BITS)
    for iris in facemesh.IRIS:
        cv2.fillConvexPoly(raster, fixed[list(iris[1:])], _IRIS_COLOUR, cv2.LINE_AA, _SUBPIXEL_BITS)
    return raster


def openings(points: Floats) -> NDArray[np.uint8]:
    """(SIDE_PX, SIDE_PX) uint8: 255 inside the lids and the inner lips, where moved skin is no answer."""
    mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    fixed = _fixed(points)
    for upper, lower in (
        (facemesh.LIP_INNER_UPPER, facemesh.LIP_INNER_LOWER),
        *zip(facemesh.LID_UPPER, facemesh.LID_LOWER, strict=True),
    ):
        cv2.fillPoly(mask, [fixed[[*upper, *lower[::-1]]]], (255,), cv2.LINE_AA, _SUBPIXEL_BITS)
    return mask


def seen_by_network(square: Image, points: Floats) -> NDArray[np.uint8]:
    """(SIDE_PX, SIDE_PX, 7) uint8: a cut picture, and the `rasterise` and `openings` of landmarks in it."""
    return np.asarray(cv2.merge([square, rasterise(points), openings(points)]), np.uint8)  # 5 times as fast as numpy's


def head_motion(portrait: Floats, target: Floats) -> Floats:
    """(COARSE_PX, COARSE_PX, 4): what is known of the motion at each place of the square, and where that place is.

    Two channels: from there to where it would be taken from if everything moved with the head as one, by the affine
    map that fits best between landmarks (478, 3) px of the square, in sixteenths of the square. Two more: its distance
    from the middle of the face, in faces.
    """
    here = np.column_stack([target[:, :2], np.ones(len(target), np.float32)])
    affine = np.linalg.lstsq(here, portrait[:, :2], rcond=None)[0]  # (3, 2)
    middle = (np.arange(COARSE_PX, dtype=np.float32) + 0.5) * (SIDE_PX / COARSE_PX)
    x, y = np.meshgrid(middle, middle)
    places = np.dstack([x, y])
    taken = places @ affine[:2] + affine[2] - places
    low, high = target[:, :2].min(axis=0), target[:, :2].max(axis=0)
    apart = (places - (low + high) / 2) / (high - low).max()
    shift = np.clip(taken, -_FARTHEST_PX, _FARTHEST_PX) * (16 / SIDE_PX)
    return np.concatenate([shift, apart], axis=2).astype(np.float32)


def _fixed(points: Floats) -> NDArray[np.int32]:
    return np.asarray(np.rint(points[:, :2] * (1 << _SUBPIXEL_BITS)), np.int32)
