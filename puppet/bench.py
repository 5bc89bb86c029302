"""Measures the speed on this computer: the live pipeline before a made-up camera, then the offline loop."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from puppet.camera import Paced
from puppet.live import Live
from puppet.motion import Retargeter, neutral_of
from puppet.recording import Recording
from puppet.render import render
from puppet.sinks import open_sink
from puppet.types import Engine, Frame, Image, PortraitEmbedding

CAMERA_FPS = Fraction(30)
CAMERA_WIDTH_PX, CAMERA_HEIGHT_PX = 640, 480
CLIP_FRAMES = 60  # 55 MB; the camera plays them over and over
WARM_UP_S = 1.5  # models load, caches fill


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one run. Stages: track, retarget, animate, send (to nowhere), and age: from camera to sink."""

    engine: str
    width_px: int
    height_px: int
    seconds: float  # of the live run
    fps: float  # of painted frames, the camera giving 30
    p50_ms: dict[str, float]
    p95_ms: dict[str, float]
    drops: dict[str, int]  # frames lost before each stage
    offline_fps: float  # of `render`: decoding, tracking, painting and encoding


class _Clip:
    """A camera whose pictures are all in memory."""

    fps = CAMERA_FPS
    width_px, height_px = CAMERA_WIDTH_PX, CAMERA_HEIGHT_PX

    def __init__(self, images: Sequence[Image]) -> None:
        self._images = images

    def __iter__(self) -> Iterator[Frame]:
        for index, image in enumerate(self._images):
            yield Frame(image, index, round(index * 1_000_000_000 / self.fps))


class _Nowhere:
    """A sink that takes no time."""

    def send(self, frame: Frame) -> None:
        pass

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def bench(
    engine: Engine, *, driver: PortraitEmbedding, puppet: PortraitEmbedding, motion: Recording, seconds: float
) -> Report:
    """Let `driver`, painted in `motion`, sit before the camera and drive `puppet`."""
    clip = _Clip(_film(engine, driver, motion))
    live = Live(Paced[Frame](clip), engine=engine, embedding=puppet, retargeter=Retargeter(), sinks=[_Nowhere()])
    with live:
        time.sleep(WARM_UP_S)
        before, lost = live.timings.snapshot(), live.drops
        time.sleep(seconds)
        timings, drops = live.timings.snapshot(), live.drops
    if live.error:
        raise live.error
    height_px, width_px = puppet.portrait.image.shape[:2]
    return Report(
        engine=engine.name,
        width_px=width_px,
        height_px=height_px,
        seconds=seconds,
        fps=round((timings["age"].count - before["age"].count) / seconds, 2),
        p50_ms={stage: round(timing.p50_ms, 3) for stage, timing in timings.items()},
        p95_ms={stage: round(timing.p95_ms, 3) for stage, timing in timings.items()},
        drops={stage: count - lost[stage] for stage, count in drops.items()},
        offline_fps=round(_offline_fps(engine, clip, puppet), 2),
    )


def _film(engine: Engine, embedding: PortraitEmbedding, motion: Recording) -> list[Image]:
    """The first of the portrait's painted frames, as large as the camera's picture allows, before grey."""
    faces = [face for face in motion if face is not None][:CLIP_FRAMES]
    retarget = Retargeter(calibration=neutral_of(faces[: round(motion.fps)]))
    images = []
    for face in faces:
        painted = engine.animate(embedding, retarget(face, index=face.index, time_ns=face.time_ns))
        scale = min(CAMERA_WIDTH_PX / painted.shape[1], CAMERA_HEIGHT_PX / painted.shape[0])
        scaled = cv2.resize(painted, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        image = np.full((CAMERA_HEIGHT_PX, CAMERA_WIDTH_PX, 3), 128, np.uint8)
        top, left = (CAMERA_HEIGHT_PX - scaled.shape[0]) // 2, (CAMERA_WIDTH_PX - scaled.shape[1]) // 2
        image[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
        images.append(image)
    return images


def _offline_fps(engine: Engine, clip: _Clip, puppet: PortraitEmbedding) -> float:
    with tempfile.TemporaryDirectory() as folder:
        driving, out = Path(folder, "driving.mp4"), Path(folder, "out.mp4")
        with open_sink(driving, width_px=clip.width_px, height_px=clip.height_px, fps=clip.fps) as sink:
            for frame in clip:
                sink.send(frame)
        report = render(puppet, driving, out, engine=engine)
    return report.frames / report.seconds
