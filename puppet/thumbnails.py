"""Small pictures of portraits: a square around the face, still or moving, kept on disk once it was made."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image as Pillow

from puppet.faces import find_face
from puppet.library import Entry
from puppet.markers import fitted
from puppet.motion import Retargeter
from puppet.picture import read_picture
from puppet.portrait import Selection, prepare
from puppet.recording import Recording
from puppet.settings import asset, cache_dir
from puppet.tracking import detect, face_width_px
from puppet.types import Engine, Image, Landmarks, Motion

logger = logging.getLogger(__name__)

SIDE_PX: Final = 192  # twice what is shown, for dense screens
FPS: Final = 15
BEGIN_S, END_S = 4.9, 8.7  # in the bundled motion: the head looks around, from rest to rest
FRAMES: Final = round((END_S - BEGIN_S) * FPS)
REACH: Final = 1.9  # side of the square, in face widths
SEARCHED_PX: Final = 640
MOST_FACES: Final = 8
VERSION: Final = 1  # raise it whenever the same entry would give other pictures
QUALITY: Final = 88


def still(entry: Entry, *, folder: Path | None = None) -> Image:
    """(SIDE_PX, SIDE_PX, 3) uint8 RGB: the face at rest. Raises PictureError."""
    file = _file(entry, "still", folder)
    kept = _read(file, frames=1)
    if kept is not None:
        return kept[0]
    image = read_picture(entry.picture, long_side_px=SEARCHED_PX)
    left, top, right, bottom = _square(entry, image)
    part = image[top:bottom, left:right]
    thumbnail = cv2.resize(part, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.uint8)
    _keep(file, [thumbnail])
    return thumbnail


def film(entry: Entry, engine: Engine, *, folder: Path | None = None) -> list[Image]:
    """FRAMES pictures like the still one, FPS of them a second, moved by `engine`. Raises PictureError, NoFaceError."""
    file = _file(entry, f"film {engine.name}", folder)
    kept = _read(file, frames=FRAMES)
    if kept is not None:
        return kept
    image = read_picture(entry.picture, long_side_px=SEARCHED_PX)
    left, top, right, bottom = _square(entry, image)
    height_px, width_px = image.shape[:2]
    crop = (left / width_px, top / height_px, right / width_px, bottom / height_px)
    portrait = prepare(entry.picture, selection=replace(entry.selection, crop=crop), long_side_px=SIDE_PX)
    embedding = engine.embed(portrait)
    painted = [engine.animate(embedding, motion) for motion in _motions()]
    frames = [cv2.resize(frame, (SIDE_PX, SIDE_PX)).astype(np.uint8) for frame in painted]
    _keep(file, frames)
    return frames


def _square(entry: Entry, image: Image) -> tuple[int, int, int, int]:
    """Left, top, right and bottom px of the part of `image`, the entry's whole picture, that is shown."""
    size = np.array([image.shape[1], image.shape[0]])
    low, high = np.rint(np.array(entry.selection.crop).reshape(2, 2) * size).astype(int)
    face = _face(entry.selection, image[low[1] : high[1], low[0] : high[0]])
    side_px = float((high - low).min())
    centre = low + (0.5, 0.42) * (high - low)
    if face is not None:
        side_px = min(side_px, REACH * face_width_px(face))
        centre = low + face.points[:, :2].mean(axis=0)
    left, top = np.clip(centre - side_px / 2, low, high - side_px).astype(int).tolist()
    return left, top, left + max(2, int(side_px)), top + max(2, int(side_px))


def _face(selection: Selection, part: Image) -> Landmarks | None:
    """The selected face in the selected part of the picture; a quick look first, then a thorough one."""
    height_px, width_px = part.shape[:2]
    markers = [selection.in_crop(each, width_px=width_px, height_px=height_px) for each in selection.markers]
    if markers:
        return fitted(markers, width_px=width_px, height_px=height_px)
    at = selection.face and selection.in_crop(selection.face, width_px=width_px, height_px=height_px)
    faces = detect(part, faces=MOST_FACES)
    if at is not None:
        faces = [face for face in faces if np.abs(face.points[:, :2].mean(axis=0) - at).max() < face_width_px(face) / 2]
    return faces[0] if faces else find_face(part, at=at)


@cache
def sample_motions() -> tuple[Motion, ...]:
    """The bundled motion, one for each of its frames, with their times."""
    recording = Recording.load(asset("sample.motion"))
    retargeter = Retargeter()
    return tuple(
        retargeter(face, index=index, time_ns=round(index * 1_000_000_000 / recording.fps))
        for index, face in enumerate(recording)
    )


def _motions() -> list[Motion]:
    """Some of it that can be shown again and again."""
    motions = sample_motions()
    frame_s = motions[1].time_ns * 1e-9
    return [motions[round((BEGIN_S + frame / FPS) / frame_s)] for frame in range(FRAMES)]


def _file(entry: Entry, kind: str, folder: Path | None) -> Path:
    """The path and the time of the picture stand for its content, which would take long to read."""
    about = entry.picture.stat() if entry.picture.exists() else None
    told = f"{VERSION} {kind} {entry.picture} {about and about.st_mtime_ns} {about and about.st_size} {entry.selection}"
    return (folder or cache_dir() / "thumbnails") / f"{hashlib.sha256(told.encode()).hexdigest()}.jpg"


def _read(file: Path, *, frames: int) -> list[Image] | None:
    """The pictures of a file, which has them one below the other; None if it has not."""
    try:
        with Pillow.open(file) as picture:
            stack = np.asarray(picture.convert("RGB"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, SyntaxError, ValueError) as error:
        logger.warning("The thumbnail %s cannot be used (%s); making it again.", file, error)
        return None
    return list(stack.reshape(frames, SIDE_PX, SIDE_PX, 3)) if stack.shape == (frames * SIDE_PX, SIDE_PX, 3) else None


def _keep(file: Path, frames: list[Image]) -> None:
    temporary = file.with_name(f".{secrets.token_hex(4)}.jpg")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            Pillow.fromarray(np.concatenate(frames)).save(temporary, quality=QUALITY)
            os.replace(temporary, file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("The thumbnail is not kept for next time: %s cannot be written (%s)", file, error.strerror)
