"""Decoding any picture file into upright 8-bit sRGB."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from struct import error as StructError

import numpy as np
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps, UnidentifiedImageError

from puppet.types import Image, PuppetError

logger = logging.getLogger(__name__)

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
LARGEST_PX = 110_000_000  # a 100-megapixel camera's picture with some to spare
SMALLEST_SIDE_PX = 64
GROUND = (128, 128, 128)  # behind transparent pixels: neutral, neither glaring nor gloomy around a cut-out head


class PictureError(PuppetError, ValueError):
    """A file cannot be used as a picture."""


class UnknownPicture(PictureError):
    """A file is of no kind of picture that is known; it may be a video."""


def read_picture(path: Path, *, long_side_px: int | None = None) -> Image:
    """Decode the first frame of a JPEG, PNG, WebP, BMP, TIFF or GIF file as (H, W, 3) uint8 RGB.

    EXIF rotation and colour profile are applied, transparency lies over mid-grey, deeper channels are reduced to
    8 bits. The longer side is brought down to `long_side_px`, decoding at reduced size where the format can; nothing
    is enlarged. Raises PictureError.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)  # our own limit follows
            picture = Pillow.open(path, formats=FORMATS)
        with picture:
            _check_size(picture.size, path)
            return _decoded(picture, long_side_px)
    except PictureError:
        raise
    except FileNotFoundError as error:
        raise PictureError(f"There is no file {path}; check its name.") from error
    except IsADirectoryError as error:
        raise PictureError(f"{path} is a folder; name a picture file in it.") from error
    except Pillow.DecompressionBombError as error:
        raise PictureError(_too_large(path)) from error
    except UnidentifiedImageError as error:
        raise UnknownPicture(_unidentified(path)) from error
    except PermissionError as error:
        raise PictureError(f"{path} may not be read; change its permissions or copy it elsewhere.") from error
    except (OSError, SyntaxError, ValueError, EOFError, StructError) as error:  # what Pillow's decoders raise
        raise PictureError(f"{path} is damaged or incomplete ({error}); get the picture again.") from error


def _check_size(size: tuple[int, int], path: Path) -> None:
    width_px, height_px = size
    if width_px * height_px > LARGEST_PX:
        raise PictureError(_too_large(path))
    if min(size) < SMALLEST_SIDE_PX:
        raise PictureError(
            f"{path} is {width_px}x{height_px} px, too small for a portrait; "
            f"use a picture of at least {SMALLEST_SIDE_PX} px a side."
        )


def _too_large(path: Path) -> str:
    return f"{path} has more than {LARGEST_PX // 1_000_000} megapixels; reduce the picture first."


def _unidentified(path: Path) -> str:
    if path.stat().st_size == 0:
        return f"{path} is empty (0 bytes); get the picture again."
    return f"{path} is no picture that can be read; use a JPEG, PNG, WebP, BMP, TIFF or GIF file."


def _decoded(picture: Pillow.Image, long_side_px: int | None) -> Image:
    orientation = picture.getexif()  # read before decoding at reduced size forgets it
    profile = picture.info.get("icc_profile")
    if long_side_px is not None:
        picture.draft(None, (2 * long_side_px, 2 * long_side_px))
    picture.load()
    picture = _eight_bit(picture)
    if long_side_px is not None:
        picture.thumbnail((long_side_px, long_side_px), Pillow.Resampling.LANCZOS, reducing_gap=2.0)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Pillow.alpha_composite(Pillow.new("RGBA", picture.size, (*GROUND, 255)), picture).convert("RGB")
    picture = _in_srgb(picture, profile)
    picture.getexif().update(orientation)
    return np.array(ImageOps.exif_transpose(picture))


def _eight_bit(picture: Pillow.Image) -> Pillow.Image:
    """The same picture in a mode that can be resampled: L, LA, RGB, RGBA or CMYK."""
    if picture.mode in ("P", "PA", "1"):
        return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    if picture.mode.startswith("I;16"):
        return Pillow.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):  # 32 bits, of which no one says what is white: the brightest pixel is
        values = np.asarray(picture, np.float32)
        return Pillow.fromarray((values * (255 / max(float(values.max()), 1e-6))).clip(0, 255).astype(np.uint8))
    return picture


def _in_srgb(picture: Pillow.Image, profile: bytes | None) -> Pillow.Image:
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):  # else nothing to do, and rounding would do harm
                target = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(picture, source, target, outputMode="RGB")
                return converted if converted is not None else picture
        except (ImageCms.PyCMSError, OSError) as error:
            logger.warning("The picture's colour profile cannot be used (%s); its colours may be off.", error)
    return picture.convert("RGB")
