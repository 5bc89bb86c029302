"""Recordings of a live show: they last as long as it did, bear a change of portrait, and come and go meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest
from PIL import Image as Pictures
from synthetic_face import face

from puppet.live import Live
from puppet.motion import Retargeter
from puppet.pipeline import Tracked
from puppet.portrait import prepare
from puppet.recorder import MotionRecorder, Recorder
from puppet.recording import Recording, RecordingError
from puppet.settings import sample_portraits
from puppet.sinks import SinkError
from puppet.types import Frame, Image, Landmarks, Motion, Portrait, PortraitEmbedding
from puppet.video import VideoFile

MS = 1_000_000
PATIENCE_S = 10.0


def frame(level: int, at_ms: float, *, height_px: int = 64, width_px: int = 64) -> Frame:
    return Frame(np.full((height_px, width_px, 3), level, np.uint8), 0, 5_000_000_000 + round(at_ms * MS))


def fail_in(recorder: Any, item: Frame | Tracked) -> None:
    with recorder:
        recorder.send(item)
        raise ZeroDivisionError


def levels(path: Path) -> list[int]:
    return [round(float(shown.image.mean()) / 10) * 10 for shown in VideoFile(path)]


def test_frames_lie_where_their_time_says(tmp_path: Path) -> None:
    """At 10 fps: one in time, two early, one missing, one late by a little, one after a second of nothing."""
    path = tmp_path / "out.mp4"
    with Recorder(path, width_px=64, height_px=64, fps=Fraction(10)) as recorder:
        for level, at_ms in ((0, 0), (10, 100), (20, 120), (30, 140), (50, 300), (60, 430), (70, 1400)):
            recorder.send(frame(level, at_ms))
    assert levels(path) == [0, 10, 30, 50, 60, *[60] * 9, 70]
    assert VideoFile(path).fps == 10


@pytest.mark.parametrize("rate", [7.0, 24.0, 29.97, 60.0])
def test_file_lasts_as_long_as_the_show(rate: float, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    rng = np.random.default_rng(3)
    with Recorder(path, width_px=64, height_px=64) as recorder:
        for index in range(round(4 * rate) + 1):
            recorder.send(frame(index % 26 * 10, 1000 * index / rate + rng.uniform(-5, 5)))
    video = VideoFile(path)
    assert video.fps == 30
    assert (video.frame_count or 0) / 30 == pytest.approx(4, abs=2 / 30)


def test_no_frame_is_lost_to_a_clock_that_wavers(tmp_path: Path) -> None:
    """30 fps give or take a third of a frame: hardly any picture is left out."""
    path = tmp_path / "out.mp4"
    rng = np.random.default_rng(4)
    with Recorder(path, width_px=64, height_px=64) as recorder:
        for index in range(90):
            recorder.send(frame(index % 2 * 100 + 50, 1000 * index / 30 + rng.uniform(-11, 11)))
    shown = levels(path)
    assert len(shown) == pytest.approx(90, abs=1)
    assert sum(a != b for a, b in pairwise(shown)) >= 85


@pytest.mark.parametrize("shape", [(32, 64, 3), (200, 100, 3), (64, 64, 4)])
def test_another_portrait_is_fitted_in(shape: tuple[int, int, int], tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with Recorder(path, width_px=64, height_px=64) as recorder:
        recorder.send(frame(10, 0))
        recorder.send(Frame(np.full(shape, 255, np.uint8), 1, 5_100_000_000))
    last = list(VideoFile(path))[-1].image
    assert last.shape == (64, 64, 3)
    assert last[28:36, 28:36].min() > 245
    assert shape[0] == shape[1] or last[2, 2].max() < 60


def test_another_portrait_in_a_transparent_recording(tmp_path: Path) -> None:
    path = tmp_path / "frames"
    with Recorder(path, width_px=64, height_px=64, alpha=True) as recorder:
        recorder.send(Frame(np.full((64, 64, 4), (9, 9, 9, 0), np.uint8), 0, 0))
        recorder.send(Frame(np.full((20, 40, 3), 200, np.uint8), 1, 33 * MS))
    with Pictures.open(path / "frame_000001.png") as picture:
        shown = np.asarray(picture)
    assert shown[:15, :, 3].max() == 0
    assert (shown[17:47] == (200, 200, 200, 255)).all()


def test_recorder_writes_whole_files_or_none(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="no folder"):
        Recorder(tmp_path / "nowhere" / "out.mp4", width_px=64, height_px=64)
    recorder = Recorder(tmp_path / "out.gif", width_px=64, height_px=64)
    recorder.send(frame(10, 0))
    recorder.discard()
    with pytest.raises(ZeroDivisionError):
        fail_in(Recorder(tmp_path / "out.mp4", width_px=64, height_px=64), frame(10, 0))
    assert list(tmp_path.iterdir()) == []


def tracked(at_ms: float, *, jaw_cm: float | None = 0.0) -> Tracked:
    landmarks = None if jaw_cm is None else face(jaw_cm=jaw_cm)
    return Tracked(landmarks, 0, 7_000_000_000 + round(at_ms * MS))


def test_motion_lasts_as_long_as_the_show_and_keeps_what_was_not_seen(tmp_path: Path) -> None:
    path = tmp_path / "me.motion"
    with MotionRecorder(path, fps=Fraction(10)) as recorder:
        for at_ms, jaw_cm in ((0, None), (100, 1.0), (300, None), (410, 2.0)):
            recorder.send(tracked(at_ms, jaw_cm=jaw_cm))
    recording = Recording.load(path)
    assert (recording.fps, recording.width_px, recording.height_px) == (10, 320, 240)
    assert [seen is not None for seen in recording] == [False, True, True, False, True]
    first, last = recording.faces[1], recording.faces[4]
    assert first is not None
    assert last is not None
    np.testing.assert_allclose(first.points, face(jaw_cm=1.0).points, atol=0.02)
    np.testing.assert_allclose(last.points, face(jaw_cm=2.0).points, atol=0.02)


def test_motion_without_a_face_is_no_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with MotionRecorder(tmp_path / "me.motion") as recorder:
        recorder.send(tracked(0, jaw_cm=None))
    assert "no face was seen" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_motion_that_is_discarded_or_fails_is_no_file(tmp_path: Path) -> None:
    recorder = MotionRecorder(tmp_path / "me.motion")
    recorder.send(tracked(0))
    recorder.discard()
    recorder.close()
    with pytest.raises(ZeroDivisionError):
        fail_in(MotionRecorder(tmp_path / "me.motion"), tracked(0))
    assert list(tmp_path.iterdir()) == []


def test_motion_that_is_full_can_still_be_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("puppet.recorder.MAX_FRAMES", 3)
    path = tmp_path / "me.motion"
    recorder = MotionRecorder(path, fps=Fraction(10))
    for index in range(3):
        recorder.send(tracked(100 * index))
    with pytest.raises(RecordingError, match="full"):
        recorder.send(tracked(300))
    recorder.close()
    assert len(Recording.load(path)) == 3


class Closable:
    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Driver(Closable):
    """Faces at about 100 a second until it is closed."""

    def __init__(self) -> None:
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Landmarks | None]:
        index = 0
        while not self._closed.wait(0.01):
            yield replace(face(jaw_cm=index % 2), index=index, time_ns=time.monotonic_ns())
            index += 1

    def close(self) -> None:
        self._closed.set()


class Painter(Closable):
    """Paints a flat picture of the portrait's size."""

    name = "painter"

    def embed(self, portrait: Portrait | PortraitEmbedding) -> PortraitEmbedding:
        return portrait if isinstance(portrait, PortraitEmbedding) else PortraitEmbedding(self.name, portrait)

    def animate(self, embedding: PortraitEmbedding, motion: Motion) -> Image:
        return np.full_like(embedding.portrait.image, motion.index % 256)


