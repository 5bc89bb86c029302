"""The live puppet: tracker, retargeter and engine around one source, for the window, the bench and any live sink."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from puppet.motion import Retargeter
from puppet.pipeline import Pipeline
from puppet.timings import Timings
from puppet.tracking import FaceTracker
from puppet.types import Calibration, Closing, Engine, Frame, Image, Landmarks, Motion, PortraitEmbedding, Sink


class Source(Closing, Protocol):
    """Anything live: a Webcam, or a file that is Paced. Closing it ends the iteration, from any thread."""

    def __iter__(self) -> Iterator[Frame | Landmarks | None]: ...


class Live:
    """Runs from `__enter__` to `close`, which ends every thread within two seconds.

    embedding: whom to paint. Assign another one at any time: the portrait is swapped between two frames.
    calibrated: called in the tracker's thread with each new rest of the driver.
    face_in_sight: whether the source's newest picture showed a face.
    The source is closed with it; engine and sinks stay the caller's, to be closed later.
    """

    def __init__(
        self,
        source: Source,
        *,
        engine: Engine,
        embedding: PortraitEmbedding,
        retargeter: Retargeter,
        sinks: Sequence[Sink],
        calibrated: Callable[[Calibration], None] = lambda calibration: None,
    ) -> None:
        self.engine = engine
        self._source = source
        self.embedding = embedding
        self.face_in_sight = True
        self._retargeter = retargeter
        self._calibrated = calibrated
        self._recalibrate = False
        self._tracker: FaceTracker | None = None
        self._pipeline = Pipeline(
            source, track=self._track, retarget=self._retarget, animate=self._animate, sinks=sinks
        )

    @property
    def timings(self) -> Timings:
        return self._pipeline.timings

    @property
    def drops(self) -> dict[str, int]:
        return self._pipeline.drops

    @property
    def running(self) -> bool:
        return self._pipeline.running

    @property
    def error(self) -> BaseException | None:
        """What ended it, if something did."""
        return self._pipeline.error

    def recalibrate(self) -> None:
        """Take the driver's rest anew from the next second."""
        self._recalibrate = True

    def close(self) -> None:
        self._source.close()  # first: the camera's thread may be waiting for a picture
        self._pipeline.stop()
        if self._tracker is not None:
            self._tracker.close()

    def __enter__(self) -> Self:
        self._pipeline.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _track(self, frame: Frame) -> Landmarks | None:
        if self._tracker is None:
            self._tracker = FaceTracker()  # takes a while, and recorded motion needs none
        return self._tracker(frame)

    def _retarget(self, landmarks: Landmarks | None, index: int, time_ns: int) -> Motion:
        """The retargeter belongs to this thread: what others ask of it is done here."""
        retargeter = self._retargeter
        self.face_in_sight = landmarks is not None
        if self._recalibrate:
            self._recalibrate = False
            retargeter.recalibrate()
        portrait = self.embedding.portrait.landmarks
        if retargeter.portrait is not portrait:
            retargeter.portrait = portrait
        known = retargeter.calibration
        motion = retargeter(landmarks, index=index, time_ns=time_ns)
        if retargeter.calibration is not None and retargeter.calibration is not known:
            self._calibrated(retargeter.calibration)
        return motion

    def _animate(self, motion: Motion) -> Image:
        return self.engine.animate(self.embedding, motion)
