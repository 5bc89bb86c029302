"""The live puppet: a source, and tracker, retargeter and engine around it, for the window, the bench and any sink."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from puppet.camera import Paced, Webcam, cameras
from puppet.economy import FOLLOW_LESS, LEVELS, PAINT_LESS, Economy, foreseen
from puppet.lazy_tracker import LazyTracker
from puppet.motion import Retargeter
from puppet.pipeline import STOP_TIMEOUT_S, MotionSink, Pipeline
from puppet.recording import Recording
from puppet.settings import asset
from puppet.timings import Timings
from puppet.types import Calibration, Closing, Engine, Frame, Image, Landmarks, Motion, PortraitEmbedding, Sink
from puppet.video import CameraError, VideoFile


class Source(Closing, Protocol):
    """Anything live: a Webcam, or a file that is Paced. Closing it ends the iteration, from any thread."""

    def __iter__(self) -> Iterator[Frame | Landmarks | None]: ...


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """What drives a live portrait."""

    source: Source
    camera: str = ""  # its name, if it is one
    notice: str = ""  # what the user should know of it


def open_source(wanted: str | None) -> OpenedSource:
    """Open a camera by number or name, or a video or `.motion` file, to be played over and over.

    None opens the first camera that works or, if there is none, the bundled motion. Raises PuppetError.
    """
    known = {str(info.device): info.name for info in cameras()}
    if wanted is None:
        return _open_any(known)
    if wanted.isdecimal():
        return OpenedSource(Webcam(int(wanted)), camera=known.get(wanted, wanted))
    path = Path(wanted)
    if wanted in known.values() or path.is_char_device():
        return OpenedSource(Webcam(wanted), camera=wanted)
    if path.suffix.lower() == ".motion":
        return OpenedSource(Paced[Landmarks | None](Recording.load(path)))
    return OpenedSource(Paced[Frame](VideoFile(path)))


def _open_any(known: dict[str, str]) -> OpenedSource:
    reason = "No camera was found."
    for device, name in known.items():
        try:
            return OpenedSource(Webcam(int(device)), camera=name)
        except CameraError as error:
            reason = str(error)
    notice = f"{reason} The bundled motion plays instead; connect a camera and start again."
    return OpenedSource(Paced[Landmarks | None](Recording.load(asset("sample.motion"))), notice=notice)


class Live:
    """Runs from `__enter__` to `close`, which ends every thread within two seconds.

    The portrait lives from the first moment: nobody is seen until the tracker is loaded.

    embedding: whom to paint. Assign another one at any time: the portrait is swapped between two frames.
    controls: sliders and switches. Assign others at any time: the next picture is retargeted with them.
    calibrated: called in the tracker's thread with each new rest that was taken of the driver.
    distracted: whether something else that is soon over slows the computer down, so that nothing need be saved.
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
        self.distracted = False
        self._retargeter = retargeter
        self._calibrated = calibrated
        self.controls = retargeter.controls
        self._recalibrate = False
        self._given: Calibration | None = None  # to be put in force in the tracker's thread
        self._economy = Economy()
        self._followed: tuple[Landmarks, ...] = ()  # the last two faces that were tracked, one after the other
        self._looked = False  # at the last picture
        self._tracker = LazyTracker()
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
    def economy(self) -> str:
        """What is done to keep a slow computer above 25 fps; empty where nothing need be."""
        return LEVELS[self._economy.level]

    @property
    def loading(self) -> bool:
        """Whether the tracker is being loaded, so that nobody can be seen yet."""
        return self._tracker.loading

    @property
    def running(self) -> bool:
        return self._pipeline.running

    @property
    def error(self) -> BaseException | None:
        """What ended it, if something did."""
        return self._pipeline.error

    @property
    def failed_sinks(self) -> list[tuple[Sink | MotionSink, BaseException]]:
        """Those that were left out, and why."""
        return self._pipeline.failed_sinks

    def add_sink(self, sink: Sink) -> None:
        """Send it the frames from now on, in a thread of its own. From any thread."""
        self._pipeline.add_sink(sink)

    def add_motion_sink(self, sink: MotionSink) -> None:
        """The same for what is tracked."""
        self._pipeline.add_motion_sink(sink)

    def remove_sink(self, sink: Sink | MotionSink, *, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Send it nothing more, and wait until it is free to be closed: whether it is. From any thread."""
        return self._pipeline.remove_sink(sink, timeout_s=timeout_s)

    def recalibrate(self) -> None:
        """Take the driver's rest anew from the next second."""
        self._recalibrate = True

    def calibrate(self, calibration: Calibration) -> None:
        """Put this one in force, from the next picture on. From any thread."""
        self._given = calibration

    def join(self) -> None:
        """Wait until the source ends; raises the error of the stage that failed, if one did."""
        self._pipeline.join()

    @property
    def engine_is_free(self) -> bool:
        """Whether it may be closed, as nobody paints any more; once this is closed."""
        return "animator" not in self._pipeline.hanging

    def close(self) -> None:
        self._source.close()  # first: the camera's thread may be waiting for a picture
        self._pipeline.stop()
        if "tracker" not in self._pipeline.hanging:
            self._tracker.close()

    def __enter__(self) -> Self:
        self._pipeline.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _track(self, frame: Frame) -> Landmarks | None:
        if self._economy.level >= FOLLOW_LESS and len(self._followed) == 2 and self._looked:
            self._looked = False
            return foreseen(self._followed, index=frame.index, time_ns=frame.time_ns)
        face = self._tracker(frame)
        self._looked = True
        self._followed = (*self._followed[-1:], face) if face is not None else ()
        return face

    def _retarget(self, landmarks: Landmarks | None, index: int, time_ns: int) -> Motion:
        """The retargeter belongs to this thread: what others ask of it is done here."""
        retargeter = self._retargeter
        self.face_in_sight = landmarks is not None
        if retargeter.controls is not self.controls:
            retargeter.controls = self.controls
        given, self._given = self._given, None
        if given is not None:
            retargeter.calibration = given
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
        image = self.engine.animate(self.embedding, motion)
        if self.distracted or self._tracker.loading:
            self._economy.wait(motion.time_ns)
        self.engine.frugal = self._economy(motion.index, motion.time_ns) >= PAINT_LESS
        return image
