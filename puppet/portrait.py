"""From a picture file to a portrait that an engine can bring to life, and the cache that has it ready at once."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from puppet.faces import find_face
from puppet.matting import person_matte, still_background
from puppet.picture import read_picture
from puppet.types import Engine, Landmarks, Portrait, PortraitEmbedding, PuppetError

logger = logging.getLogger(__name__)

PREPARATION = 1  # raise it whenever the same file would give another portrait
CACHE_BYTES = 1_000_000_000  # some 140 portraits of 1024 px


class NoFaceError(PuppetError, LookupError):
    """A picture holds no face that can be found."""


def prepare(path: Path, *, long_side_px: int | None = 1024) -> Portrait:
    """Read a picture, find its (largest) face, and part the person from the background.

    The portrait has the picture's own size or, if that is larger, a longer side of `long_side_px` (None: any size);
    an odd last row or column is cut off. Raises PictureError and NoFaceError.
    """
    image = read_picture(path, long_side_px=long_side_px)
    image = np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])
    landmarks = find_face(image)
    if landmarks is None:
        raise NoFaceError(
            f"No face was found in {path}; use a picture in which one is seen from the front and fills more of it."
        )
    matte = person_matte(image, landmarks)
    key = _portrait_key(path, long_side_px=long_side_px)
    return Portrait(image, landmarks, matte, still_background(image, matte), key)


def embed(
    path: Path, engine: Engine, *, long_side_px: int | None = 1024, cache: Path | None = None
) -> PortraitEmbedding:
    """The portrait in a picture file as `engine` needs it, from the `cache` folder when it was asked for before.

    The folder is the user's own by default. What is in it is only ever a copy: a file that is damaged, or a folder
    that cannot be written, costs time and a log line, nothing else. Raises PictureError and NoFaceError.
    """
    folder = cache or Path(platformdirs.user_cache_dir("puppet")) / "portraits"
    try:
        key = _portrait_key(path, long_side_px=long_side_px)
    except OSError:
        return engine.embed(prepare(path, long_side_px=long_side_px))  # says what is wrong with the file
    version = str(getattr(engine, "version", ""))
    name = hashlib.sha256(f"{key} {engine.name} {version}".encode()).hexdigest()
    file = folder / f"{name}.safetensors"
    if file.exists():
        try:
            return _load(file, key=key, engine=engine.name)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            logger.warning("The cached portrait %s cannot be used (%s); making it again", file, error)
    embedding = engine.embed(prepare(path, long_side_px=long_side_px))
    try:
        _store(embedding, file)
        _prune(folder)
    except OSError as error:
        logger.warning("The portrait is not kept for next time: %s cannot be written (%s)", folder, error.strerror)
    return embedding


def _portrait_key(path: Path, *, long_side_px: int | None) -> str:
    """sha256 over the file's content, the size asked for and the way of preparation."""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(f"{content} {long_side_px} {PREPARATION}".encode()).hexdigest()


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
