"""The person as a layer that moves over the still background: cut out, continued beyond the picture, laid over it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.types import Image

MARGIN = 0.25  # of the longer side, that is added around the person


def foreground(image: Image, background: Image, matte: NDArray[np.uint8]) -> Image:
    """(h, w, 4) uint8 RGB and matte that, laid over `background`, give `image` again.

    Where the matte is too faint to tell the picture from the in-painted background, as in stray hair, it is raised to
    the least with which some colour can.
    """
    picture, behind = image.astype(np.float32), background.astype(np.float32)
    room = np.where(picture > behind, 255 - behind, behind)
    least = (np.abs(picture - behind) / np.maximum(room, 1)).max(axis=-1)
    cover = np.where(matte > 0, np.maximum(matte / np.float32(255), np.minimum(least, 1)), 0)
    cover = np.ceil(cover * 255) / 255
    colour = behind + (picture - behind) / np.maximum(cover, 1 / 255)[..., None]
    return np.dstack([np.clip(np.rint(colour), 0, 255), 255 * cover]).round().astype(np.uint8)


def padded(person: Image) -> tuple[Image, int]:
    """`person` (h, w, 4) with a margin on each side, and its width in px.

    Colours are mirrored there, since repeating them would leave streaks; the matte is not, since that would bring in a
    second head beside the first.
    """
    pad_px = round(MARGIN * max(person.shape[:2]))
    colour = cv2.copyMakeBorder(person, pad_px, pad_px, pad_px, pad_px, cv2.BORDER_REFLECT_101)
    matte = cv2.copyMakeBorder(person[..., 3], pad_px, pad_px, pad_px, pad_px, cv2.BORDER_REPLICATE)
    colour[..., 3] = matte
    return colour, pad_px


def over(person: Image, background: Image) -> Image:
    """`person` (h, w, 4) over `background` (h, w, 3), or (h, w, 4) for a result that has alpha as well."""
    colour = cv2.cvtColor(person, cv2.COLOR_RGBA2RGB)  # 25 times as fast as numpy's copy of a slice
    matte = cv2.extractChannel(person, 3)
    if background.shape[2] == 3:
        painted = background.copy()
        cv2.copyTo(colour, matte, painted)
        rim = np.flatnonzero(cv2.inRange(matte, 1, 254).view(bool))  # few: elsewhere it is the one or the other
        under, above = (np.take(each.reshape(-1, 3), rim, axis=0).astype(np.float32) for each in (background, colour))
        above -= under
        above *= matte.ravel()[rim, None] * np.float32(1 / 255)
        above += under + np.float32(0.5)
        painted.reshape(-1, 3)[rim] = above.astype(np.uint8)
        return painted
    cover = matte * np.float32(1 / 255)
    alpha = cover + (1 - cover) * background[..., 3] * np.float32(1 / 255)
    share = cover / np.maximum(alpha, 1e-6)
    mixed = cv2.blendLinear(colour, np.ascontiguousarray(background[..., :3]), share, 1 - share)
    return np.dstack([mixed, np.rint(255 * alpha).astype(np.uint8)])
