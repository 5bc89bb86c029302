"""A slow computer does less per frame, in steps, and tries more again from time to time."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pytest

from puppet.economy import LEVELS, TRIAL_S, WINDOW_S, Economy, foreseen
from puppet.types import Landmarks


def frames(
    seconds: float, *, painted_fps: float, camera_fps: float = 30.0, start_s: float = 0.0
) -> Iterator[tuple[int, int]]:
    for number in range(round(seconds * painted_fps)):
        time_s = start_s + number / painted_fps
        yield round(time_s * camera_fps), round(time_s * 1e9)


def test_fast_enough_changes_nothing() -> None:
    economy = Economy()
    assert {economy(*frame) for frame in frames(20, painted_fps=30)} == {0}


def test_slow_saves_step_by_step_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    economy = Economy()
    with caplog.at_level(logging.WARNING):
        levels = [economy(*frame) for frame in frames(20, painted_fps=18)]
    assert sorted(set(levels)) == [0, 1, 2]
    assert levels == sorted(levels)
    assert levels.index(1) > 18 * WINDOW_S * 0.9
    assert [record.getMessage() for record in caplog.records] == [
        f"This computer is slow: {level} from now on." for level in LEVELS[1:]
    ]


def test_what_helps_is_kept() -> None:
    economy = Economy()
    for frame in frames(WINDOW_S + 0.2, painted_fps=18):
        level = economy(*frame)
    assert level == 1
    assert {economy(*frame) for frame in frames(30, painted_fps=28, start_s=WINDOW_S + 0.2)} == {1}


def test_slow_camera_is_no_reason() -> None:
    economy = Economy()
    assert {economy(*frame) for frame in frames(20, painted_fps=15, camera_fps=15)} == {0}


def test_more_is_tried_again_but_ever_more_rarely() -> None:
    economy = Economy()
    time_s, trials = 0.0, []
    while time_s < 9 * TRIAL_S:
        before = economy.level
        fps = 20.0 if before == 0 else 30.0  # the full cost is too much, the first saving is enough
        time_s += 1 / fps
        if economy(round(time_s * 30), round(time_s * 1e9)) < before:
            trials.append(time_s)
    assert len(trials) == 3
    assert trials[2] - trials[1] > 1.8 * (trials[1] - trials[0])


def test_what_is_soon_over_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    economy = Economy()
    with caplog.at_level(logging.WARNING):
        for frame in frames(10, painted_fps=12):
            economy.wait(frame[1])
            assert economy(*frame) == 0
        assert {economy(*frame) for frame in frames(10, painted_fps=30, start_s=10)} == {0}
    assert not caplog.records
    assert 1 in {economy(*frame) for frame in frames(10, painted_fps=12, start_s=20)}


def test_unseen_face_goes_on_as_it_went() -> None:
    def at(index: int) -> Landmarks:
        points = np.full((478, 3), 2.0 * index, np.float32)
        return Landmarks(points, np.zeros(52, np.float32), np.eye(4, dtype=np.float32), 64, 64, index, index * 33)

    found = foreseen((at(4), at(6)), index=7, time_ns=7 * 33)
    np.testing.assert_allclose(found.points, at(7).points)
    assert (found.index, found.time_ns, found.points.dtype) == (7, 231, np.float32)
    far = foreseen((at(4), at(6)), index=99, time_ns=99 * 33)  # after a pause it does not fly away
    np.testing.assert_allclose(far.points, at(8).points)
