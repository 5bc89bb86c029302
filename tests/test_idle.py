"""What a puppet does by itself: blinks, idling, holding still, looking at the viewer; and never with a jump."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pytest
from synthetic_face import face

from puppet.expression import eye_gaps, eye_gaze, to_frontal
from puppet.headpose import frontal_rotation, rotation_vector
from puppet.idle import BLINK_S, LONGEST_PAUSE_S, SHORTEST_PAUSE_S, Blinks, sway
from puppet.motion import REST, Retargeter, head_size, target_points
from puppet.portrait import prepare
from puppet.settings import sample_portraits
from puppet.types import Calibration, Controls, Landmarks, Motion

FPS = 25
FRAME_NS = 1_000_000_000 // FPS
PLAIN = Controls(smoothing=0.0)
ASIDE = {"rotation": (0.0, 0.3, 0.0), "jaw_cm": 1.0, "look": (0.1, 0.0)}


def retargeter(controls: Controls) -> Retargeter:
    neutral = face()
    gaps = eye_gaps(to_frontal(neutral)).astype(np.float32)
    return Retargeter(calibration=Calibration(neutral, np.full(2, 0.05, np.float32), gaps), controls=controls)


def drive(retarget: Retargeter, faces: Iterable[Landmarks | None], *, start: int = 0) -> list[Motion]:
    return [retarget(each, index=i, time_ns=i * FRAME_NS) for i, each in enumerate(faces, start)]


def places(motions: Iterable[Motion]) -> np.ndarray:
    """(frames, 478, 3) of the points of a portrait, in head units."""
    return np.array([target_points(motion, face()) for motion in motions]) / head_size(face().points)


def fastest(motions: list[Motion]) -> float:
    """Head units per second of whichever point moved fastest between two frames, but for those that blink."""
    blink = target_points(replace(REST, eyes=np.zeros(2, np.float32), strength=1.0), face())
    still = np.abs(blink - face().points).max(axis=1) < 1e-3
    return float(FPS * np.linalg.norm(np.diff(places(motions)[:, still], axis=0), axis=2).max())


def begins(openings: np.ndarray) -> np.ndarray:
    """Frames at which a blink begins."""
    return np.flatnonzero((openings[:-1] >= 0.9) & (openings[1:] < 0.9)) + 1


# --- blinks


def blinked(blinks: Blinks, *, seconds: float, eyes: Callable[[float], float] = lambda s: 1.0) -> np.ndarray:
    times = np.arange(round(seconds * FPS)) / FPS
    return np.array([blinks(round(s * 1e9), eyes=eyes(s)) for s in times])


def test_blinks_come_every_three_to_five_seconds_and_shut_the_eye_quickly() -> None:
    openings = blinked(Blinks(), seconds=120.0)
    pauses = np.diff(begins(openings)) / FPS - BLINK_S
    assert len(pauses) > 20
    assert pauses.min() > SHORTEST_PAUSE_S - 2 / FPS
    assert pauses.max() < LONGEST_PAUSE_S + 2 / FPS
    assert np.std(pauses) > 0.3
    assert openings.max() == 1.0
    assert openings.min() < 0.01
    assert 0.03 < np.mean(openings < 0.9) < 0.1


def test_the_seed_decides_when() -> None:
    first, again, other = (blinked(Blinks(seed=seed), seconds=30.0) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_blink_begins_beside_one_of_the_driver() -> None:
    openings = blinked(Blinks(), seconds=60.0, eyes=lambda s: 0.0 if s % 2.5 < 0.2 else 1.0)
    assert openings.min() == 1.0
    openings = blinked(Blinks(), seconds=60.0, eyes=lambda s: 0.0)
    assert openings.min() == 1.0


def test_auto_blink_shuts_eyes_that_never_blink_and_leaves_all_else() -> None:
    faces = [face()] * (10 * FPS)
    blinking = drive(retargeter(replace(PLAIN, auto_blink=True)), faces)
    eyes = np.array([motion.eyes for motion in blinking])
    blinks = begins(eyes[:, 0])
    assert len(blinks) in (2, 3)
    assert eyes.min() < 0.01
    assert np.allclose(eyes[:, 0], eyes[:, 1])
    assert fastest(blinking[blinks[0] - 3 : blinks[0] + FPS]) < 1e-3
    open_eyes = drive(retargeter(PLAIN), faces)
    assert np.allclose([motion.eyes for motion in open_eyes], 1.0, atol=1e-3)


def test_auto_blink_serves_eyes_that_are_silenced() -> None:
    blinking = drive(retargeter(replace(PLAIN, auto_blink=True, eyes=0.0)), [face(shut=(1.0, 1.0))] * (6 * FPS))
    eyes = np.array([motion.eyes[0] for motion in blinking])
    assert len(begins(eyes)) == 1


# --- idling


def test_the_sway_is_subtle_and_smooth_and_never_stops() -> None:
    poses = np.array([sway(i * FRAME_NS) for i in range(120 * FPS)])
    turns = np.degrees(np.linalg.norm(poses[:, :3], axis=1))
    assert 0.2 < turns.max() < 0.5
    assert np.abs(np.diff(poses[:, :3], axis=0)).max() * FPS < np.radians(0.5)
    assert np.abs(poses[:, 3:]).max() < 0.01
    for second in range(0, 120, 4):
        assert np.ptp(poses[second * FPS : (second + 4) * FPS, 4]) > 0.005  # a breath


def test_a_face_lost_for_long_idles_and_returns_without_a_jump() -> None:
    idling = replace(PLAIN, idle=True)
    faces = [face(**ASIDE)] * 10 + [None] * (20 * FPS) + [face(rotation=(0.0, -0.3, 0.0))] * 30
    motions = drive(retargeter(idling), faces)
    assert np.allclose(motions[9 + FPS // 2].rotation, motions[9].rotation, atol=1e-6)  # held for half a second
    idle = motions[10 + 2 * FPS : 10 + 20 * FPS]
    turns = np.degrees([np.linalg.norm(rotation_vector(motion.rotation.astype(np.float64))) for motion in idle])
    assert 0.1 < turns.max() < 0.5
    assert all(np.ptp([motion.scale for motion in idle[i : i + 5 * FPS]]) > 1e-3 for i in range(0, 12 * FPS, FPS))
    assert len(begins(np.array([motion.eyes[0] for motion in idle]))) >= 3
    assert np.abs(np.array([motion.expression for motion in idle])).max() < 1e-6
    assert fastest(motions[-32:]) < 4.0  # a turn of 0.3 radians within 0.4 s
    assert fastest(motions[: 10 + 4 * FPS]) < 2.0
    assert fastest(idle[: 6 * FPS]) < 0.05
    assert [motion.index for motion in motions] == list(range(len(faces)))
    again = drive(retargeter(idling), faces)
    assert all(np.array_equal(one.eyes, two.eyes) for one, two in zip(motions, again, strict=True))
    assert np.array_equal(places(motions[-50:]), places(again[-50:]))


def test_without_any_face_the_portrait_idles_before_a_rest_is_known() -> None:
    motions = drive(Retargeter(controls=replace(PLAIN, idle=True)), [None] * (5 * FPS))
    assert motions[0].strength == 0.0
    assert motions[-1].strength == 1.0
    assert fastest(motions) < 0.05


def test_idling_switched_while_the_face_is_lost_does_not_jump() -> None:
    retarget = retargeter(replace(PLAIN, idle=True))
    motions = drive(retarget, [face(**ASIDE)] * 10 + [None] * (5 * FPS))
    retarget.controls = PLAIN
    motions += drive(retarget, [None] * FPS, start=len(motions))
    assert motions[-1].strength == 0.0
    retarget.controls = replace(PLAIN, idle=True)
    motions += drive(retarget, [None] * FPS, start=len(motions))
    assert motions[-1].strength == 1.0
    assert fastest(motions[-2 * FPS - 5 :]) < 0.05


def test_absolute_mode_rests() -> None:
    retarget = Retargeter(mode="absolute", controls=replace(PLAIN, idle=True), portrait=face())
    motions = drive(retarget, [face(jaw_cm=1.0)] * 5 + [None] * (4 * FPS))
    assert np.allclose(target_points(motions[-1], face()), face().points)


# --- holding still


def test_frozen_is_still_and_thaws_without_a_jump() -> None:
    retarget = retargeter(PLAIN)
    before = drive(retarget, [face(**ASIDE)] * 5)
    retarget.controls = replace(PLAIN, freeze=True)
    faces = [face(rotation=(0.0, -0.3, 0.0)), None, face(shut=(1.0, 1.0))] * 20
    frozen = drive(retarget, faces, start=5)
    assert all(np.array_equal(motion.rotation, before[-1].rotation) for motion in frozen)
    assert np.ptp(places(frozen[::7]), axis=0).max() == 0.0
    assert [motion.index for motion in frozen] == list(range(5, 65))
    assert frozen[-1].time_ns == 64 * FRAME_NS
    retarget.controls = PLAIN
    thawed = drive(retarget, [face(rotation=(0.0, -0.3, 0.0))] * 30, start=65)
    assert fastest(frozen[-1:] + thawed) < 8.0  # a turn of 0.6 radians within 0.4 s
    assert np.allclose(rotation_vector(thawed[-1].rotation.astype(np.float64)), [0.0, -0.3, 0.0], atol=1e-3)


# --- looking at the viewer


def gaze_of(points: np.ndarray, portrait: Landmarks) -> np.ndarray:
    """(2,) in the head's own axes, of a face that is turned as the portrait is."""
    return eye_gaze(to_frontal(replace(portrait, points=points))).mean(axis=0)


