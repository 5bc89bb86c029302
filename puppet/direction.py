"""What becomes of a picture after the engine: a new portrait is faded in, and a part of it may be shown larger."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from puppet.backdrop import covering
from puppet.motion import head_size
from puppet.settings import FramingSettings
from puppet.smoothing import smoothstep
from puppet.types import Closing, Engine, Image, Landmarks, Motion, Portrait, PortraitEmbedding

FADE_S: Final = 0.25


class Director(Closing):
    """An Engine around another: it fades in each new embedding and frames what is painted.

    `framing` may be assigned at any time. The inner engine stays its maker's, to be closed later, and so does one that
    is lent for an embedding.
    """

    def __init__(self, engine: Engine, framing: FramingSettings) -> None:
        self.name = engine.name
        self.framing = framing
        self._engine = self._painter = engine
        self._lent: tuple[PortraitEmbedding, Engine | None] | None = None
        self._embedding: PortraitEmbedding | None = None
        self._painted: Image | None = None  # the last picture, before framing
        self._leaving: Image | None = None  # the picture that is being faded out
        self._faded_from_ns = 0

    @property
    def frugal(self) -> bool:
        return self._painter.frugal

    @frugal.setter
    def frugal(self, frugal: bool) -> None:
        self._painter.frugal = frugal

    def embed(self, portrait: Portrait | PortraitEmbedding) -> PortraitEmbedding:
        return self._engine.embed(portrait)

    def lend(self, embedding: PortraitEmbedding, engine: Engine | None) -> None:
        """Have `engine`, if any, paint this embedding instead of the inner one, once it is shown. From any thread."""
        self._lent = embedding, engine

    def animate(self, embedding: PortraitEmbedding, motion: Motion) -> Image:
        if embedding is not self._embedding:
            lent, engine = self._lent or (None, None)
            self._painter = engine if engine is not None and lent is embedding else self._engine
            self.name = self._painter.name
            self._embedding, self._leaving, self._faded_from_ns = embedding, self._painted, motion.time_ns
        self._painted = self._faded(self._painter.animate(embedding, motion), motion.time_ns)
        return framed(self._painted, self.framing, _centre(embedding.portrait.landmarks, motion))

    def realism(self) -> float | None:
        return self._painter.realism()

    def close(self) -> None:
        """Nothing to do."""

    def _faded(self, painted: Image, time_ns: int) -> Image:
        """Over what was shown before, while that is going; what is opaque and what is not cannot be mixed."""
        gone = (time_ns - self._faded_from_ns) * 1e-9 / FADE_S
        if self._leaving is None or self._leaving.shape[2] != painted.shape[2] or not 0.0 <= gone < 1.0:
            self._leaving = None
            return painted
        if self._leaving.shape != painted.shape:
            self._leaving = covering(self._leaving, painted.shape[1], painted.shape[0])
        weight = float(smoothstep(gone))
        return np.asarray(cv2.addWeighted(painted, weight, self._leaving, 1.0 - weight, 0.0), np.uint8)


def framed(image: Image, framing: FramingSettings, face: tuple[float, float]) -> Image:
    """The part of `image`, (H, W, 3) or (H, W, 4), that `framing` shows, at the size of all.

    face: the middle of the painted face, in picture widths from the top left.
    """
    if framing.zoom <= 1.0:
        return image
    height_px, width_px = image.shape[:2]
    part = np.array([width_px, height_px]) / framing.zoom
    spare = np.array([width_px, height_px]) - part
    corner = np.array(face) * width_px - part / 2 if framing.follow else spare / 2
    corner = np.clip(corner + np.array([framing.pan_x, framing.pan_y]) * spare / 2, 0.0, spare)
    matrix = np.column_stack([np.eye(2) * framing.zoom, -corner * framing.zoom])
    return np.asarray(cv2.warpAffine(image, matrix, (width_px, height_px), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _centre(face: Landmarks, motion: Motion) -> tuple[float, float]:
    moved = face.points[:, :2].mean(axis=0) + motion.strength * motion.translation * head_size(face.points)
    return float(moved[0] / face.width_px), float(moved[1] / face.width_px)
