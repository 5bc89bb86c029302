"""What shows between parted lips: the portrait's own teeth where it has any, else teeth, tongue and dark.

Upper teeth belong to the skull and lower teeth to the jaw: lips slide over them. All colours derive from the
picture (its lips, its brightest skin, the white of its eyes), so that a painting gets painted teeth and a grey
photograph grey ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from engines.slit import COLUMNS, Opening
from puppet import facemesh
from puppet.headpose import fit_similarity
from puppet.types import Floats, Image

# Of the face's size: how far each row of teeth reaches beyond the line where closed lips meet, and the most of it
# that ever shows.
UPPER_TEETH, UPPER_TEETH_MOST = 0.020, 0.050
LOWER_TEETH, LOWER_TEETH_MOST = 0.000, 0.022
OPEN_AT_REST = 0.022  # of the face's size: a portrait with more than this between the lips shows its own mouth


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of one portrait's mouth, RGB 0..255."""

    cavity: Floats  # (3,)
    teeth: Floats  # (3,)
    tongue: Floats  # (3,)


def palette_of(image: Image, points: Floats) -> Palette:
    """Derive the mouth's colours from the lips, the eyes' white and the skin of the portrait."""

    def typical(indices: facemesh.Indices, percentile: float) -> Floats:
        mask = np.zeros(image.shape[:2], np.uint8)
        cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points[list(indices), :2]).astype(np.int32)), 255)
        pixels = image[mask > 0] if mask.any() else image.reshape(-1, 3)  # a face half out of the picture
        luma = pixels @ np.array([0.299, 0.587, 0.114])
        near = np.abs(luma - np.percentile(luma, percentile)) <= max(4.0, 0.08 * float(np.ptp(luma)))
        return np.asarray(pixels[near].mean(axis=0), np.float32)

    lips = typical(facemesh.LIP_OUTER_LOWER + facemesh.LIP_INNER_LOWER, 50)
    skin = typical(facemesh.OVAL, 70)
    white = typical(facemesh.LID_UPPER[0] + facemesh.LID_LOWER[0] + facemesh.LID_UPPER[1] + facemesh.LID_LOWER[1], 88)
    bright = 0.5 * skin + 0.5 * np.maximum(white, skin)
    luma = float(bright @ np.array([0.299, 0.587, 0.114], np.float32))
    teeth = 1.1 * (0.6 * bright + 0.4 * luma)  # paler than skin, still of the picture's light
    return Palette(
        cavity=(0.18 * lips).astype(np.float32),
        teeth=np.clip(teeth, 0, 250).astype(np.float32),
        tongue=(0.78 * lips).astype(np.float32),
    )


def jaws(source: Floats, target: Floats, *, size: float) -> tuple[float, float]:
    """How far the upper teeth end below the upper lip's edge and the lower teeth begin above the lower lip's, px.

    The skull carries the line where the lips meet at rest by the head's rigid motion, the jaw by the chin's;
    `source` and `target` are (478, 3), `size` is the face's size, px.
    """
    stable = list(facemesh.STABLE)
    skull = fit_similarity(source[stable].astype(float), target[stable].astype(float))(source)
    down = target[facemesh.CHIN, :2] - target[10, :2]
    down = down / max(float(np.linalg.norm(down)), 1e-6)
    upper_lip, lower_lip = 13, 14
    jaw = skull[lower_lip] + target[facemesh.CHIN] - skull[facemesh.CHIN]
    upper = float((skull[upper_lip] - target[upper_lip])[:2] @ down)
    lower = float((target[lower_lip] - jaw)[:2] @ down)
    return (
        _shown(upper / size + UPPER_TEETH, UPPER_TEETH_MOST) * size,
        _shown(lower / size + LOWER_TEETH, LOWER_TEETH_MOST) * size,
    )


def _shown(bare: float, most: float) -> float:
    return most * float(np.tanh(max(bare, 0.0) / most))


def _row_of_teeth() -> Floats:
    """(4, COLUMNS): place across the mouth from -1 to 1, how much a tooth faces us, its light, and the gaps' shade."""
    u = np.linspace(-1, 1, COLUMNS)
    arch = np.sqrt(1 - u * u)  # the row turns away to the sides
    gaps = 1 - 0.16 * np.clip(1 - 6 * np.abs(np.cos(8 * np.arcsin(u))), 0, 1)  # eight teeth across
    return np.stack([u, arch, 0.30 + 0.70 * arch**1.5, gaps]).astype(np.float32)


ROW_OF_TEETH = _row_of_teeth()


def paint_mouth(palette: Palette, opening: Opening, *, size: float, teeth_px: float, jaw_px: float) -> Floats:
    """(h, w, 3) float32 RGB on the opening's box: a mouth that the portrait never showed."""
    u, arch, light, gaps = np.take(ROW_OF_TEETH, opening.column, axis=1)
    soft = max(0.012 * size, 0.8)
    upper = np.clip((teeth_px * (0.35 + 0.65 * arch) - opening.below_upper) / soft + 0.5, 0, 1)
    lower = np.clip((jaw_px * (0.35 + 0.65 * arch) - opening.above_lower) / soft + 0.5, 0, 1)
    under_lip = 0.70 + 0.30 * np.clip(opening.below_upper / (0.035 * size), 0, 1)
    depth = np.clip(opening.height / (0.10 * size), 0, 1)
    rise = np.clip(opening.above_lower / (0.14 * size), 0, 1)
    tongue = np.clip(1.25 - 1.5 * rise**2 - 0.6 * u * u, 0, 1) * depth * (0.45 + 0.55 * arch)
    colour = palette.cavity + tongue[..., None] * (palette.tongue - palette.cavity)
    lower_teeth = 0.6 * palette.teeth + 0.2 * palette.tongue  # they reflect the tongue and lie in the lip's shade
    for share, teeth, shade in ((lower, lower_teeth, light), (upper, palette.teeth, light * gaps * under_lip)):
        colour = colour + share[..., None] * (teeth * shade[..., None] - colour)
    return np.asarray(colour, np.float32)


def own_share(opening: Opening, rest_height: Floats, *, size: float) -> tuple[Floats, Floats]:
    """How much of the portrait's own open mouth to show, (h, w) each: with the upper lip's motion, with the lower's.

    What the portrait shows in its upper half goes with the upper teeth, the lower half with the jaw, and where they
    part there is the dark between. 0 throughout for a portrait with closed lips.
    """
    own = np.clip((float(rest_height.max()) / size - 0.5 * OPEN_AT_REST) / (0.5 * OPEN_AT_REST), 0, 1)
    half = 0.5 * rest_height[opening.column]
    soft = max(0.02 * size, 1.0)
    share = own * np.clip(1.5 + (half - np.minimum(opening.below_upper, opening.above_lower)) / soft, 0, 1)
    above = opening.below_upper <= opening.above_lower
    return share * above, share * ~above
