"""A pair's people with other faces and other hair: everything turned, stretched and pushed about a little.

A generator learns portraits by heart where it can. With three of each clip, as they were, it had come 11 % nearer to
the truth on these, and 5 % on others of the same clips.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import flow
from engines.geometry import COARSE_PX, SIDE_PX
from puppet.types import Floats

CELLS: Final = 4  # along each side, that are pushed about, all between them smoothly
PUSHED_PX: Final = 5.0  # standard deviations: of each of these,
STRETCHED: Final = 0.07  # of the logarithms of width and height,
TURNED: Final = 0.06  # of the turn, radians,
SLANTED: Final = 0.05  # and of the slant
_NO_SECOND_MAP: Final = np.empty((0, 0), np.float32)
_LINE: Final = np.arange(SIDE_PX, dtype=np.float32)
_PLACES: Final = np.dstack(np.meshgrid(_LINE, _LINE))  # (256, 256, 2) px: x and y


class Bend:
    """A smooth map of the square onto itself, drawn by chance."""

    def __init__(self, random: np.random.Generator) -> None:
        wide, high = np.exp(random.normal(0, STRETCHED, 2))
        turn, slant = random.normal(0, TURNED), random.normal(0, SLANTED)
        affine = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ [[wide, slant], [0, high]]
        pushed = random.normal(0, PUSHED_PX, (CELLS, CELLS, 2)).astype(np.float32)
        smooth = cv2.resize(pushed, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
        from_middle = _PLACES - np.float32((SIDE_PX - 1) / 2)
        self._away = (from_middle @ (affine - np.eye(2)).T + smooth).astype(np.float32)
        self._source = _PLACES + self._away  # (256, 256, 2) px: from where each pixel comes
        self._growth = 1 / np.sqrt(wide * high)

    def picture(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(256, 256, C) or (256, 256) uint8; what lies beyond its edges is mirrored."""
        bent = cv2.remap(image, self._source, _NO_SECOND_MAP, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        return np.asarray(bent, np.uint8)

    def points(self, points: Floats) -> Floats:
        """Landmarks (478, 3) px of the square, to where they are seen now."""
        found = np.ascontiguousarray(points[None, :, :2], np.float32)
        for _ in range(4):  # each time a tenth as far from it
            found = points[None, :, :2] - flow.sample(self._away, found, border=cv2.BORDER_REPLICATE)
        return np.column_stack([found[0], points[:, 2] * self._growth]).astype(np.float32)

    def motion(self, motion: NDArray[np.float16]) -> Floats:
        """`Pairs.motion`. The way f at a place becomes J^-1 f, with J the bend's slopes there."""
        cell = SIDE_PX // COARSE_PX
        source = cv2.resize(self._source, (COARSE_PX, COARSE_PX), interpolation=cv2.INTER_AREA)
        at = np.asarray((source + 0.5) / cell - 0.5, np.float32)
        found: Floats = flow.sample(motion.astype(np.float32), at, border=cv2.BORDER_REPLICATE)
        slopes = np.stack([np.gradient(source, cell, axis=axis) for axis in (1, 0)], axis=-1)
        found[..., :2] = np.linalg.solve(slopes, found[..., :2, None])[..., 0]
        return found
