"""Calibration: what the guided steps collect, what is fitted, and what is kept."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_face import face

from calibration import collect, store
from calibration.collect import Collector, Prompt, Step
from calibration.fit import fit, neutral_of
from puppet.expression import MOUTH_OPEN, eye_gaps, mouth_gap, to_frontal
from puppet.motion import Retargeter, target_points
from puppet.types import Calibration, Controls, Landmarks, PuppetError

FRAME_NS = 40_000_000
SHUT = (0.8, 0.85)  # a tracker never sees the lids meet
WIDE_CM = 2.0  # that the jaw drops


class Clock:
    """Stamps faces one frame after the other."""

    def __init__(self) -> None:
        self.frames = 0

    def face(self, **what: object) -> Landmarks:
        self.frames += 1
        return face(time_ns=self.frames * FRAME_NS, **what)  # type: ignore[arg-type]


def feed(collector: Collector, clock: Clock, count: int, **what: object) -> Prompt:
    for _ in range(count):
        prompt = collector.feed(clock.face(**what))
    return prompt


@pytest.fixture
def made() -> Calibration:
    return fit([face()] * 5, [face(shut=SHUT)] * 5, [face(jaw_cm=WIDE_CM)] * 5)


def same(one: Calibration, other: Calibration) -> bool:
    return (
        np.array_equal(one.neutral.points, other.neutral.points)
        and np.array_equal(one.neutral.blendshapes, other.neutral.blendshapes)
        and np.array_equal(one.neutral.pose, other.neutral.pose)
        and (one.neutral.width_px, one.neutral.height_px) == (other.neutral.width_px, other.neutral.height_px)
        and np.array_equal(one.eye_closed, other.eye_closed)
        and np.array_equal(one.eye_open, other.eye_open)
        and one.mouth_open == other.mouth_open
    )


# --- fit


def test_lids_are_fitted_apart_from_the_rest(made: Calibration) -> None:
    shut = eye_gaps(to_frontal(face(shut=SHUT)))
    assert np.allclose(made.eye_closed, shut, atol=1e-4)
    assert np.allclose(made.eye_open, eye_gaps(to_frontal(face())), atol=1e-4)
    assert np.array_equal(made.neutral.points, neutral_of([face()] * 5).neutral.points)


def test_a_fitted_eye_shuts_wholly_where_the_tracker_sees_a_slit(made: Calibration) -> None:
    retarget = Retargeter(calibration=made, controls=Controls(smoothing=0.0))
    assert np.allclose(retarget(face(shut=SHUT), index=0, time_ns=0).eyes, 0.0, atol=1e-3)
    assert np.allclose(retarget(face(), index=1, time_ns=FRAME_NS).eyes, 1.0, atol=1e-3)


def test_a_mouth_that_opens_little_opens_the_puppets_wide(made: Calibration) -> None:
    assert made.mouth_open == pytest.approx(mouth_gap(to_frontal(face(jaw_cm=WIDE_CM))), abs=1e-6)
    drops = []
    for calibration in (made, replace(made, mouth_open=0.0)):
        retarget = Retargeter(calibration=calibration, controls=Controls(smoothing=0.0))
        points = target_points(retarget(face(jaw_cm=WIDE_CM), index=0, time_ns=0), face())
        drops.append(points[14, 1] - face().points[14, 1])
    assert drops[0] / drops[1] == pytest.approx(MOUTH_OPEN / made.mouth_open, rel=0.03)


def test_a_rest_taken_anew_keeps_the_ranges(made: Calibration) -> None:
    retarget = Retargeter(calibration=made)
    retarget.recalibrate()
    for index in range(30):
        retarget(face(scale=1.1), index=index, time_ns=index * FRAME_NS)
    taken = retarget.calibration
    assert taken is not None
    assert not np.array_equal(taken.neutral.points, made.neutral.points)
    assert np.allclose(taken.eye_closed, made.eye_closed)
    assert taken.mouth_open == made.mouth_open


def test_a_blink_among_the_frames_at_rest_changes_nothing() -> None:
    calm = fit([face()] * 9, [face(shut=SHUT)] * 9)
    blinked = fit([face()] * 9 + [face(shut=(1.0, 1.0))] * 3, [face(shut=SHUT)] * 9 + [face(shut=(0.5, 0.5))])
    assert np.allclose(calm.neutral.points, blinked.neutral.points, atol=1e-3)
    assert np.allclose(calm.eye_closed, blinked.eye_closed, atol=1e-4)


@pytest.mark.parametrize(
    ("rest", "shut", "message"),
    [
        ([], [face(shut=SHUT)], "No face was seen"),
        ([face()], [], "shut both eyes"),
        ([face()], [face()] * 5, "still 100% open"),
        ([face()], [face(shut=(1.0, 0.0))] * 5, "still 100% open"),
        ([face()], [face(shut=SHUT)], "open it wide"),
    ],
)
def test_what_cannot_be_fitted_is_said(rest: list[Landmarks], shut: list[Landmarks], message: str) -> None:
    with pytest.raises(PuppetError, match=message):
        fit(rest, shut, [face()])


# --- collect


def test_the_steps_lead_to_a_calibration() -> None:
    collector, clock = Collector(), Clock()
    prompt = collector.feed(clock.face())
    assert prompt == Prompt(Step.REST, collect.LOOK, 0.0)
    prompt = feed(collector, clock, 50)  # two seconds
    assert (prompt.step, prompt.text) == (Step.SHUT, collect.SHUT)
    assert prompt.progress == pytest.approx(2 / 4)
    prompt = feed(collector, clock, 26, shut=SHUT)
    assert prompt == Prompt(Step.OPEN, collect.OPEN, 3 / 4)
    assert feed(collector, clock, 50, jaw_cm=0.3) == Prompt(Step.OPEN, collect.OPEN, 3 / 4)  # not wide enough
    prompt = feed(collector, clock, 26, jaw_cm=WIDE_CM)
    assert prompt == Prompt(Step.DONE, collect.DONE, 1.0)
    assert np.allclose(collector.calibration().eye_closed, eye_gaps(to_frontal(face(shut=SHUT))), atol=1e-4)
    assert collector.feed(None) == Prompt(Step.DONE, collect.DONE, 1.0)


def test_only_good_frames_count() -> None:
    collector, clock = Collector(), Clock()
    feed(collector, clock, 26)
    half = feed(collector, clock, 1).progress
    assert collector.feed(None).text == collect.MISSING
    assert feed(collector, clock, 100, rotation=(0.0, 0.6, 0.0)) == Prompt(Step.REST, collect.TURNED, half)
    assert feed(collector, clock, 30).step is Step.SHUT
    prompt = feed(collector, clock, 100)  # the eyes stay open
    assert prompt.step is Step.SHUT
    assert prompt.progress == pytest.approx(2 / 4)
    with pytest.raises(PuppetError, match="shut both eyes"):
        collector.calibration()


def test_a_stalled_camera_does_not_finish_a_step() -> None:
    collector = Collector()
    collector.feed(face(time_ns=0))
    assert collector.feed(face(time_ns=60_000_000_000)).step is Step.REST


# --- store


def test_what_is_kept_comes_back(made: Calibration) -> None:
    store.save(made, "Büro-Kamera /dev/video0", user="Ana")
    loaded = store.load("Büro-Kamera /dev/video0", user="Ana")
    assert loaded is not None
    assert same(loaded, made)


def test_users_and_cameras_are_told_apart(made: Calibration) -> None:
    store.save(made, "cam", user="Ana")
    assert store.load("cam") is None
    assert store.load("cam", user="Bea") is None
    assert store.load("c-am", user="Ana") is None
    assert len({store.path_of(camera, user=user) for camera, user in (("a b", ""), ("b", "a"), ("a-b", ""))}) == 3


def test_what_is_forgotten_is_gone(made: Calibration) -> None:
    store.save(made, "forgetful")
    store.forget("forgetful")
    store.forget("forgetful")
    assert store.load("forgetful") is None


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "shape", "nan", "pickle", "version"])
def test_a_broken_file_is_ignored_with_a_warning(
    made: Calibration, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.save(made, "broken")
    path = store.path_of("broken")
    with np.load(path) as file:
        arrays = dict(file)
    changed = {
        "shape": {"points": arrays["points"][:400]},
        "nan": {"pose": np.full((4, 4), np.nan)},
        "pickle": {"eye_open": np.array([{}, {}], dtype=object)},
        "version": {"version": np.array(99)},
    }
    if damage in changed:
        np.savez(path, **{**arrays, **changed[damage]})
    else:
        whole = path.read_bytes()
        path.write_bytes({"empty": b"", "text": b"neutral = 1", "cut": whole[: len(whole) // 2]}[damage])
    with caplog.at_level(logging.WARNING, logger="calibration.store"):
        assert store.load("broken") is None
    assert "calibrate again" in caplog.text
    store.save(made, "broken")
    assert store.load("broken") is not None


def test_a_place_that_cannot_be_written_is_said_and_nothing_is_left(
    made: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("not a folder")
    monkeypatch.setattr(store, "config_dir", lambda: occupied)
    with pytest.raises(PuppetError, match="cannot be saved"):
        store.save(made, "cam")
    assert list(tmp_path.iterdir()) == [occupied]
