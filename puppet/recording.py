"""The `.motion` file: a driver's landmarks over time, without a picture of anybody. See docs/motion-format.md."""

from __future__ import annotations

import json
import os
import secrets
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from operator import index
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from puppet.types import BLENDSHAPE_COUNT, LANDMARK_COUNT, Landmarks, PuppetError

MAGIC = b"puppet-motion"
VERSION = 1
LINE_BYTES = 1024  # at most, for each of the two lines before the data
MAX_FRAMES = 108_000  # an hour at 30 fps; bounds what a hostile file can make its reader allocate
MAX_SIZE_PX = 65_536
MAX_FPS = 1000
POINT_STEPS = 16_384  # on the picture's longer side: a step is 0.04 px at 640 px
BLENDSHAPE_STEPS = 65_535


class RecordingError(PuppetError, ValueError):
    """A `.motion` file that cannot be read or written."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Recorded motion: one entry a frame, None where no face was seen. Iterating gives the entries.

    A file keeps points to half a step of 1/16384 of the picture's longer side (0.02 px at 640 px); those further than
    two such sides from the picture's corner are moved in to there. Loaded landmarks are read-only arrays.
    """

    fps: Fraction
    width_px: int
    height_px: int
    faces: tuple[Landmarks | None, ...]

    def __iter__(self) -> Iterator[Landmarks | None]:
        return iter(self.faces)

    def __len__(self) -> int:
        return len(self.faces)

    def save(self, path: Path | str) -> None:
        """Write the file, or leave what was there: it appears whole under its name, or not at all."""
        path = Path(path)
        problem = _problem(self.fps, self.width_px, self.height_px, len(self))
        if problem:
            raise RecordingError(f"The motion cannot be saved as {path}: {problem}.")
        temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
        try:
            try:
                temporary.write_bytes(self._encoded())
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise RecordingError(f"The motion cannot be saved as {path}: {error.strerror}.") from error

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a file that may be anything; what is not a sound recording raises RecordingError."""
        path = Path(path)
        try:
            with path.open("rb") as file:
                return cls._decoded(path, file)
        except OSError as error:
            raise RecordingError(f"The recording {path} cannot be read: {error.strerror}.") from error

    def _encoded(self) -> bytes:
        seen = [face for face in self.faces if face is not None]
        quantum_px = max(self.width_px, self.height_px) / POINT_STEPS
        points = np.array([face.points for face in seen], np.float32).reshape(-1, LANDMARK_COUNT, 3) / quantum_px
        steps = np.clip(np.rint(points), -32_768, 32_767).astype("<i2")
        deltas = np.diff(steps, axis=0, prepend=np.zeros_like(steps, shape=(1, LANDMARK_COUNT, 3)))
        blendshapes = np.array([face.blendshapes for face in seen], np.float32).reshape(-1, BLENDSHAPE_COUNT)
        poses = np.array([face.pose for face in seen], "<f4")
        header = {
            "fps": [self.fps.numerator, self.fps.denominator],
            "width_px": self.width_px,
            "height_px": self.height_px,
            "frames": len(self),
        }
        data = b"".join(
            (
                bytes(face is not None for face in self.faces),
                _planes(deltas),
                _planes(np.rint(np.clip(blendshapes, 0, 1) * BLENDSHAPE_STEPS).astype("<u2")),
                _planes(poses),
            )
        )
        return b"%s %d\n%s\n" % (MAGIC, VERSION, json.dumps(header).encode()) + zlib.compress(data, 9)

    @classmethod
    def _decoded(cls, path: Path, file: BinaryIO) -> Self:
        magic, _, version = file.readline(LINE_BYTES).rstrip(b"\n").partition(b" ")
        if magic != MAGIC or not version.isdigit():
            raise RecordingError(f"{path} is not a recording of motion; make one with `puppet motion`.")
        if int(version) != VERSION:
            raise RecordingError(f"{path} is of format {int(version)}, this Puppet reads {VERSION}; update Puppet.")
        damaged = RecordingError(f"The recording {path} is damaged or incomplete; record it anew.")
        try:
            header = json.loads(file.readline(LINE_BYTES))
            fps = Fraction(*map(index, header["fps"]))
            width_px, height_px, frame_count = (index(header[key]) for key in ("width_px", "height_px", "frames"))
            problem = _problem(fps, width_px, height_px, frame_count)
        except (ValueError, TypeError, KeyError, ZeroDivisionError, RecursionError):
            raise damaged from None
        if problem:
            raise RecordingError(f"The recording {path} cannot be used: {problem}.")

        face_bytes = LANDMARK_COUNT * 3 * 2 + BLENDSHAPE_COUNT * 2 + 16 * 4
        most = frame_count * (1 + face_bytes)  # what cannot be compressed grows by less than a thousandth
        inflater = zlib.decompressobj()
        try:
            data = inflater.decompress(file.read(most + most // 1000 + LINE_BYTES), most + 1)
        except zlib.error:
            raise damaged from None
        present = np.frombuffer(data[:frame_count], np.uint8) > 0
        count = int(present.sum())
        if not inflater.eof or len(data) != frame_count + count * face_bytes:
            raise damaged
        ends = np.cumsum([frame_count, count * LANDMARK_COUNT * 3 * 2, count * BLENDSHAPE_COUNT * 2])
        deltas = _joined(data[ends[0] : ends[1]], "<i2").reshape(count, LANDMARK_COUNT, 3)
        quantum_px = np.float32(max(width_px, height_px) / POINT_STEPS)
        points = np.cumsum(deltas, axis=0, dtype=np.int16) * quantum_px  # (n, 478, 3) float32
        blendshapes = _joined(data[ends[1] : ends[2]], "<u2").reshape(count, BLENDSHAPE_COUNT) / np.float32(
            BLENDSHAPE_STEPS
        )
        poses = _joined(data[ends[2] :], "<f4").reshape(count, 4, 4).astype(np.float32)
        if not np.isfinite(poses).all():
            raise damaged
        for array in (points, blendshapes, poses):
            array.flags.writeable = False

        faces: list[Landmarks | None] = [None] * frame_count
        for row, frame in enumerate(np.flatnonzero(present).tolist()):
            time_ns = round(frame * 1_000_000_000 / fps)
            faces[frame] = Landmarks(
                points[row], blendshapes[row], poses[row], width_px, height_px, index=frame, time_ns=time_ns
            )
        return cls(fps, width_px, height_px, tuple(faces))


def _problem(fps: Fraction, width_px: int, height_px: int, frame_count: int) -> str | None:
    """What stands against a recording of these properties; one rule for writing and reading."""
    if not 0 < fps <= MAX_FPS:
        return f"{fps} frames per second is not a rate"
    if not (0 < width_px <= MAX_SIZE_PX and 0 < height_px <= MAX_SIZE_PX):
        return f"{width_px}x{height_px} px is not a picture's size"
    if not 0 < frame_count <= MAX_FRAMES:
        return f"it has {frame_count} frames, and 1 to {MAX_FRAMES} are possible"
    return None


def _planes(values: NDArray[np.generic]) -> bytes:
    """The first byte of every value, then the second of every value …: like compresses well beside like."""
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1, values.itemsize).T.tobytes()


def _joined(planes: bytes, dtype: str) -> NDArray[Any]:
    itemsize = np.dtype(dtype).itemsize
    return np.ascontiguousarray(np.frombuffer(planes, np.uint8).reshape(itemsize, -1).T).view(dtype)
