"""An opening in the skin, mouth or eye: how its edges slide over what lies behind, column by column.

A smooth flow cannot part lips or shut lids. Here the skin between a fixed outer curve and the moving edge is
stretched or gathered along each column, so lips open without thinning and lids close with lid skin; what shows in
the opening is painted by `engines.eyes` or `engines.mouth`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet import facemesh
from puppet.facemesh import Indices
from puppet.types import Floats

COLUMNS = 192  # samples along the slit, finer than the pixels of a mouth in a 1024 px picture
_ALONG = np.linspace(0, 1, COLUMNS)


@dataclass(frozen=True, slots=True)
class Slit:
    """Which landmarks bound it. Curves run from left to right; the edges include both corners."""

    outer_upper: Indices
    upper: Indices
    lower: Indices
    outer_lower: Indices
    margin: tuple[float, float]  # share of the opening at rest that belongs to the upper and lower edge (lashes)
    reach: float  # 0 stretches the skin above evenly, up to 1 more of it from afar


MOUTH = Slit(
    facemesh.LIP_OUTER_UPPER,
    facemesh.LIP_INNER_UPPER,
    facemesh.LIP_INNER_LOWER,
    facemesh.LIP_OUTER_LOWER,
    margin=(0.0, 0.0),
    reach=0.0,
)
EYES = tuple(
    Slit(
        facemesh.SOCKET_UPPER[side],
        facemesh.LID_UPPER[side],
        facemesh.LID_LOWER[side],
        facemesh.SOCKET_LOWER[side],
        margin=(0.12, 0.06),
        reach=0.9,
    )
    for side in (0, 1)
)


@dataclass(frozen=True, slots=True)
class Opening:
    """One slit in one frame, on the pixels of its box."""

    box: tuple[slice, slice]  # rows and columns of the picture
    column: NDArray[np.intp]  # (h, w) the nearest of the COLUMNS
    below_upper: Floats  # (h, w) px from the upper edge down
    above_lower: Floats  # (h, w) px from the lower edge up
    height: Floats  # (h, w) px between the edges in this column, >= 0
    pixels: Floats  # (h, w, 2) x and y of the box's pixels
    skin: Floats  # (h, w, 2) px: what to add to the smooth flow's source so that the edges come from the edges
    upper_slide: Floats  # (h, w, 2) px: from each pixel to its source, for what goes with the upper edge as it is
    lower_slide: Floats  # (h, w, 2)
    mask: Floats  # (h, w) 0..1, 1 in the opening, with a soft edge of about a pixel
    seam: Floats  # (h, w) 0..1, 1 where the skin of either edge meets and neighbouring pixels come from far apart

    def inside(self) -> Opening | None:
        """The same on the smallest box that has all of `mask`; None if it is shut."""
        left, top, width, height = cv2.boundingRect((self.mask > 0).view(np.uint8))
        if width == 0:
            return None
        part = np.s_[top : top + height, left : left + width]
        rows, columns = self.box
        first = rows.start + top, columns.start + left
        arrays = {field.name: getattr(self, field.name)[part] for field in fields(self) if field.name != "box"}
        return Opening(box=np.s_[first[0] : first[0] + height, first[1] : first[1] + width], **arrays)


@dataclass(frozen=True, slots=True)
class Edges:
    """The curves of a slit in one frame, by columns along the line from its left corner to its right one."""

    origin: NDArray[np.float64]  # (2,) px: the left corner
    axis: NDArray[np.float64]  # (2,) of length 1, towards the right corner
    length: float  # px between the corners, at least 1
    low: Floats  # (2,) px: x and y, of which no point of the curves has less
    high: Floats  # (2,) px: or more
    # (14, COLUMNS) px. How far from the line lie: the four curves, and the edges with their margin. And for either
    # edge, x and y of its slide to the source, and of what the smooth flow lacks to get there.
    table: Floats


def edges_of(slit: Slit, source: Floats, target: Floats, back: Floats, rest_height: Floats) -> Edges:
    """The edges when the landmarks go from `source` to `target`, (478, 2) px each.

    `back` (478, 2) is the smooth flow's backward displacement at `target`, `rest_height` (COLUMNS,) px the opening in
    the portrait (`heights`).
    """
    curves = [list(curve) for curve in (slit.outer_upper, slit.upper, slit.lower, slit.outer_lower)]
    origin, axis, length = _frame(slit, target)
    basis = np.column_stack([axis, (-axis[1], axis[0])])
    table = np.empty((14, COLUMNS), np.float32)
    for row, curve in enumerate(curves):
        at = (target[curve] - origin) @ basis
        order = np.maximum.accumulate(at[:, 0] / length)
        table[row] = np.interp(_ALONG, order, at[:, 1])
        if row in (1, 2):
            slide = source[curve] - target[curve]
            lack = slide - back[curve]
            for k, values in enumerate((*slide.T, *lack.T)):
                table[2 + 4 * row + k] = np.interp(_ALONG, order, values)
    table[4] = np.minimum(table[1] + slit.margin[0] * rest_height, (table[1] + table[2]) / 2)
    table[5] = np.maximum(table[2] - slit.margin[1] * rest_height, table[4])
    bound = target[[i for curve in curves for i in curve]]
    return Edges(origin, axis, length, bound.min(axis=0), bound.max(axis=0), table)


def open_slit(slit: Slit, edges: Edges, *, width_px: int, height_px: int) -> Opening | None:
    """The opening between `edges` in a picture of that size; None outside it."""
    origin, axis, length, table = edges.origin, edges.axis, edges.length, edges.table
    normal = np.array([-axis[1], axis[0]])
    pad = 0.15 * length + 2
    left, top = np.maximum(np.floor(edges.low - pad), 0).astype(int)
    right, bottom = np.minimum(np.ceil(edges.high + pad), (width_px, height_px)).astype(int)
    if right - left < 2 or bottom - top < 2:
        return None
    pixels = np.empty((bottom - top, right - left, 2), np.float32)
    pixels[..., 0] = np.arange(left, right)
    pixels[..., 1] = np.arange(top, bottom)[:, None]
    x, y = pixels[:1, :, 0] - np.float32(origin[0]), pixels[:, :1, 1] - np.float32(origin[1])
    along = (x * np.float32(axis[0]) + y * np.float32(axis[1])) / np.float32(length)
    across = x * np.float32(normal[0]) + y * np.float32(normal[1])
    column = np.clip(along * (COLUMNS - 1) + 0.5, 0, COLUMNS - 1).astype(np.intp)
    columns = np.take(table, column, axis=1)
    outer_upper, upper, lower, outer_lower = columns[:4]
    upper_slide, upper_lack, lower_slide, lower_lack = columns[6:].reshape(4, 2, *along.shape)
    room = np.maximum(upper - outer_upper, 1)
    upper_share = np.clip((across - outer_upper) / room, 0, 1)
    if slit.reach:
        # A lid that shuts is made of the skin under the brow rather than of the dark crease at its edge: the share
        # bends towards the brow, as far as the skin does not fold over.
        drop = -(upper_lack[0] * np.float32(normal[0]) + upper_lack[1] * np.float32(normal[1]))
        bend = np.clip(0.85 * room / np.maximum(drop, 1e-3) - 1, 0, slit.reach) * (drop > 0)
        upper_share = upper_share + bend * upper_share * (1 - upper_share)
    lower_share = np.clip((outer_lower - across) / np.maximum(outer_lower - lower, 1), 0, 1)
    middle = (upper + lower) / 2
    fade = np.clip(1 + 8 * np.minimum(along, 1 - along), 0, 1)
    upper, lower = columns[4:6]
    skin = np.where(across < middle, upper_lack * upper_share, lower_lack * lower_share) * fade
    jump = np.abs(upper_lack - lower_lack).sum(axis=0)
    seam = np.clip(1.6 - np.abs(across - middle), 0, 1) * np.clip(jump - 0.5, 0, 1) * fade
    height = lower - upper
    within = np.minimum(np.minimum(across - upper, lower - across), np.minimum(along, 1 - along) * np.float32(length))
    mask = np.clip(within + 0.5, 0, 1) * np.clip(height, 0, 1)
    return Opening(
        box=np.s_[top:bottom, left:right],
        pixels=pixels,
        column=column,
        below_upper=across - upper,
        above_lower=lower - across,
        height=height,
        skin=cv2.merge(skin),
        upper_slide=cv2.merge(upper_slide),
        lower_slide=cv2.merge(lower_slide),
        mask=mask,
        seam=seam,
    )


def heights(slit: Slit, points: Floats) -> Floats:
    """(COLUMNS,) px: the opening between the edges for landmarks (478, 2 or 3)."""
    origin, axis, length = _frame(slit, points[:, :2])
    basis = np.column_stack([axis, (-axis[1], axis[0])])
    curves = []
    for curve in (slit.upper, slit.lower):
        at = (points[list(curve), :2] - origin) @ basis
        curves.append(np.interp(_ALONG, np.maximum.accumulate(at[:, 0] / length), at[:, 1]))
    return np.maximum(curves[1] - curves[0], 0).astype(np.float32)


def _frame(slit: Slit, points: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Left corner, unit vector to the right corner, distance of the corners (at least 1 px)."""
    first, last = points[slit.upper[0]].astype(float), points[slit.upper[-1]].astype(float)
    length = max(float(np.linalg.norm(last - first)), 1.0)
    return first, (last - first) / length, length
