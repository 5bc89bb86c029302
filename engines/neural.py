"""NeuralEngine: the warp engine's picture, repaired by a network in a square around the face.

The network sees and paints 256 x 256 px; its flow and its residual are laid over the warped picture at full
resolution, so that skin and canvas keep their texture. Where nothing moved, nothing is touched.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from engines.geometry import SIDE_PX, Crop, head_motion, openings, rasterise
from engines.pytorch import TorchRunner
from engines.warp import WarpEngine
from engines.weights import FOLDER
from puppet.motion import target_points
from puppet.types import Closing, Floats, Image, Landmarks, Motion, Portrait, PortraitEmbedding

DEFAULT = FOLDER / "ours.safetensors"
STILL = 3  # grey levels that a pixel of the background may differ from itself
MARGIN_PX = 9  # of the square around what moved, that the network may touch too
SEAM_PX = 16  # of the square: the repair fades out towards edges inside the picture


class NeuralEngine(Closing):
    """See the module's first lines. One thread at a time."""

    name = "neural"
    version = 1  # of the tensors in its embeddings

    def __init__(self, weights: Path = DEFAULT) -> None:
        """Raises `weights.WeightsError` if there are none."""
        self._runner = TorchRunner(weights)
        self._warp = WarpEngine()
        self._warped: tuple[PortraitEmbedding, PortraitEmbedding] | None = None

    def embed(self, portrait: Portrait | PortraitEmbedding) -> PortraitEmbedding:
        """What the warp engine needs, and psi and features for the generator; an embedding comes back as it is."""
        if isinstance(portrait, PortraitEmbedding):
            return portrait
        crop = _crop(portrait.landmarks)
        points = crop.to_square(portrait.landmarks.points)
        seen = self._runner.embed(crop.cut(portrait.image), rasterise(points), openings(points))
        return PortraitEmbedding(self.name, portrait, {**self._warp.embed(portrait).tensors, **seen})

    def animate(self, embedding: PortraitEmbedding, motion: Motion) -> Image:
        """Paint one frame: (H, W, 3) uint8 RGB of the portrait's size, a fresh array."""
        return self.paint(embedding, target_points(motion, embedding.portrait.landmarks))

    def paint(self, embedding: PortraitEmbedding, target: Floats) -> Image:
        """Like `animate`, for landmarks that are known already: (478, 3) px of the portrait's picture."""
        if self._warped is None or self._warped[0] is not embedding:
            self._warped = embedding, replace(embedding, engine=self._warp.name)
        output = self._warp.paint(self._warped[1], target)
        picture = np.ascontiguousarray(output[..., :3])  # before some backdrops there is alpha, too
        portrait, tensors = embedding.portrait, embedding.tensors
        crop = _crop(portrait.landmarks)
        points = crop.to_square(target)
        warped = crop.cut(picture)
        flow, residual = self._runner.repair(
            warped,
            rasterise(points),
            openings(points),
            head_motion(crop.to_square(portrait.landmarks.points), points),
            psi=np.asarray(tensors["psi"], np.float32),
            features=np.asarray(tensors["features"], np.float32),
        )
        touched = _touched(warped, crop.cut(portrait.image)) * _seam(crop, portrait.landmarks)
        square = np.s_[crop.top : crop.top + crop.side, crop.left : crop.left + crop.side]
        output[square][..., :3] = _repaired(picture[square], flow, residual, touched)
        return output

    def close(self) -> None:
        self._warped = None
        self._warp.close()
        self._runner.close()


def _crop(face: Landmarks) -> Crop:
    return Crop.around(face.points, width_px=face.width_px, height_px=face.height_px)


def _touched(warped: Image, rest: Image) -> Floats:
    """(256, 256) 0..1: where the warp changed the portrait, and a margin around."""
    moved = (cv2.absdiff(warped, rest).max(axis=2) > STILL).astype(np.float32)
    wide = cv2.dilate(moved, np.ones((2 * MARGIN_PX + 1,) * 2, np.uint8))
    return np.asarray(cv2.blur(wide, (MARGIN_PX, MARGIN_PX)), np.float32)


def _seam(crop: Crop, face: Landmarks) -> Floats:
    """(256, 256): 1, falling to 0 towards those edges of the square that are not the picture's."""
    ramp = np.clip((np.arange(SIDE_PX, dtype=np.float32) + 0.5) / SEAM_PX, 0, 1)
    sides = []
    for start, length in ((crop.top, face.height_px), (crop.left, face.width_px)):
        first = ramp if start > 0 else np.ones_like(ramp)
        last = ramp[::-1] if start + crop.side < length else np.ones_like(ramp)
        sides.append(first * last)
    return np.outer(*sides).astype(np.float32)


def _repaired(square: Image, flow: Floats, residual: Floats, touched: Floats) -> Image:
    """The square of the picture, (side, side, 3), after flow and residual of the network's 256 px."""
    side = len(square)
    cover = cv2.resize(touched, (side, side), interpolation=cv2.INTER_LINEAR)[..., None]
    shift = cv2.resize(flow, (side, side), interpolation=cv2.INTER_LINEAR) * (cover * (side / SIDE_PX))
    x, y = np.meshgrid(np.arange(side, dtype=np.float32), np.arange(side, dtype=np.float32))
    moved = cv2.remap(square, x + shift[..., 0], y + shift[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    added = cv2.resize(residual, (side, side), interpolation=cv2.INTER_CUBIC) * (cover * 255)
    return np.clip(moved + added + 0.5, 0, 255).astype(np.uint8)
