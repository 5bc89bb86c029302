"""Several pictures of one person as one portrait: where they come from, and which of them belong to it.

The further pictures come from picture files, and from videos, of which the most different good frames are taken.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from puppet import identity
from puppet.faces import find_faces
from puppet.frames import different, different_frames
from puppet.overlay import Album, album_of
from puppet.picture import UnknownPicture, read_picture
from puppet.portrait import WHOLE, NoFaceError, Selection, file_key, kept, prepare
from puppet.portrait import embed as embed_portrait
from puppet.tracking import face_width_px
from puppet.types import Engine, Image, Landmarks, Portrait, PortraitEmbedding, PuppetError
from puppet.video import VideoFile, VideoUnreadable

logger = logging.getLogger(__name__)

MOST_PICTURES: Final = 32  # of one person, the portrait itself included
SMALLEST_FACE: Final = 0.4  # of the portrait's face; a smaller one would be a blur over it
TRACKED: Final = 0.5  # of the time in which a video gives pictures, the face is being followed
PREPARATION: Final = 1  # raise it whenever the same files would give another album


class StrangersError(PuppetError, ValueError):
    """The further pictures show somebody else."""


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A face in a picture or a frame, as it was found."""

    path: Path  # of the picture, or of the video
    image: Image
    face: Landmarks
    is_frame: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What files show: the portrait's person, somebody else, or the person too small beside the portrait."""

    usable: tuple[Shot, ...]
    strangers: tuple[Shot, ...]
    small: tuple[Shot, ...]
    refused: tuple[PuppetError, ...] = ()  # what was wrong with other files


def embed(
    path: Path,
    engine: Engine,
    *,
    also: Sequence[Path] = (),
    selection: Selection = WHOLE,
    long_side_px: int | None = 1024,
    cache: Path | None = None,
) -> PortraitEmbedding:
    """What is selected of a picture file, with further pictures and videos of the same person, as `engine` needs it.

    Comes from the `cache` folder as in `portrait.embed`, which this is if there are none. Those of somebody else, or
    with too small a face, are left out with a warning. Raises PictureError, VideoUnreadable, NoFaceError and, where
    nobody is left, StrangersError.
    """
    if not also:
        return embed_portrait(path, engine, selection=selection, long_side_px=long_side_px, cache=cache)

    def make() -> Portrait:
        return gather(path, also, selection=selection, long_side_px=long_side_px)

    try:
        key = _key(path, also, selection, long_side_px)
    except OSError:  # making it says what is wrong with the file
        return engine.embed(make())
    return kept(key, engine, make, cache=cache)


def gather(
    path: Path, also: Sequence[Path], *, selection: Selection = WHOLE, long_side_px: int | None = 1024
) -> Portrait | Album:
    """The portrait at `path`, an album if there are further pictures and videos; see `embed` for what it raises."""
    portrait = prepare(path, selection=selection, long_side_px=long_side_px)
    if not also:
        return portrait
    found = _sorted([shot for each in also for shot in _shots(each, portrait, long_side_px)], portrait)
    _warn(path, found)
    shots = found.usable
    chosen = different([shot.face.points for shot in shots], portrait.landmarks.points, most=MOST_PICTURES - 1)
    if len(chosen) < len(shots):
        logger.info("%d of %d further pictures are different enough to be used.", len(chosen), len(shots))
    key = _key(path, also, selection, long_side_px)
    return album_of(portrait, [(shots[index].image, shots[index].face) for index in sorted(chosen)], key=key)


def look_through(
    files: Sequence[Path],
    *,
    path: Path,
    known: Sequence[Path] = (),
    selection: Selection = WHOLE,
    long_side_px: int = 1024,
    progress: Callable[[float], None] = lambda done: None,
) -> Findings:
    """What pictures and videos show of the portrait at `path`, which has the further pictures `known` already.

    The frames found can be kept as pictures: `gather` will find the face in them. progress: told what part is done;
    what it raises ends this. Raises what `portrait.prepare` raises, but refuses a file for being no good alone.
    """
    portrait = prepare(path, selection=selection, long_side_px=long_side_px)
    shots: list[Shot] = []
    refused: list[PuppetError] = []
    for index, file in enumerate(files):

        def tell(done: float, index: int = index) -> None:
            progress((index + done) / len(files) / 2)

        try:
            found = list(_shots(file, portrait, long_side_px, tell))
        except PuppetError as error:
            refused.append(error)
            continue
        for place, shot in enumerate(found, 1):
            if not shot.is_frame or find_faces(shot.image):
                shots.append(shot)
            tell(TRACKED + (1 - TRACKED) * place / len(found))
    familiar: list[Shot] = []
    for file in known:
        progress(0.5)  # which may end it
        familiar += _shots(file, portrait, long_side_px)
    findings = _sorted(shots, portrait, familiar, lambda done: progress((1 + done) / 2))
    return replace(findings, refused=tuple(refused))


