"""Video clips of talking faces in a folder: whose they are, where they cut, and their tracked landmarks.

Two layouts are understood: `KIND__IDENTITY__NAME.mp4` in one folder (with an optional `CUTS.tsv`: clip, frames at which
a hard cut starts), and VoxCeleb2's `IDENTITY/VIDEO/NAME.mp4`.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from puppet.tracking import FaceTracker
from puppet.types import BLENDSHAPE_COUNT, LANDMARK_COUNT, Floats, Image, PuppetError
from puppet.video import VideoFile

logger = logging.getLogger(__name__)

VALIDATION = Path(__file__).with_name("validation.txt")  # identities that no training may see


class DataError(PuppetError, FileNotFoundError):
    """A folder holds no clips to train with or to judge by."""


@dataclass(frozen=True, slots=True)
class Clip:
    path: Path
    name: str  # unique in its folder, and fit for a file's name
    identity: str
    cuts: tuple[int, ...] = ()  # frames at which another shot starts


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """The face in each of a clip's N frames."""

    points: Floats  # (N, 478, 3) px
    blendshapes: Floats  # (N, 52)
    pose: Floats  # (N, 4, 4)
    valid: NDArray[np.bool_]  # (N,): a face was found


def find_clips(folder: Path) -> list[Clip]:
    """The clips in `folder`, by name. Raises DataError if there are none."""
    cuts = _cuts(folder / "CUTS.tsv")
    clips = []
    for path in sorted(folder.rglob("*.mp4")):
        name = "__".join(path.relative_to(folder).with_suffix("").parts)
        first, *rest = name.split("__")
        # KIND__IDENTITY__NAME lies in the folder itself, IDENTITY__VIDEO__NAME in folders of its own.
        identity = rest[0] if path.parent == folder and rest else first
        clips.append(Clip(path, name, identity, cuts.get(path.name, ())))
    if not clips:
        raise DataError(f"No clips (*.mp4) were found in {folder}; give a folder of videos of faces.")
    return clips


def split(clips: Sequence[Clip], held_out: Collection[str]) -> tuple[list[Clip], list[Clip]]:
    """(for training, for validation): no identity is in both."""
    return [c for c in clips if c.identity not in held_out], [c for c in clips if c.identity in held_out]


def validation_identities() -> frozenset[str]:
    """The identities that the repository keeps aside."""
    return frozenset(VALIDATION.read_text(encoding="utf-8").split())


def read(clip: Clip) -> list[Image]:
    """All frames, (H, W, 3) uint8 RGB."""
    with VideoFile(clip.path) as video:
        return [frame.image for frame in video]


def track(clip: Clip, cache: Path) -> Track:
    """Follow the face through the clip, or take what was found before from the folder `cache`."""
    stored = cache / f"{clip.name}.npz"
    if stored.exists():
        with np.load(stored) as arrays:
            return Track(**{name: arrays[name] for name in ("points", "blendshapes", "pose", "valid")})
    with VideoFile(clip.path) as video, FaceTracker() as tracker:
        faces = [tracker(frame) for frame in video]
    count = len(faces)
    found = Track(
        points=np.zeros((count, LANDMARK_COUNT, 3), np.float32),
        blendshapes=np.zeros((count, BLENDSHAPE_COUNT), np.float32),
        pose=np.tile(np.eye(4, dtype=np.float32), (count, 1, 1)),
        valid=np.array([face is not None for face in faces]),
    )
    for index, face in enumerate(faces):
        if face is not None:
            found.points[index], found.blendshapes[index], found.pose[index] = face.points, face.blendshapes, face.pose
    cache.mkdir(parents=True, exist_ok=True)
    partial = stored.with_suffix(f".{os.getpid()}.npz")
    np.savez(partial, points=found.points, blendshapes=found.blendshapes, pose=found.pose, valid=found.valid)
    os.replace(partial, stored)
    return found


def shots(clip: Clip, count: int) -> list[range]:
    """The frames 0..count between hard cuts."""
    edges = [0, *(cut for cut in clip.cuts if 0 < cut < count), count]
    return [range(start, stop) for start, stop in pairwise(edges)]


def seed_of(clip: Clip) -> int:
    """A number that depends on the clip's name alone: choices made with it are the same in every run."""
    return int.from_bytes(hashlib.sha256(clip.name.encode()).digest()[:8])


def _cuts(table: Path) -> dict[str, tuple[int, ...]]:
    if not table.exists():
        return {}
    rows = (line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()[1:])
    return {name: tuple(int(frame) for frame in frames.split(",")) for name, frames in rows}
