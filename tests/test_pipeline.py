"""The live threads: newest frame wins, errors reach the caller, and no thread outlives its pipeline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import numpy as np
import pytest

from puppet.camera import CameraError
from puppet.pipeline import Latest, Pipeline, Timings, Worker, run_with_timeout
from puppet.types import Frame, Image, Landmarks, Motion

PATIENCE_S = 10.0


def frame(index: int) -> Frame:
    return Frame(np.full((4, 4, 3), index % 256, np.uint8), index, time.monotonic_ns())


def face(frame: Frame) -> Landmarks:
    return Landmarks(
        np.zeros((478, 3), np.float32), np.zeros(52, np.float32), np.eye(4, dtype=np.float32), 4, 4, frame.index
    )


def motion(landmarks: Landmarks | None, index: int, time_ns: int) -> Motion:
    zeros = np.zeros(2, np.float32)
    return Motion(
        rotation=np.eye(3, dtype=np.float32),
        translation=zeros,
        scale=1.0,
        expression=np.zeros((478, 3), np.float32),
        eyes=zeros,
        gaze=np.zeros((2, 2), np.float32),
        strength=0.0 if landmarks is None else 1.0,
        index=index,
        time_ns=time_ns,
    )


def paint(motion: Motion) -> Image:
    return np.full((4, 4, 3), motion.index % 256, np.uint8)


class Screen:
    """A sink that remembers what it was sent, and can be told to fail or to be slow."""

    def __init__(self, *, fails_at: int | None = None, released: threading.Event | None = None) -> None:
        self.frames: list[Frame] = []
        self.arrived = threading.Event()
        self._fails_at = fails_at
        self._released = released

    def send(self, frame: Frame) -> None:
        if len(self.frames) == self._fails_at:
            raise OSError(28, "No space left on device")
        self.frames.append(frame)
        self.arrived.set()
        if self._released is not None:
            assert self._released.wait(PATIENCE_S)

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FakeCamera:
    """Gives the frames that it is told to; each next one only when the screen has seen the one before."""

    def __init__(self, *indices: int, seen: threading.Event, then: Callable[[], None] = lambda: None) -> None:
        self._indices, self._seen, self._then = indices, seen, then

    def __iter__(self) -> Iterator[Frame]:
        for index in self._indices:
            yield frame(index)
            assert self._seen.wait(PATIENCE_S)
            self._seen.clear()
        self._then()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    mine = [thread for thread in threading.enumerate() if thread.name.startswith("puppet-")]
    for thread in mine:
        thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in mine)


def endless() -> Iterator[Frame]:
    index = 0
    while True:
        yield frame(index)
        index += 1
        time.sleep(0.001)


def test_latest_keeps_only_the_newest() -> None:
    slot: Latest[int] = Latest()
    assert slot.take(0) is None
    for item in range(5):
        assert slot.put(item)
    assert slot.take(0) == 4
    assert slot.take(0) is None
    assert slot.drops == 4


def test_latest_counts_a_falsy_item_as_an_item() -> None:
    slot: Latest[int] = Latest()
    slot.put(0)
    slot.put(1)
    assert slot.drops == 1


def test_closing_wakes_the_taker_and_refuses_more() -> None:
    slot: Latest[int] = Latest()
    taken: list[int] = []
    taker = Worker("taker", slot, lambda item: not taken.append(item))
    taker.start()
    slot.close()
    assert taker.join(PATIENCE_S)
    assert not slot.put(1)
    assert taken == []
    assert slot.drops == 0


def test_what_lies_in_a_closed_slot_can_still_be_taken() -> None:
    slot: Latest[int] = Latest()
    slot.put(7)
    slot.close()
    assert list(slot) == [7]


def test_worker_keeps_its_error() -> None:
    def step(item: int) -> bool:
        raise ZeroDivisionError("on purpose")

    ended: list[BaseException | None] = []
    worker = Worker("failing", [1, 2], step, ended=ended.append)
    worker.start()
    assert worker.join(PATIENCE_S)
    assert isinstance(worker.error, ZeroDivisionError)
    assert ended == [worker.error]


def test_frames_travel_from_camera_to_every_sink() -> None:
    screen, other = Screen(), Screen()
    camera = FakeCamera(0, 1, 2, seen=screen.arrived)
    with Pipeline(camera, track=face, retarget=motion, animate=paint, sinks=[screen, other]) as pipeline:
        pipeline.join()
    assert [sent.index for sent in screen.frames] == [0, 1, 2]
    assert [int(sent.image[0, 0, 0]) for sent in screen.frames] == [0, 1, 2]
    assert all(sent.time_ns > 0 for sent in screen.frames)
    assert other.frames[-1].index == 2
    assert not pipeline.running
    timings = pipeline.timings.snapshot()
    assert set(timings) == {"track", "retarget", "animate", "send", "age"}
    assert timings["track"].count == 3
    assert timings["age"].p95_ms >= timings["age"].p50_ms > 0


def test_gaps_of_the_camera_are_counted_as_drops() -> None:
    screen = Screen()
    camera = FakeCamera(0, 3, 4, 9, seen=screen.arrived)
    with Pipeline(camera, track=face, retarget=motion, animate=paint, sinks=[screen]) as pipeline:
        pipeline.join()
    assert pipeline.drops == {"camera": 6, "tracker": 0, "animator": 0, "sinks": 0}


def test_slow_stage_gets_the_newest_frame_and_the_rest_is_dropped() -> None:
    tracking, proceed = threading.Event(), threading.Event()
    tracked: list[int] = []

    def slow(frame: Frame) -> Landmarks:
        tracked.append(frame.index)
        tracking.set()
        assert proceed.wait(PATIENCE_S)
        return face(frame)

    def camera() -> Iterator[Frame]:
        yield frame(0)
        assert tracking.wait(PATIENCE_S)
        yield from (frame(index) for index in range(1, 10))
        proceed.set()

    screen = Screen()
    with Pipeline(camera(), track=slow, retarget=motion, animate=paint, sinks=[screen]) as pipeline:
        pipeline.join()
    assert tracked == [0, 9]
    assert pipeline.drops["tracker"] == 8
    assert screen.frames[-1].index == 9


def test_no_face_reaches_the_retargeter_as_none() -> None:
    screen = Screen()
    seen: list[Landmarks | None] = []

    def retarget(landmarks: Landmarks | None, index: int, time_ns: int) -> Motion:
        seen.append(landmarks)
        return motion(landmarks, index, time_ns)

    camera = FakeCamera(5, seen=screen.arrived)
    with Pipeline(camera, track=lambda frame: None, retarget=retarget, animate=paint, sinks=[screen]) as pipeline:
        pipeline.join()
    assert seen == [None]
    assert screen.frames[0].index == 5


def test_silent_camera_counts_as_nobody_in_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("puppet.pipeline.SILENCE_S", 0.01)
    screen, back = Screen(), threading.Event()
    seen: list[bool] = []

    def camera() -> Iterator[Frame]:
        yield frame(0)
        assert back.wait(PATIENCE_S)
        yield frame(1)

    def retarget(landmarks: Landmarks | None, index: int, time_ns: int) -> Motion:
        seen.append(landmarks is not None)
        if seen.count(False) == 3:
            back.set()
        return motion(landmarks, index, time_ns)

    pipeline = Pipeline(camera(), track=face, retarget=retarget, animate=paint, sinks=[screen])
    pipeline.start()
    pipeline.join()
    assert seen[0]
    assert seen[-1]
    assert screen.frames[-1].index == 1
    times = [each.time_ns for each in screen.frames]
    assert times == sorted(times)


def test_recorded_motion_skips_the_tracker() -> None:
    screen = Screen()

    def recorded() -> Iterator[Landmarks | None]:
        for item in (face(frame(0)), None, face(frame(2))):
            yield item
            assert screen.arrived.wait(PATIENCE_S)
            screen.arrived.clear()

    def track(frame: Frame) -> Landmarks | None:
        raise AssertionError("there is nothing to track")

    before_ns = time.monotonic_ns()
    with Pipeline(recorded(), track=track, retarget=motion, animate=paint, sinks=[screen]) as pipeline:
        pipeline.join()
    assert [sent.index for sent in screen.frames] == [0, 1, 2]
    assert all(before_ns < sent.time_ns < time.monotonic_ns() for sent in screen.frames)


def test_portrait_can_be_swapped_while_running() -> None:
    screen = Screen()
    painted = [10]

    def camera() -> Iterator[Frame]:
        for index, colour in enumerate((10, 200)):
            painted[0] = colour
            yield frame(index)
            assert screen.arrived.wait(PATIENCE_S)
            screen.arrived.clear()

    def animate(motion: Motion) -> Image:
        return np.full((4, 4, 3), painted[0], np.uint8)

    with Pipeline(camera(), track=face, retarget=motion, animate=animate, sinks=[screen]) as pipeline:
        pipeline.join()
    assert [int(sent.image[0, 0, 0]) for sent in screen.frames] == [10, 200]


@pytest.mark.parametrize("stage", ["track", "retarget", "animate"])
def test_error_of_a_stage_ends_everything_and_is_raised_by_join(stage: str) -> None:
    def fail(*args: object) -> None:
        raise ZeroDivisionError(stage)

    stages = {"track": face, "retarget": motion, "animate": paint, stage: fail}
    pipeline = Pipeline(endless(), sinks=[Screen()], **stages)  # type: ignore[arg-type]
    pipeline.start()
    with pytest.raises(ZeroDivisionError, match=stage):
        pipeline.join()
    assert not pipeline.running
    assert isinstance(pipeline.error, ZeroDivisionError)


def test_camera_that_disappears_is_raised_by_join() -> None:
    screen = Screen()

    def unplug() -> None:
        raise CameraError("The camera 0 disappeared.")

    camera = FakeCamera(0, 1, seen=screen.arrived, then=unplug)
    pipeline = Pipeline(camera, track=face, retarget=motion, animate=paint, sinks=[screen])
    pipeline.start()
    with pytest.raises(CameraError, match="disappeared"):
        pipeline.join()
    assert [sent.index for sent in screen.frames] == [0, 1]


def test_camera_that_stalls_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    plug = threading.Event()
    screen = Screen()
    camera = FakeCamera(0, seen=screen.arrived, then=lambda: plug.wait(PATIENCE_S) and None)
    pipeline = Pipeline(camera, track=face, retarget=motion, animate=paint, sinks=[screen])
    pipeline.start()
    while not screen.frames:
        time.sleep(0.001)
    pipeline.stop(timeout_s=0.1)
    assert "camera hangs" in caplog.text
    pipeline.join()  # neither waits for it
    plug.set()


def test_failure_elsewhere_is_raised_though_the_camera_stalls() -> None:
    plug = threading.Event()

    def stalling() -> Iterator[Frame]:
        yield frame(0)
        plug.wait(PATIENCE_S)

    def fail(motion: Motion) -> Image:
        raise ZeroDivisionError("animate")

    pipeline = Pipeline(stalling(), track=face, retarget=motion, animate=fail, sinks=[Screen()])
    pipeline.start()
    with pytest.raises(ZeroDivisionError):
        pipeline.join()
    plug.set()


def test_stop_ends_an_endless_camera() -> None:
    screen = Screen()
    pipeline = Pipeline(endless(), track=face, retarget=motion, animate=paint, sinks=[screen])
    with pipeline:
        assert screen.arrived.wait(PATIENCE_S)
        assert pipeline.running
    assert not pipeline.running
    pipeline.close()


def test_pipeline_that_never_started_can_be_closed() -> None:
    pipeline = Pipeline(endless(), track=face, retarget=motion, animate=paint, sinks=[Screen()])
    assert not pipeline.running
    pipeline.close()


def test_failed_sink_leaves_the_others_running(caplog: pytest.LogCaptureFixture) -> None:
    screen, broken = Screen(), Screen(fails_at=1)
    camera = FakeCamera(0, 1, 2, 3, seen=screen.arrived)
    with Pipeline(camera, track=face, retarget=motion, animate=paint, sinks=[broken, screen]) as pipeline:
        pipeline.join()
    assert [sent.index for sent in screen.frames] == [0, 1, 2, 3]
    [(sink, error)] = pipeline.failed_sinks
    assert sink is broken
    assert isinstance(error, OSError)
    assert "No space left" in caplog.text


def test_last_sink_takes_the_pipeline_down() -> None:
    pipeline = Pipeline(
        endless(), track=face, retarget=motion, animate=paint, sinks=[Screen(fails_at=0), Screen(fails_at=2)]
    )
    pipeline.start()
    with pytest.raises(OSError, match="No space left"):
        pipeline.join()
    assert len(pipeline.failed_sinks) == 2


def test_slow_sink_does_not_delay_a_fast_one() -> None:
    released = threading.Event()
    screen, slow = Screen(), Screen(released=released)
    camera = FakeCamera(*range(6), seen=screen.arrived, then=released.set)
    with Pipeline(camera, track=face, retarget=motion, animate=paint, sinks=[slow, screen]) as pipeline:
        pipeline.join()
    assert [sent.index for sent in screen.frames] == list(range(6))
    assert slow.frames[-1].index == 5
    assert pipeline.drops["sinks"] == 4


def test_timings_over_a_window() -> None:
    timings = Timings(window=100)
    for duration_ms in (1000, *range(1, 101)):
        timings.add("animate", duration_ms * 1_000_000)
    timing = timings.snapshot()["animate"]
    assert timing.count == 101
    assert timing.p50_ms == pytest.approx(50.5)
    assert timing.p95_ms == pytest.approx(95.05)
    assert timing.fps > 0


def test_timings_measure_a_block() -> None:
    timings = Timings()
    with timings.measure("nap"):
        time.sleep(0.01)
    assert timings.snapshot()["nap"].p50_ms >= 10


def test_call_that_returns_or_raises_in_time() -> None:
    assert run_with_timeout(lambda: 5, timeout_s=PATIENCE_S, discard=lambda result: None) == 5
    with pytest.raises(ZeroDivisionError):
        run_with_timeout(lambda: 1 // 0, timeout_s=PATIENCE_S, discard=lambda result: None)


def test_call_that_hangs_is_given_up_and_its_late_result_discarded() -> None:
    answer = threading.Event()
    late = threading.Event()

    def hang() -> str:
        answer.wait(PATIENCE_S)
        return "late"

    with pytest.raises(TimeoutError):
        run_with_timeout(hang, timeout_s=0.05, discard=lambda result: late.set())
    assert not late.is_set()
    answer.set()
    assert late.wait(PATIENCE_S)