def _key(path: Path, also: Sequence[Path], selection: Selection, long_side_px: int | None) -> str:
    keys = [file_key(path, selection, long_side_px), *(file_key(each, WHOLE, long_side_px) for each in also)]
    return hashlib.sha256(f"{keys} {PREPARATION}".encode()).hexdigest()


def _shots(
    path: Path, portrait: Portrait, long_side_px: int | None, progress: Callable[[float], None] = lambda done: None
) -> Iterator[Shot]:
    """The face in a picture file, the one most like the portrait's if there are several; or those of a video."""
    try:
        image = read_picture(path, long_side_px=long_side_px)
    except UnknownPicture:
        yield from _frames(path, portrait, long_side_px, progress)
        return
    image = np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])
    faces = find_faces(image)
    if not faces:
        raise NoFaceError(f"No face was found in {path}; leave it out, or use a picture that shows one plainly.")
    if len(faces) > 1:
        wanted = identity.describe(portrait.image, portrait.landmarks)
        faces.sort(key=lambda face: identity.distance(identity.describe(image, face), wanted))
    yield Shot(path, image, faces[0])


def _frames(path: Path, portrait: Portrait, long_side_px: int | None, progress: Callable[[float], None]) -> list[Shot]:
    try:
        with VideoFile(path) as video:
            frames = different_frames(
                video, portrait.landmarks.points, most=MOST_PICTURES - 1, progress=lambda done: progress(TRACKED * done)
            )
            taken = [_reduced(Shot(path, image, face, is_frame=True), long_side_px) for image, face in frames]
    except VideoUnreadable as error:
        raise VideoUnreadable(f"{path} is neither a picture nor a video that can be read; leave it out.") from error
    if not taken:
        raise NoFaceError(f"No face was found in any frame of {path}; leave it out, or use a video of one face.")
    logger.info("%d frames of %s are taken.", len(taken), path)
    return taken


def _reduced(shot: Shot, long_side_px: int | None) -> Shot:
    height_px, width_px = shot.image.shape[:2]
    if long_side_px is None or max(height_px, width_px) <= long_side_px:
        return shot
    scale = long_side_px / max(height_px, width_px)
    width_px, height_px = round(width_px * scale), round(height_px * scale)
    image = np.asarray(cv2.resize(shot.image, (width_px, height_px), interpolation=cv2.INTER_AREA), np.uint8)
    points = shot.face.points * np.float32(scale)
    return replace(shot, image=image, face=replace(shot.face, points=points, width_px=width_px, height_px=height_px))


def _sorted(
    shots: Sequence[Shot],
    portrait: Portrait,
    familiar: Sequence[Shot] = (),
    progress: Callable[[float], None] = lambda done: None,
) -> Findings:
    """Which of `shots` are good for what; `familiar` ones help to know those whose faces are turned as far."""
    least_px = SMALLEST_FACE * face_width_px(portrait.landmarks)
    belonging = _belonging(portrait, [*familiar, *shots], progress)
    ours = [shot for shot in shots if id(shot) in belonging]
    return Findings(
        usable=tuple(shot for shot in ours if face_width_px(shot.face) >= least_px),
        strangers=tuple(shot for shot in shots if id(shot) not in belonging),
        small=tuple(shot for shot in ours if face_width_px(shot.face) < least_px),
    )


def _belonging(portrait: Portrait, shots: Sequence[Shot], progress: Callable[[float], None]) -> set[int]:
    """The ids of those of the portrait's person. A face that is turned far is known by one that is turned half as far.

    progress: told what part of the faces was looked at.
    """
    known = [identity.describe(portrait.image, portrait.landmarks)]
    unknown = []
    for index, shot in enumerate(shots):
        progress(index / len(shots))
        unknown.append((shot, identity.describe(shot.image, shot.face)))
    belonging: set[int] = set()
    while unknown:
        nearest = [min(identity.distance(each, one) for one in known) for _, each in unknown]
        index = int(np.argmin(nearest))
        if nearest[index] >= identity.SAME_PERSON:
            break
        shot, descriptor = unknown.pop(index)
        belonging.add(id(shot))
        if identity.distance(descriptor, known[0]) < identity.SAME_PERSON:  # longer chains end with somebody else
            known.append(descriptor)
    return belonging


def _warn(path: Path, found: Findings) -> None:
    """Say which files are left out; raises StrangersError where nobody is left."""
    ours = {shot.path for shot in (*found.usable, *found.small)}  # of a video, one frame is enough
    strangers = list(dict.fromkeys(str(shot.path) for shot in found.strangers if shot.path not in ours))
    if not ours:
        raise StrangersError(
            f"None of the further pictures shows the person in {path} ({', '.join(strangers)}); "
            "give pictures of one person only."
        )
    if strangers:
        logger.warning("Left out, since they seem to show somebody else than %s: %s.", path, ", ".join(strangers))
    small = list(dict.fromkeys(str(shot.path) for shot in found.small))
    if small:
        logger.warning("Left out, since the face is too small beside the portrait's: %s.", ", ".join(small))
