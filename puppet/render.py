"""The offline loop: every driving frame becomes one painted frame, in order, with nothing dropped.

The next frame is tracked while the present one is painted.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import fmean

from tqdm import tqdm

from puppet.motion import NEUTRAL_S, Mode, Retargeter, neutral_of
from puppet.output import FileSink
from puppet.recording import Recording
from puppet.sinks import open_sink
from puppet.timings import Timings
from puppet.tracking import FaceTracker
from puppet.types import Engine, Frame, Landmarks, PortraitEmbedding, PuppetError
from puppet.video import VideoFile
from puppet.workers import ahead

REALISM_FRAMES = 20  # are judged, spread over the driving video
FRAMES_GUESSED = 300  # where its length is not known
STAGES = ("decode", "track", "retarget", "animate", "encode")


class NoDriverError(PuppetError, LookupError):
    """The driving video shows no face in any of its frames."""


class RenderStopped(KeyboardInterrupt):
    """Ctrl-C in the middle; the text says what is left of the output."""


@dataclass(frozen=True, slots=True)
class Report:
    """What `render` did. A stage that a recording's rendering skips took 0 ms."""

    frames: int
    fps: float  # of the output
    seconds: float  # that it took
    engine: str
    no_face: int  # driving frames without a face
    p50_ms: dict[str, float]  # by stage, per frame
    p95_ms: dict[str, float]
    width_px: int
    height_px: int
    realism: float | None  # mean over some frames; None if nobody asked, or the engine cannot tell


@dataclass(frozen=True, slots=True)
class _Step:
    """One driving frame, reduced to its face."""

    landmarks: Landmarks | None
    index: int
    time_ns: int


@dataclass(frozen=True, slots=True)
class _Driver:
    """A driving video or recording, as the steps of the face in it."""

    path: Path
    fps: Fraction
    width_px: int
    height_px: int
    frame_count: int | None  # a video's is its own estimate
    sound: Path | None  # the file that has some
    steps: Iterator[_Step]


def render(
    embedding: PortraitEmbedding,
    driving: Path,
    out: Path,
    *,
    engine: Engine,
    mode: Mode = "relative",
    progress: bool = False,
    realism: bool = False,
) -> Report:
    """Paint one frame for each of `driving`, a video or a `.motion` file, to `out`, at the same rate.

    A frame without a face is painted, too: the portrait holds, then eases to its rest. The driver's rest is taken
    from the first second in which a face is seen. progress: draw a bar on stderr if that is a terminal.
    realism: ask the engine for that, too.
    Raises PuppetError, with nothing written, and RenderStopped for KeyboardInterrupt.
    """
    start_s = time.perf_counter()
    timings = Timings(window=None)
    no_face = 0
    scores: list[float] = []
    sink: FileSink | None = None
    height_px, width_px = embedding.portrait.image.shape[:2]
    alpha = embedding.backdrop is not None and embedding.backdrop.shape[2] == 4
    try:
        with _open_driver(driving, timings) as driver:
            head = _first_second(driver)
            rest = neutral_of([step.landmarks for step in head if step.landmarks])
            retarget = Retargeter(mode=mode, calibration=rest, portrait=embedding.portrait.landmarks)
            with (
                open_sink(
                    out,
                    width_px=width_px,
                    height_px=height_px,
                    fps=driver.fps,
                    alpha=alpha,
                    audio_from=driver.sound,
                ) as sink,
                _bar(itertools.chain(head, driver.steps), driver, shown=progress) as steps,
            ):
                every = max(1, (driver.frame_count or FRAMES_GUESSED) // REALISM_FRAMES)
                for step in steps:
                    with timings.measure("retarget"):
                        motion = retarget(step.landmarks, index=step.index, time_ns=step.time_ns)
                    with timings.measure("animate"):
                        image = engine.animate(embedding, motion)
                    if realism and step.index % every == every // 2 and len(scores) < REALISM_FRAMES:
                        score = engine.realism()
                        scores += [] if score is None else [score]
                    with timings.measure("encode"):
                        sink.send(Frame(image, step.index, step.time_ns))
                    no_face += step.landmarks is None
    except KeyboardInterrupt as stop:
        frames = sink.frame_count if sink else 0
        left = f"{out} holds the first {frames} frames" if frames else f"{out} was not written"
        raise RenderStopped(f"Stopped; {left}.") from stop
    taken = timings.snapshot()
    return Report(
        frames=sink.frame_count,
        fps=round(float(driver.fps), 3),
        seconds=round(time.perf_counter() - start_s, 3),
        engine=engine.name,
        no_face=no_face,
        p50_ms={stage: round(taken[stage].p50_ms, 3) if stage in taken else 0.0 for stage in STAGES},
        p95_ms={stage: round(taken[stage].p95_ms, 3) if stage in taken else 0.0 for stage in STAGES},
        width_px=width_px,
        height_px=height_px,
        realism=round(fmean(scores), 3) if scores else None,
    )


def record(driving: Path, *, progress: bool = False) -> Recording:
    """The motion of the face in a driving video, ready to be saved; no picture of it remains."""
    with _open_driver(driving, Timings(window=None)) as driver:
        head = _first_second(driver)
        with _bar(itertools.chain(head, driver.steps), driver, shown=progress) as steps:
            faces = tuple(step.landmarks for step in steps)
        return Recording(driver.fps, driver.width_px, driver.height_px, faces)


@contextmanager
def _open_driver(path: Path, timings: Timings) -> Iterator[_Driver]:
    if path.suffix.lower() == ".motion":
        recording = Recording.load(path)
        steps: Iterator[_Step] = (
            _Step(landmarks, index, round(index * 1_000_000_000 / recording.fps))
            for index, landmarks in enumerate(recording)
        )
        yield _Driver(path, recording.fps, recording.width_px, recording.height_px, len(recording), None, steps)
        return
    with VideoFile(path) as video, FaceTracker() as track, ahead(_tracked(video, track, timings)) as steps:
        sound = path if video.has_audio else None
        yield _Driver(path, video.fps, video.width_px, video.height_px, video.frame_count, sound, steps)


def _tracked(video: VideoFile, track: FaceTracker, timings: Timings) -> Iterator[_Step]:
    frames = iter(video)
    while True:
        with timings.measure("decode"):
            frame = next(frames, None)
        if frame is None:
            return
        with timings.measure("track"):
            landmarks = track(frame)
        yield _Step(landmarks, frame.index, frame.time_ns)


def _bar(steps: Iterator[_Step], driver: _Driver, *, shown: bool) -> tqdm[_Step]:
    return tqdm(steps, total=driver.frame_count, unit="frame", disable=None if shown else True)  # None: if a terminal


def _first_second(driver: _Driver) -> list[_Step]:
    """The steps up to the end of the first second of seen face, looked at before anything is painted."""
    head: list[_Step] = []
    missing = max(1, round(NEUTRAL_S * driver.fps))
    for step in driver.steps:
        head.append(step)
        missing -= step.landmarks is not None
        if not missing:
            break
    if not any(step.landmarks for step in head):
        raise NoDriverError(f"No face was found in any frame of {driver.path}; use a video of one face, well lit.")
    return head
