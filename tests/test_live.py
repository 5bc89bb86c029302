"""The live puppet before, while and after its tracker is there: it lives, and nothing is closed under a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np
import pytest

from puppet.live import Live
from puppet.motion import Retargeter
from puppet.recording import Recording
from puppet.settings import asset
from puppet.types import Frame, Image, Landmarks, Motion, Portrait, PortraitEmbedding

PATIENCE_S = 20.0
FOLLOWER = object()


class Camera:
    """Pictures of nothing in particular, until it is closed."""

    def __init__(self) -> None:
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while not self._closed.wait(0.005):
            yield Frame(np.zeros((4, 4, 3), np.uint8), index, time.monotonic_ns())
            index += 1

    def close(self) -> None:
        self._closed.set()


class Engine:
    """Paints nothing, and notes what it was to paint."""

    name = "fake"
    frugal = False

    def __init__(self) -> None:
        self.motions: list[Motion] = []

    def embed(self, portrait: Portrait | PortraitEmbedding) -> PortraitEmbedding:
        raise NotImplementedError

    def animate(self, embedding: PortraitEmbedding, motion: Motion) -> Image:
        self.motions.append(motion)
        return embedding.portrait.image

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Tracker:
    """Stands for FaceTracker: it comes to be, and answers, once it is let."""

    made: list[Tracker]
    may_load: threading.Event
    may_answer: threading.Event

    def __init__(self, *, follower: bool) -> None:
        assert Tracker.may_load.wait(PATIENCE_S)
        assert not follower  # it would be waited for
        self.followers: list[object] = []
        self.asked = threading.Event()
        self.closed = False
        Tracker.made.append(self)

    def __call__(self, frame: Frame) -> Landmarks | None:
        self.asked.set()
        assert Tracker.may_answer.wait(PATIENCE_S)
        assert not self.closed
        return replace(_face(), index=frame.index, time_ns=frame.time_ns)

    def follow_with(self, follower: object) -> None:
        self.followers.append(follower)

    def close(self) -> None:
        self.closed = True


def _face() -> Landmarks:
    return next(face for face in Recording.load(asset("sample.motion")) if face is not None)


@pytest.fixture(autouse=True)
def tracker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Tracker.made, Tracker.may_load, Tracker.may_answer = [], threading.Event(), threading.Event()
    monkeypatch.setattr("puppet.lazy_tracker.FaceTracker", Tracker)
    monkeypatch.setattr("puppet.lazy_tracker.load_follower", lambda threads: FOLLOWER)
    yield
    Tracker.may_load.set()
    Tracker.may_answer.set()
    wait_until(lambda: not [each for each in threading.enumerate() if each.name.startswith("puppet")])


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def live(engine: Engine) -> Live:
    image = np.zeros((4, 4, 3), np.uint8)
    portrait = Portrait(image, _face(), image[..., 0], image, "key")
    retargeter = Retargeter()
    retargeter.controls = replace(retargeter.controls, idle=True)
    return Live(Camera(), engine=engine, embedding=PortraitEmbedding("fake", portrait), retargeter=retargeter, sinks=[])


def wait_until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_portrait_lives_before_the_tracker_is_loaded(live: Live, engine: Engine) -> None:
    with live:
        wait_until(lambda: len(engine.motions) > 1 and engine.motions[-1].strength > 0)  # it sways, and blinks
        assert not live.face_in_sight
        Tracker.may_answer.set()
        Tracker.may_load.set()
        wait_until(lambda: live.face_in_sight)
        wait_until(lambda: bool(Tracker.made[0].followers))
    assert Tracker.made[0].followers == [FOLLOWER]  # once
    assert [each.closed for each in Tracker.made] == [True]


def test_tracker_that_comes_too_late_is_closed(live: Live, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("puppet.lazy_tracker.LOADING_S", 0.0)
    with live:
        wait_until(lambda: bool(engine.motions))
    Tracker.may_load.set()
    wait_until(lambda: [each.closed for each in Tracker.made] == [True])


def test_nothing_is_closed_under_a_tracker_that_hangs(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    Tracker.may_load.set()
    with live:
        wait_until(lambda: bool(Tracker.made) and Tracker.made[0].asked.is_set())
    assert "The tracker hangs" in caplog.text
    assert not Tracker.made[0].closed
    assert live.engine_is_free
