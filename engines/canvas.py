"""What the network of `engines.frame`, which paints whole frames, is given: of a portrait once, and of each frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import flow
from engines.figure import Figure
from engines.geometry import COARSE_PX, SIDE_PX, Crop, head_motion, openings, rasterise
from engines.layers import MARGIN
from engines.mouth import jaws
from engines.slit import COLUMNS
from puppet.types import Floats, Image, PortraitEmbedding

Arrays = Mapping[str, NDArray[Any]]
Painter = Callable[[Arrays, Arrays], Image]  # what a frame and its portrait give, to the picture (S, S, 3)

SIDES_PX: Final = (512, 1024)  # of the squares that pictures are painted on


def shapes(side_px: int) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
    """Shape and type of every input, in the order in which the network takes them; after them, psi and features."""
    wide_px = side_px + 2 * round(MARGIN * side_px)
    square = SIDE_PX, SIDE_PX
    return {
        "back": ((flow.GRID, flow.GRID, 2), np.float32),  # Figure.back
        "edges": ((3, 14, COLUMNS), np.float32),  # of mouth, left and right eye: slit.Edges.table
        # of each: x and y of the left corner, those of the axis, the length; teeth_px and jaw_px, or x and y of gaze_px
        "lines": ((3, 7), np.float32),
        "drawn": ((*square, 4), np.uint8),  # geometry.rasterise and openings
        "head": ((COARSE_PX, COARSE_PX, 4), np.float32),  # geometry.head_motion
        "person": ((wide_px, wide_px, 4), np.uint8),  # Figure.padded
        "canvas": ((side_px, side_px, 3), np.uint8),  # the whole picture at rest
        "behind": ((side_px, side_px, 3), np.uint8),  # the still background, within the region
        "eyeballs": ((2, side_px // 2, side_px // 2, 7), np.uint8),  # eyes.Eyeball: sclera and iris
        # left, top, width and height of the region, pad_px and size of the figure, left and top of either eyeball,
        # left, top and side of the crop
        "place": ((13,), np.float32),
        "palette": ((3, 3), np.float32),  # mouth.Palette
        "rest_height": ((COLUMNS,), np.float32),  # of the mouth
        "rest": ((*square, 3), np.uint8),  # the crop at rest
        "seam": (square, np.float32),
        "cut": ((2, SIDE_PX, side_px), np.float32),  # by which rows and columns make the crop: Crop.cut
    }


def side_for(embedding: PortraitEmbedding) -> int | None:
    """Of SIDES_PX, the least for the warp engine's embedding; None if none can take it, or its backdrop has alpha."""
    if embedding.backdrop is not None and embedding.backdrop.shape[2] != 3:
        return None
    eyeballs = (embedding.tensors[f"sclera{side}"].shape[:2] for side in (0, 1))
    needed_px = max(*embedding.portrait.image.shape[:2], *(2 * length for shape in eyeballs for length in shape))
    return next((side_px for side_px in SIDES_PX if side_px >= needed_px), None)


class Canvas:
    """A portrait of one picture, given to the network."""

    def __init__(
        self, figure: Figure, crop: Crop, *, side_px: int, rest: Image, seam: Floats, psi: Floats, features: Floats
    ) -> None:
        """`rest` and `seam` are the crop's, (256, 256, 3) and (256, 256); psi and features are the embedding's."""
        self._figure, self._crop = figure, crop
        rows, columns = figure.region
        self._own_points = crop.to_square(figure.points + figure.origin)
        behind = figure.canvas.copy()
        behind[figure.region] = figure.background
        eyeballs = np.zeros((2, side_px // 2, side_px // 2, 7), np.uint8)
        for side, eye in enumerate(figure.eyeballs):
            eyeballs[side, ..., :3] = _spread(eye.sclera, side_px // 2)
            eyeballs[side, : eye.iris.shape[0], : eye.iris.shape[1], 3:] = eye.iris
        eyes = [value for eye in figure.eyeballs for value in (eye.left, eye.top)]
        region = [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]
        place = [*region, figure.pad_px, figure.size, *eyes, crop.left, crop.top, crop.side]
        palette = figure.palette
        self.portrait: Arrays = {
            "person": _spread(figure.padded, shapes(side_px)["person"][0][0]),
            "canvas": _spread(figure.canvas, side_px),
            "behind": _spread(behind, side_px),
            "eyeballs": eyeballs,
            "place": np.array(place, np.float32),
            "palette": np.stack([palette.cavity, palette.teeth, palette.tongue]).astype(np.float32),
            "rest_height": figure.rest_heights[0],
            "rest": rest,
            "seam": seam,
            "cut": np.stack([_cut(start, crop.side, side_px) for start in (crop.top, crop.left)]),
            "psi": psi,
            "features": features,
        }

    def frame(self, target: Floats) -> Arrays:
        """The inputs up to `head`, for landmarks `target` (478, 3) px of the picture."""
        figure, points = self._figure, self._crop.to_square(target)
        local = target - figure.origin
        back = figure.back(local)
        at_landmarks = flow.at_points(back, local[:, :2], figure.background.shape)
        teeth = jaws(figure.points, local, size=figure.size)
        gazes = [figure.gaze_px(side, local, at_landmarks) for side in (0, 1)]
        edges = figure.edges(local, at_landmarks)
        lines = [
            [*each.origin, *each.axis, each.length, *two] for each, two in zip(edges, (teeth, *gazes), strict=True)
        ]
        return {
            "back": back,
            "edges": np.stack([each.table for each in edges]),
            "lines": np.array(lines, np.float32),
            "drawn": np.asarray(cv2.merge([rasterise(points), openings(points)]), np.uint8),
            "head": head_motion(self._own_points, points),
        }

    def paint(self, painter: Painter, target: Floats) -> Image:
        """(H, W, 3): the frame with landmarks `target` (478, 3) px of the picture, a fresh array."""
        height, width = self._figure.canvas.shape[:2]
        return painter(self.frame(target), self.portrait)[:height, :width].copy()


def _spread(picture: Image, side_px: int) -> Image:
    """`picture` with its last row and column repeated, (side_px, side_px, C)."""
    height, width = picture.shape[:2]
    return cv2.copyMakeBorder(picture, 0, side_px - height, 0, side_px - width, cv2.BORDER_REPLICATE)


def _cut(start: int, side: int, side_px: int) -> Floats:
    """(SIDE_PX, side_px): `Crop.cut` along one axis, as a matrix."""
    how = cv2.INTER_AREA if side > SIDE_PX else cv2.INTER_CUBIC
    matrix = np.zeros((SIDE_PX, side_px), np.float32)
    matrix[:, start : start + side] = cv2.resize(np.eye(side, dtype=np.float32), (side, SIDE_PX), interpolation=how)
    return matrix