class Counter(Closable):
    """A sink of either kind that counts, and fails when it is told to."""

    def __init__(self) -> None:
        self.count = 0
        self.fails = False

    def send(self, item: Frame | Tracked) -> None:
        if self.fails:
            raise OSError(28, "No space left on device")
        self.count += 1


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return prepare(sample_portraits()[0], long_side_px=128)


@pytest.fixture
def window() -> Counter:
    return Counter()


@pytest.fixture
def live(portrait: Portrait, window: Counter) -> Iterator[Live]:
    engine = Painter()
    with Live(
        Driver(), engine=engine, embedding=engine.embed(portrait), retargeter=Retargeter(), sinks=[window]
    ) as live:
        yield live
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("puppet-")]


def wait_for(counter: Counter | Recorder | MotionRecorder, count: int) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while (counter.count if isinstance(counter, Counter) else counter.frame_count) < count:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_recordings_begin_and_end_while_the_show_goes_on(
    live: Live, portrait: Portrait, window: Counter, tmp_path: Path
) -> None:
    height_px, width_px = portrait.image.shape[:2]
    wait_for(window, 1)
    sinks = {name: Recorder(tmp_path / name, width_px=width_px, height_px=height_px) for name in ("a.mp4", "a.gif")}
    motion = MotionRecorder(tmp_path / "a.motion")
    for sink in sinks.values():
        live.add_sink(sink)
    live.add_motion_sink(motion)
    for recording in (*sinks.values(), motion):
        wait_for(recording, 8)
    for recording in (*sinks.values(), motion):
        assert live.remove_sink(recording)
        count = recording.frame_count
        recording.close()
        assert recording.frame_count == count
    wait_for(window, window.count + 3)
    assert len(Recording.load(tmp_path / "a.motion")) >= 8
    for name, sink in sinks.items():
        assert len(list(VideoFile(tmp_path / name))) == sink.frame_count
    assert live.failed_sinks == []
    assert live.remove_sink(motion)  # once more changes nothing


@pytest.mark.parametrize("kind", ["frames", "motion"])
def test_a_sink_that_fails_is_reported_and_the_others_go_on(kind: str, live: Live, window: Counter) -> None:
    failing, other = Counter(), Counter()
    add = live.add_sink if kind == "frames" else live.add_motion_sink
    add(failing)
    add(other)
    wait_for(failing, 3)
    failing.fails = True
    deadline_s = time.monotonic() + PATIENCE_S
    while not live.failed_sinks:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    [(sink, error)] = live.failed_sinks
    assert sink is failing
    assert isinstance(error, OSError)
    wait_for(other, other.count + 3)
    wait_for(window, window.count + 3)
    assert live.running
    assert live.remove_sink(failing)


def test_a_sink_that_comes_after_the_end_gets_nothing_and_holds_nothing_up(live: Live, window: Counter) -> None:
    wait_for(window, 1)
    live.close()
    late = Counter()
    live.add_sink(late)
    assert live.remove_sink(late)
    assert late.count == 0
