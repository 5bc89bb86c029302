"""Recordings of a live show, in files that last as long as the show did: its pictures, or its driver's motion."""

from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

import cv2
import numpy as np

from puppet.framing import Framing, place
from puppet.pipeline import Tracked
from puppet.recording import MAX_FRAMES, Recording, RecordingError
from puppet.sinks import open_sink
from puppet.types import Frame, Image, Landmarks

logger = logging.getLogger(__name__)

RATE = Fraction(30)

T = TypeVar("T")


class _ConstantRate(Generic[T]):
    """Hands items that come at any time to `write`, one for each 1/fps from the first to the last of them.

    An item is repeated until the next one is due; of several that are due together, one is taken.
    """

    def __init__(self, fps: Fraction, write: Callable[[T], None]) -> None:
        self._fps, self._write = fps, write
        self._start_ns = 0
        self._count = 0
        self._previous: T | None = None

    def put(self, item: T, time_ns: int) -> None:
        if not self._count:
            self._start_ns = time_ns
        due = round((time_ns - self._start_ns) * self._fps / 1_000_000_000) + 1
        while self._count < due - 1 and self._previous is not None:
            self._write_one(self._previous)
        self._previous = item
        if self._count < due:
            self._write_one(item)

    def _write_one(self, item: T) -> None:
        self._write(item)
        self._count += 1


class Recorder:
    """A Sink for live frames: an MP4 without sound, a GIF or a folder of pictures, as the suffix of `path` asks for.

    Frames are placed by their `time_ns`. Those of another size or transparency than the file's (the portrait or its
    background was changed) are fitted in. The file is there once it is closed; see FileSink. Raises SinkError.
    """

    def __init__(
        self, path: Path | str, *, width_px: int, height_px: int, fps: Fraction = RATE, alpha: bool = False
    ) -> None:
        self.path = Path(path)
        self._shape = height_px, width_px, 4 if alpha else 3
        self._sink = open_sink(path, width_px=width_px, height_px=height_px, fps=fps, alpha=alpha)
        self._rate = _ConstantRate(fps, self._sink.send)

    @property
    def frame_count(self) -> int:
        """What the file holds by now; over `fps`, its duration."""
        return self._sink.frame_count

    def send(self, frame: Frame) -> None:
        self._rate.put(Frame(_fitted(frame.image, self._shape), frame.index, frame.time_ns), frame.time_ns)

    def close(self) -> None:
        """Finish the file; for a GIF, this takes its time. Without any frame, there is none."""
        self._sink.close()

    def discard(self) -> None:
        """Leave nothing behind; after `close`, nothing happens."""
        self._sink.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sink.__exit__(kind, error, trace)


class MotionRecorder:
    """A MotionSink: the `.motion` file of a live driver, which holds no picture. Raises RecordingError.

    It takes some 11 MB of memory a minute, and an hour at most. The file is there once it is closed.
    """

    def __init__(self, path: Path | str, *, fps: Fraction = RATE) -> None:
        self.path = Path(path)
        self._fps = fps
        self._faces: list[Landmarks | None] = []
        self._rate: _ConstantRate[Tracked] = _ConstantRate(fps, self._append)
        self._open = True

    @property
    def frame_count(self) -> int:
        return len(self._faces)

    def send(self, tracked: Tracked) -> None:
        self._rate.put(tracked, tracked.time_ns)

    def close(self) -> None:
        """Write the file, unless no face was seen."""
        if not self._open:
            return
        self._open = False
        face = next((face for face in self._faces if face is not None), None)
        if face is None:
            logger.warning("%s was not written, because no face was seen.", self.path)
        else:
            Recording(self._fps, face.width_px, face.height_px, tuple(self._faces)).save(self.path)

    def discard(self) -> None:
        """Write nothing; after `close`, nothing happens."""
        self._open = False

    def _append(self, tracked: Tracked) -> None:
        if len(self._faces) == MAX_FRAMES:
            raise RecordingError(f"{self.path} is full: a recording of motion has {MAX_FRAMES} frames at most.")
        self._faces.append(tracked.landmarks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, KeyboardInterrupt):
            self.close()
        else:
            self.discard()


def _fitted(image: Image, shape: tuple[int, ...]) -> Image:
    """`image` whole in the middle of `shape`, (H, W, 3) or (H, W, 4); beside it, the latter is transparent."""
    if image.shape == shape:
        return image
    if shape[2] == 3:
        fitted = np.empty(shape, np.uint8)
        place(image, Framing(), out=fitted)
        return fitted
    if image.shape[2] == 3:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), np.uint8)
    height_px, width_px, _ = shape
    scale = min(width_px / image.shape[1], height_px / image.shape[0])
    inner_width, inner_height = round(scale * image.shape[1]), round(scale * image.shape[0])
    left, top = (width_px - inner_width) // 2, (height_px - inner_height) // 2
    fitted = np.zeros(shape, np.uint8)
    fitted[top : top + inner_height, left : left + inner_width] = cv2.resize(image, (inner_width, inner_height))
    return fitted
