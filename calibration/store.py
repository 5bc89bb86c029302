"""Keeping calibrations, one for each user and camera; points and numbers only, never a picture."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from puppet.settings import config_dir
from puppet.types import BLENDSHAPE_COUNT, LANDMARK_COUNT, Calibration, Landmarks, PuppetError

logger = logging.getLogger(__name__)

VERSION: Final = 2
SHAPES: Final = {
    "version": (),
    "size_px": (2,),
    "points": (LANDMARK_COUNT, 3),
    "blendshapes": (BLENDSHAPE_COUNT,),
    "pose": (4, 4),
    "eye_closed": (2,),
    "eye_open": (2,),
    "mouth_open": (),
}


class StoreError(PuppetError, OSError):
    """A calibration cannot be saved."""


def path_of(camera: str, *, user: str = "") -> Path:
    """The file of a user's calibration for a camera, both by any name; not necessarily there."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", f"{user} {camera}").strip("-")[:40]
    digest = hashlib.sha256(f"{user}\0{camera}".encode()).hexdigest()[:12]  # tells apart what reads the same
    return config_dir() / "calibrations" / f"{readable}-{digest}.npz"


def save(calibration: Calibration, camera: str, *, user: str = "") -> None:
    """Keep it, replacing the one before; the file appears whole or not at all. Raises StoreError."""
    path, neutral = path_of(camera, user=user), calibration.neutral
    temporary = path.with_name(f".{secrets.token_hex(4)}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            temporary,
            version=VERSION,
            size_px=[neutral.width_px, neutral.height_px],
            points=neutral.points,
            blendshapes=neutral.blendshapes,
            pose=neutral.pose,
            eye_closed=calibration.eye_closed,
            eye_open=calibration.eye_open,
            mouth_open=calibration.mouth_open,
        )
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"The calibration cannot be saved to {path}: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):  # it says no more than the error above
            temporary.unlink(missing_ok=True)


def load(camera: str, *, user: str = "") -> Calibration | None:
    """The calibration kept for this camera; None, with a warning if a file is there that cannot be read."""
    path = path_of(camera, user=user)
    if not path.exists():
        return None
    try:
        return _read(path)
    except (OSError, ValueError, KeyError, EOFError, TypeError, BadZipFile) as error:
        logger.warning("The calibration in %s is ignored, calibrate again: %s", path, error)
        return None


def forget(camera: str, *, user: str = "") -> None:
    """Delete what was kept, if anything was."""
    path_of(camera, user=user).unlink(missing_ok=True)


def _read(path: Path) -> Calibration:
    with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
        arrays: dict[str, NDArray[np.generic]] = {name: file[name] for name in SHAPES}
    for name, shape in SHAPES.items():
        if arrays[name].shape != shape or not np.all(np.isfinite(arrays[name].astype(np.float64))):
            raise ValueError(f"{name} is not {shape} finite numbers")
    if int(arrays["version"]) != VERSION:
        raise ValueError(f"it is of version {int(arrays['version'])}, not {VERSION}")
    width_px, height_px = arrays["size_px"].astype(int).tolist()
    points, blendshapes, pose, eye_closed, eye_open = (
        arrays[name].astype(np.float32) for name in ("points", "blendshapes", "pose", "eye_closed", "eye_open")
    )
    if width_px < 1 or height_px < 1 or np.any(eye_open <= eye_closed):
        raise ValueError("its numbers contradict each other")
    return Calibration(
        neutral=Landmarks(points, blendshapes, pose, width_px, height_px),
        eye_closed=eye_closed,
        eye_open=eye_open,
        mouth_open=float(arrays["mouth_open"]),
    )
