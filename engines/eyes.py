"""The eyeball behind the lids: sclera without the iris, and the iris as a disc of its own that gaze can shift."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from engines.flow import sample
from engines.slit import EYES
from puppet import facemesh
from puppet.types import Floats, Image

RIM = 0.16  # soft edge of the iris, of its radius
PAD = 0.6  # of the eye's width: how far the eyeball is continued beyond the lids


@dataclass(frozen=True, slots=True)
class Eyeball:
    """One eye of a portrait on the pixels of its box. `sclera * (1 - cover) + iris` is the portrait where it shows."""

    left: int  # of the box in the portrait, px
    top: int
    sclera: Image  # (h, w, 3) uint8 RGB
    iris: Image  # (h, w, 4) uint8: RGB multiplied by cover, and cover


def eyeball_of(image: Image, points: Floats, side: int) -> Eyeball:
    """Take the eyeball of eye `side` (0 at the picture's left) apart. `points` (478, 2 or 3) px of `image`."""
    slit = EYES[side]
    upper, lower = points[list(slit.upper), :2], points[list(slit.lower), :2]
    corner = np.stack([upper[0], upper[-1]])
    width = max(float(np.linalg.norm(corner[1] - corner[0])), 4.0)
    last = np.array(image.shape[1::-1]) - 1  # an eye beyond the picture's edge keeps the nearest pixel
    low = np.clip(np.floor(corner.min(axis=0) - PAD * width), 0, last).astype(int)
    high = np.clip(np.ceil(corner.max(axis=0) + PAD * width), low, last).astype(int) + 1
    crop = image[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    rows, columns = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    gap = np.linalg.norm(lower - upper, axis=1).max()
    # The lids' own shadow and lashes are skin, not eyeball: only what lies well inside teaches its colours.
    trusted = np.concatenate([upper + (0, 0.2 * gap), (lower - (0, 0.1 * gap))[::-1]])
    inside = _polygon(crop.shape[:2], trusted - low)
    seen = _polygon(crop.shape[:2], np.concatenate([upper, lower[::-1]]) - low)
    iris = points[list(facemesh.IRIS[side]), :2]
    centre, radius = iris[0], max(float(np.linalg.norm(iris[1:] - iris[0], axis=1).mean()), 1.0)
    distance = np.hypot(columns - centre[0], rows - centre[1]) / radius
    cover = np.clip((1 + RIM - distance) / (2 * RIM), 0, 1)
    sclera = _spread(crop, inside * (distance > 1 + 1.5 * RIM), width)
    profile = _radial(crop, inside * (distance < 1 + RIM), distance)
    shown = cv2.GaussianBlur(seen, (0, 0), max(0.4, 0.02 * width))[..., None]
    premultiplied = shown * (crop - (1 - cover[..., None]) * sclera) + (1 - shown) * cover[..., None] * profile
    # Where no iris covers, the picture itself is the sclera, veins and highlights included.
    sclera = shown * np.where(cover[..., None] > 0, sclera, crop) + (1 - shown) * sclera
    layers = np.dstack([np.clip(premultiplied, 0, 255) * (cover[..., None] > 0), 255 * cover])
    return Eyeball(int(low[0]), int(low[1]), np.rint(sclera).astype(np.uint8), np.rint(layers).astype(np.uint8))


def paint_eyeball(eyeball: Eyeball, source: Floats, gaze_px: Floats) -> Floats:
    """(h, w, 3) float32 RGB on the opening's box.

    `source` (h, w, 2) says which pixel of the portrait the smooth flow shows at each pixel of the box; `gaze_px` (2,)
    is how far the iris is to look beyond where that flow carries it.
    """
    at = source - np.array([eyeball.left, eyeball.top], np.float32)
    sclera = sample(eyeball.sclera, at, border=cv2.BORDER_REPLICATE)
    iris = sample(eyeball.iris, at - gaze_px, border=cv2.BORDER_CONSTANT).astype(np.float32)
    return sclera * (1 - iris[..., 3:] / 255) + iris[..., :3]


def _polygon(shape: tuple[int, int], corners: Floats) -> Floats:
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.rint(corners * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    return mask.astype(np.float32) / 255


def _spread(crop: Floats, weight: Floats, width: float) -> Floats:
    """Continue the weighted pixels over the whole crop: ever wider weighted means, the narrowest that knows wins."""
    weight = weight[..., None]
    known = np.zeros_like(crop)
    total = np.zeros(crop.shape[:2], np.float32)[..., None]
    for share in (0.03, 0.08, 0.2, 0.5, 1.2):
        sigma = max(share * width, 0.5)
        near = cv2.GaussianBlur(weight, (0, 0), sigma)[..., None]
        colour = cv2.GaussianBlur(crop * weight, (0, 0), sigma) / np.maximum(near, 1e-6)
        trust = np.clip(near * 12, 0, 1) * (1 - total)
        known, total = known + trust * colour, total + trust
    fallback = np.percentile(crop.reshape(-1, 3), 75, axis=0)  # no white to be seen: a half-closed eye
    return (known + (1 - total) * fallback).astype(np.float32)


def _radial(crop: Floats, weight: Floats, distance: Floats) -> Floats:
    """The iris turned round its centre: mean colour by distance, for the parts that a lid hides."""
    rings = np.clip(distance * 8, 0, 11)
    ring = rings.astype(np.intp)
    total = np.bincount(ring.ravel(), weight.ravel(), 12) + 1e-3
    means = np.stack([np.bincount(ring.ravel(), (weight * crop[..., k]).ravel(), 12) for k in range(3)], -1)
    mean = (weight[..., None] * crop).sum(axis=(0, 1)) / max(float(weight.sum()), 1e-3)
    means = (means + 1e-3 * mean) / total[:, None]
    steps = np.arange(12)
    return np.stack([np.interp(rings - 0.5, steps, means[:, k]) for k in range(3)], -1).astype(np.float32)