def test_looking_at_the_camera_outdoes_the_driver_and_the_portrait() -> None:
    looking = replace(PLAIN, look_at_camera=True)
    portrait = face(look=(0.1, 0.05))
    for look in ((0.0, 0.0), (0.12, -0.05)):
        motion = drive(retargeter(looking), [face(look=look)])[0]
        assert gaze_of(target_points(motion, portrait), portrait) == pytest.approx([0.0, 0.0], abs=0.01)
    motion = drive(retargeter(PLAIN), [face(look=(0.05, 0.0))])[0]
    assert gaze_of(target_points(motion, portrait), portrait) == pytest.approx([0.15, 0.05], abs=0.02)


@pytest.mark.parametrize(("turn", "axis", "sign"), [(0.25, 1, 1.0), (-0.25, 1, 1.0), (0.2, 0, -1.0)])
def test_the_eyes_stay_on_the_camera_while_the_head_turns(turn: float, axis: int, sign: float) -> None:
    rotation = [0.0, 0.0, 0.0]
    rotation[axis] = turn
    motion = drive(retargeter(replace(PLAIN, look_at_camera=True)), [face(rotation=rotation)])[0]
    turned = replace(face(rotation=rotation), points=target_points(motion, face()))
    gaze = eye_gaze(to_frontal(turned)).mean(axis=0)
    assert gaze[1 - axis] == pytest.approx(sign * 0.45 * np.sin(turn), abs=0.02)
    assert abs(gaze[axis]) < 0.02


def test_portraits_that_look_at_the_viewer_hardly_change() -> None:
    motion = replace(REST, look=1.0, strength=1.0)
    for path in sample_portraits():
        landmarks = prepare(path, long_side_px=512).landmarks
        assert np.abs(np.degrees(rotation_vector(frontal_rotation(landmarks)))[1]) < 5
        shift = gaze_of(target_points(motion, landmarks), landmarks) - gaze_of(landmarks.points, landmarks)
        assert np.abs(shift).max() < 0.05
