"""Training pairs made new: looked at more closely, mirrored, tinted, faded or painted over; all of a pair alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from engines.geometry import COARSE_PX, SIDE_PX
from engines.training.sample import Sample
from puppet.identity import CHIP_PX
from puppet.types import Floats, Image

LEAST_PART: Final = 54  # of 64: the closest look that is taken
MIXED: Final = 0.08  # of each colour in each other
_PICTURES = (slice(0, 3), slice(7, 10), slice(14, 17))  # portrait, warped, target
_LAYERS = (3, 6, 7, 10, 13, 14)  # where the next of the layers begins


def augmented(original: Sample, random: np.random.Generator) -> Sample:
    """The pair as another camera, or a painter, might have had it."""
    placed = _closer(original, random) if random.random() < 0.7 else original
    if random.random() < 0.5:
        placed = mirrored(placed)
    pair = np.array(placed.layers)
    pictures = np.concatenate([pair[..., part] for part in _PICTURES])  # (768, 256, 3)
    kind = random.random()
    if kind < 0.08:
        pictures = cv2.cvtColor(cv2.cvtColor(pictures, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    elif kind < 0.2:
        pictures = _painted(pictures, random)
    if random.random() < 0.5:
        mix = np.eye(3) + random.normal(0, MIXED, (3, 3))
        pictures = cv2.transform(pictures, mix / mix.sum(axis=1, keepdims=True))
    if random.random() < 0.7:
        ramp = np.linspace(0, 1, 256)[:, None] ** random.uniform(0.7, 1.5)
        table = random.uniform(0.8, 1.1) * random.uniform(0.9, 1.1, 3) * ramp
        pictures = np.dstack(
            [cv2.LUT(pictures[..., c], np.clip(table[:, c] * 255, 0, 255).astype(np.uint8)) for c in range(3)]
        )
    for part, picture in zip(_PICTURES, np.split(pictures, 3), strict=True):
        pair[..., part] = picture
    return replace(placed, layers=pair)


def mirrored(original: Sample) -> Sample:
    """Left and right exchanged."""
    motions = original.motions[:, ::-1] * np.array([-1, 1, -1, 1, -1, 1, 1, -1, 1, 1], np.float32)
    motions += _placed(SIDE_PX - 1, 0)
    turn, shift = original.upright[:, :2], original.upright[:, 2]
    flip = np.array([-1, 1], np.float32)  # of the square that dlib's network sees, too
    shift = flip * (turn @ [SIDE_PX - 1, 0] + shift) + [CHIP_PX - 1, 0]
    there = np.column_stack([flip[:, None] * turn * flip, shift]).astype(np.float32)
    change = original.change * np.tile(flip, 3)
    return replace(original, layers=original.layers[:, ::-1], motions=motions, upright=there, change=change)


def _closer(pair: Sample, random: np.random.Generator) -> Sample:
    """A part of the square, enlarged: no place in it is to be learnt by heart."""
    side = int(random.integers(LEAST_PART, COARSE_PX))  # of the coarse grid, so that both are cut alike
    left, top = random.integers(0, COARSE_PX - side + 1, 2)
    fine = SIDE_PX // COARSE_PX
    layers = pair.layers[fine * top : fine * (top + side), fine * left : fine * (left + side)]
    motions = pair.motions[top : top + side, left : left + side] - _placed(fine * left - 0.5, fine * top - 0.5)
    lengths = np.array([1, 1, 0, 0, 1, 1, 0, 1, 1, 0], np.float32) * (COARSE_PX / side - 1) + 1
    # One by one: with all channels together, OpenCV rounds some of them otherwise.
    parts = [cv2.resize(part, (SIDE_PX, SIDE_PX)) for part in np.split(layers, _LAYERS, axis=2)]
    motions = cv2.resize(motions, (COARSE_PX, COARSE_PX), interpolation=cv2.INTER_LINEAR) * lengths - _placed(0.5, 0.5)
    turn, shift = pair.upright[:, :2], pair.upright[:, 2]
    smaller = side / COARSE_PX
    shift = shift + turn @ (fine * np.array([left, top]) + (smaller - 1) / 2)  # pixels are resized about their edges
    there = np.column_stack([smaller * turn, shift]).astype(np.float32)
    return replace(pair, layers=np.dstack(parts), motions=np.asarray(motions, np.float32), upright=there)


def _placed(right_px: float, down_px: float) -> Floats:
    """(10,): a shift of those of a sample's motions that are places."""
    return np.array([0, 0, 0, 0, 0, 0, 0, right_px, down_px, 0], np.float32)


def _painted(pictures: Image, random: np.random.Generator) -> Image:
    """Strokes instead of pores: edge-preserving smoothing, then a canvas's tint."""
    apart = np.split(pictures, len(_PICTURES))
    smooth = np.concatenate([cv2.bilateralFilter(cv2.medianBlur(each, 3), 7, 45, 5) for each in apart])
    warm = smooth * np.array([1.0, random.uniform(0.85, 1), random.uniform(0.6, 1)])
    return np.asarray(warm, np.uint8)
