"""How a picture of any shape sits in the frame of an output: fitted whole, magnified, shifted, mirrored."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from puppet.types import Image, PuppetError

GROUND = (32, 32, 36)  # RGB beside the picture and behind transparent pixels


class FramingError(PuppetError, ValueError):
    """No picture can be framed like that."""


@dataclass(frozen=True, slots=True)
class Framing:
    """Where the picture sits. To follow something, assign another one with each frame."""

    zoom: float = 1.0  # 1 shows the whole picture, as large as the frame allows; 2 twice as large
    pan_x: float = 0.0  # -1 the left edges of picture and frame meet, 0 centred, 1 the right edges meet
    pan_y: float = 0.0  # the same from top to bottom

    def __post_init__(self) -> None:
        if not 0.1 <= self.zoom <= 20 or not abs(self.pan_x) <= 1 or not abs(self.pan_y) <= 1:
            raise FramingError(f"A zoom lies within 0.1 and 20 and a pan within -1 and 1, unlike {self}.")


def place(image: Image, framing: Framing, *, mirror: bool = False, out: Image) -> None:
    """Paint `image`, (h, w, 3) RGB or (h, w, 4) RGBA, over all of `out`, (H, W, 3) RGB."""
    height_px, width_px, _ = out.shape
    scale = framing.zoom * min(width_px / image.shape[1], height_px / image.shape[0])
    across, from_x = _overlap(image.shape[1], width_px, scale, framing.pan_x)
    down, from_y = _overlap(image.shape[0], height_px, scale, framing.pan_y)
    size = across.stop - across.start, down.stop - down.start
    # Bilinear sampling would skip pixels of what is shrunk to less than half.
    way = cv2.INTER_AREA if scale <= 0.5 else cv2.INTER_LINEAR
    picture = cv2.resize(image[from_y, from_x], size, interpolation=way)
    cv2.rectangle(out, (0, 0), (width_px, height_px), GROUND, cv2.FILLED)
    if mirror:
        across = slice(width_px - across.stop, width_px - across.start)
        picture = cv2.flip(picture, 1)
    if image.shape[2] == 4:
        opacity = cv2.extractChannel(picture, 3).astype(np.float32) / np.float32(255)
        ground = out[down, across].copy()
        picture = cv2.blendLinear(cv2.cvtColor(picture, cv2.COLOR_RGBA2RGB), ground, opacity, 1 - opacity)
    out[down, across] = picture


def _overlap(picture_px: int, frame_px: int, scale: float, pan: float) -> tuple[slice, slice]:
    """Along one axis: which part of the frame is covered, and by which part of the picture."""
    start_px = (frame_px - scale * picture_px) * (1 + pan) / 2
    covered = slice(max(0, round(start_px)), min(frame_px, round(start_px + scale * picture_px)))
    first = round((covered.start - start_px) / scale)
    last = round((covered.stop - start_px) / scale)
    first = min(max(first, 0), picture_px - 1)
    return covered, slice(first, min(max(last, first + 1), picture_px))
