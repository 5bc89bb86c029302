"""What stands behind the person instead of the portrait's own background."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import cv2
import numpy as np

from puppet.picture import read_picture
from puppet.types import Image, Portrait, PortraitEmbedding, PuppetError

CHOICES = "own, blur, green, transparent, a colour such as #336699, or a picture file"
GREEN = (0, 255, 0)  # what chroma keys look for unless told otherwise
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
BLUR = 0.025  # standard deviation, of the longer side: shapes stay, things are past recognition


class BackdropError(PuppetError, ValueError):
    """There is no such background."""


def with_backdrop(embedding: PortraitEmbedding, choice: str) -> PortraitEmbedding:
    """The same person before the chosen background; see `backdrop`."""
    return dataclasses.replace(embedding, backdrop=backdrop(embedding.portrait, choice))


def backdrop(portrait: Portrait, choice: str) -> Image | None:
    """A picture of the portrait's size, (H, W, 3) uint8 RGB; None for "own", (H, W, 4) zeros for "transparent".

    choice: one of CHOICES. A picture is cut to the portrait's shape around its middle. Raises BackdropError, and
    PictureError for a file that is no picture.
    """
    height_px, width_px = portrait.image.shape[:2]
    if choice == "own":
        return None
    if choice == "blur":
        sigma_px = BLUR * max(height_px, width_px)
        return np.asarray(cv2.GaussianBlur(portrait.background, (0, 0), sigma_px), np.uint8)
    if choice == "green":
        return _filled(portrait, GREEN)
    if choice == "transparent":
        return _filled(portrait, (0, 0, 0, 0))
    if COLOUR.fullmatch(choice):
        return _filled(portrait, tuple(bytes.fromhex(choice[1:])))
    path = Path(choice)
    if not path.suffix and not path.exists():
        raise BackdropError(f"There is no background {choice!r}; choose {CHOICES}.")
    return covering(read_picture(path, long_side_px=2 * max(height_px, width_px)), width_px, height_px)


def _filled(portrait: Portrait, colour: tuple[int, ...]) -> Image:
    return np.full((*portrait.image.shape[:2], len(colour)), colour, np.uint8)


def covering(picture: Image, width_px: int, height_px: int) -> Image:
    """The largest middle part of `picture` that has the wanted shape, at the wanted size."""
    scale = max(width_px / picture.shape[1], height_px / picture.shape[0])
    part_width, part_height = round(width_px / scale), round(height_px / scale)
    left, top = (picture.shape[1] - part_width) // 2, (picture.shape[0] - part_height) // 2
    part = picture[top : top + part_height, left : left + part_width]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(part, (width_px, height_px), interpolation=interpolation), np.uint8)
