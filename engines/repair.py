"""Laying a network's flow and residual over a picture of any size, so that skin and canvas keep their texture."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from engines.geometry import COARSE_PX, SIDE_PX
from puppet.types import Floats, Image

SHARPNESS: Final = 0.3  # how much of the Laplacian to give back: with it, samples come nearest to Lanczos'


def _blur() -> Floats:
    """(1024,) how much of a picture's Laplacian bilinear sampling adds to it, by where between pixels it samples.

    Along each axis it adds t (1 - t) / 2 of the second difference, to first order. The index is OpenCV's: t in
    thirty-seconds along y, then x.
    """
    t = np.arange(cv2.INTER_TAB_SIZE) / cv2.INTER_TAB_SIZE
    axis = SHARPNESS * t * (1 - t)
    return np.add.outer(axis, axis).ravel().astype(np.float32)


_BLUR: Final = _blur()


class Repair:
    """Repairs squares of one side. It keeps its arrays from frame to frame, for large new ones are slow to come by."""

    def __init__(self, side: int) -> None:
        self._size = (side, side)
        line = np.arange(side, dtype=np.float32)
        self._pixels = np.dstack(np.meshgrid(line, line))  # (side, side, 2): x and y of each
        self._source = np.empty((side, side, 2), np.float32)
        self._whole = np.empty((side, side, 2), np.int16)
        self._phase = np.empty((side, side), np.uint16)
        self._moved = np.empty((side, side, 3), np.uint8)
        self._grey = np.empty((side, side), np.float32)
        self._blurred, self._share = np.empty_like(self._grey), np.empty_like(self._grey)
        self._added = np.empty((side, side, 3), np.float32)
        self._blurred_rgb = np.empty_like(self._added)

    def __call__(self, square: Image, flow: Floats, residual: Floats, *, cover: Floats) -> None:
        """Repair `square` (side, side, 3) in place.

        `flow` (64, 64, 2) is in px of 256, `residual` (256, 256, 3) in 0..1, and `cover` (256, 256) in 0..1 says how
        much of both to take.
        """
        coarse = cv2.resize(cover, (COARSE_PX, COARSE_PX), interpolation=cv2.INTER_AREA)
        scaled = flow * (coarse * (self._size[0] / SIDE_PX))[..., None]
        cv2.resize(scaled, self._size, dst=self._source, interpolation=cv2.INTER_LINEAR)
        cv2.add(self._source, self._pixels, dst=self._source)
        cv2.convertMaps(self._source, None, cv2.CV_16SC2, self._whole, self._phase)
        border = cv2.BORDER_REPLICATE
        cv2.remap(square, self._whole, self._phase, cv2.INTER_LINEAR, dst=self._moved, borderMode=border)
        # A bicubic remap takes four times as long; what a bilinear one blurs is made up for, in grey alone.
        self._grey[:] = cv2.cvtColor(self._moved, cv2.COLOR_RGB2GRAY)
        cv2.Laplacian(self._grey, cv2.CV_32F, dst=self._blurred)
        np.take(_BLUR, self._phase, out=self._share, mode="clip")
        cv2.multiply(self._blurred, self._share, dst=self._blurred)
        cv2.cvtColor(self._blurred, cv2.COLOR_GRAY2RGB, dst=self._blurred_rgb)
        cv2.resize(cv2.multiply(residual, cv2.merge([cover] * 3), scale=255), self._size, dst=self._added)
        cv2.subtract(self._added, self._blurred_rgb, dst=self._added)
        cv2.add(self._moved, self._added, dst=square, dtype=cv2.CV_8U)
