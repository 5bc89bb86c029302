"""From a picture file to a portrait that an engine can bring to life, and the cache that has it ready at once."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from puppet.faces import find_face
from puppet.markers import face_at
from puppet.matting import person_matte, still_background
from puppet.picture import SMALLEST_SIDE_PX, PictureError, read_picture
from puppet.settings import cache_dir
from puppet.types import Engine, Image, Landmarks, Portrait, PortraitEmbedding, PuppetError

logger = logging.getLogger(__name__)

PREPARATION = 6  # raise it whenever the same file would give another portrait
CACHE_BYTES = 1_000_000_000  # some 140 portraits of 1024 px


class NoFaceError(PuppetError, LookupError):
    """A picture holds no face that can be found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which part of a picture becomes the portrait, and whose face in it.

    All places are fractions of the upright picture's width and height, and so the same at any size.
    """

    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)  # left, top, right, bottom
    face: tuple[float, float] | None = None  # a place on the chosen face; None for the largest
    markers: tuple[tuple[float, float], ...] = ()  # five points placed by hand, if any; see puppet.markers

    def __post_init__(self) -> None:
        left, top, right, bottom = self.crop
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ValueError(f"{self.crop} is no part of a picture")

    def in_crop(self, place: tuple[float, float], *, width_px: int, height_px: int) -> tuple[float, float]:
        """A place in px of the cropped picture, which is of this size."""
        left, top, right, bottom = self.crop
        return (place[0] - left) / (right - left) * width_px, (place[1] - top) / (bottom - top) * height_px


WHOLE: Final = Selection()


def prepare(path: Path, *, selection: Selection = WHOLE, long_side_px: int | None = 1024) -> Portrait:
    """Read a picture, find the selected face, and part the person from the background.

    The portrait has the selected part's own size or, if that is larger, a longer side of `long_side_px` (None: any
    size); an odd last row or column is cut off. Raises PictureError and NoFaceError.
    """
    image = _selected(path, selection, long_side_px)
    height_px, width_px = image.shape[:2]
    if selection.markers:
        landmarks = face_at(
            image, [selection.in_crop(each, width_px=width_px, height_px=height_px) for each in selection.markers]
        )
    else:
        at = selection.face and selection.in_crop(selection.face, width_px=width_px, height_px=height_px)
        found = find_face(image, at=at)
        if found is None:
            raise NoFaceError(
                f"No face was found in {path}; use a picture in which one is seen from the front and fills more of it."
            )
        landmarks = found
    matte = person_matte(image, landmarks)
    key = file_key(path, selection, long_side_px)
    return Portrait(image, landmarks, matte, still_background(image, matte), key)


def _selected(path: Path, selection: Selection, long_side_px: int | None) -> Image:
    left, top, right, bottom = selection.crop
    decoded_px = None if long_side_px is None else math.ceil(long_side_px / min(right - left, bottom - top))
    image = read_picture(path, long_side_px=decoded_px)
    height_px, width_px = image.shape[:2]
    image = image[round(top * height_px) : round(bottom * height_px), round(left * width_px) : round(right * width_px)]
    if max(image.shape[:2]) < SMALLEST_SIDE_PX:
        raise PictureError(
            f"The selected part of {path} is {image.shape[1]}x{image.shape[0]} px, too small for a portrait; "
            f"select {SMALLEST_SIDE_PX} px at least."
        )
    if long_side_px is not None and max(image.shape) > long_side_px:
        scale = long_side_px / max(image.shape)
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])


def embed(
    path: Path,
    engine: Engine,
    *,
    selection: Selection = WHOLE,
    long_side_px: int | None = 1024,
    cache: Path | None = None,
) -> PortraitEmbedding:
    """What is selected of a picture file as `engine` needs it, from the `cache` folder when it was asked for before.

    The folder is the user's own by default. What is in it is only ever a copy: a file that is damaged, or a folder
    that cannot be written, costs time and a log line, nothing else. Raises PictureError and NoFaceError.
    """

    def make() -> Portrait:
        return prepare(path, selection=selection, long_side_px=long_side_px)

    try:
        key = file_key(path, selection, long_side_px)
    except OSError:  # preparing it says what is wrong with the file
        return engine.embed(make())
    return kept(key, engine, make, cache=cache)


def kept(key: str, engine: Engine, make: Callable[[], Portrait], *, cache: Path | None = None) -> PortraitEmbedding:
    """The portrait of that key as `engine` needs it, from the `cache` folder, or made and left there; see `embed`."""
    folder = cache or cache_dir() / "portraits"
    version = str(getattr(engine, "version", ""))
    name = hashlib.sha256(f"{key} {engine.name} {version}".encode()).hexdigest()
    file = folder / f"{name}.safetensors"
    if file.exists():
        try:
            return _load(file, key=key, engine=engine.name)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            logger.warning("The cached portrait %s cannot be used (%s); making it again", file, error)
    embedding = engine.embed(make())
    try:
        _store(embedding, file)
        _prune(folder)
    except OSError as error:
        logger.warning("The portrait is not kept for next time: %s cannot be written (%s)", folder, error.strerror)
    return embedding


def file_key(path: Path, selection: Selection, long_side_px: int | None) -> str:
    """sha256 over the file's content, what is selected of it, the size asked for and the way of preparation."""
    if not path.is_file():
        raise FileNotFoundError(path)  # or a device, which may have no end
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(f"{content} {selection} {long_side_px} {PREPARATION}".encode()).hexdigest()


def _load(file: Path, *, key: str, engine: str) -> PortraitEmbedding:
    with safe_open(file, framework="numpy") as stored:
        about: Mapping[str, str] = stored.metadata() or {}
        if about.get("key") != key or about.get("engine") != engine:
            raise ValueError("it is of another portrait")
        tensors: dict[str, Any] = {name: stored.get_tensor(name) for name in stored.keys()}
    image, points = tensors.pop("portrait.image"), tensors.pop("portrait.points")
    landmarks = Landmarks(
        points, tensors.pop("portrait.blendshapes"), tensors.pop("portrait.pose"), image.shape[1], image.shape[0]
    )
    portrait = Portrait(image, landmarks, tensors.pop("portrait.matte"), tensors.pop("portrait.background"), key)
    os.utime(file)  # the least recently used goes first
    return PortraitEmbedding(engine, portrait, {name.removeprefix("engine."): each for name, each in tensors.items()})


def _store(embedding: PortraitEmbedding, file: Path) -> None:
    portrait = embedding.portrait
    tensors: dict[str, NDArray[np.generic]] = {
        "portrait.image": portrait.image,
        "portrait.matte": portrait.matte,
        "portrait.background": portrait.background,
        "portrait.points": portrait.landmarks.points,
        "portrait.blendshapes": portrait.landmarks.blendshapes,
        "portrait.pose": portrait.landmarks.pose,
    }
    tensors |= {f"engine.{name}": tensor for name, tensor in embedding.tensors.items()}
    packed = save(
        {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
        {"key": portrait.key, "engine": embedding.engine},
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".tmp", delete=False) as temporary:
        try:
            temporary.write(packed)
            temporary.close()
            os.replace(temporary.name, file)
        except OSError:
            Path(temporary.name).unlink(missing_ok=True)
            raise


def _prune(folder: Path) -> None:
    """Remove the least recently used portraits until the folder is within bounds; the newest stays."""
    files = sorted(folder.glob("*.safetensors"), key=lambda file: file.stat().st_mtime, reverse=True)
    total_bytes = 0
    for count, file in enumerate(files):
        total_bytes += file.stat().st_size
        if count > 0 and total_bytes > CACHE_BYTES:
            file.unlink()
