"""Retargeting: known motions come out as they went in, and real ones stay a face on somebody else's portrait."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from synthetic_face import PX_PER_CM, face, in_space

from puppet import canonical, facemesh
from puppet.expression import eye_gaps, to_frontal
from puppet.headpose import (
    STABLE,
    Similarity,
    fit_similarity,
    head_size,
    rotation_matrix,
    rotation_vector,
    to_picture,
    to_space,
)
from puppet.motion import REST, Retargeter, neutral_of, target_points
from puppet.recording import Recording
from puppet.settings import asset
from puppet.smoothing import OneEuro, Smoothness
from puppet.tracking import MODEL, detect
from puppet.types import Calibration, Controls, Landmarks, Motion

FRAME_NS = 40_000_000
UNSMOOTHED = Controls(smoothing=0.0)
OTHER = (1.15, 0.9, 1.0)  # the proportions of another face


def calibration(neutral: Landmarks) -> Calibration:
    return Calibration(neutral, np.full(2, 0.05, np.float32), eye_gaps(to_frontal(neutral)).astype(np.float32))


def read(driver: Landmarks, controls: Controls = UNSMOOTHED) -> Motion:
    return Retargeter(calibration=calibration(face()), controls=controls)(driver, index=7, time_ns=11)


def drive(retarget: Retargeter, faces: Sequence[Landmarks | None], *, start_ns: int = 0) -> list[Motion]:
    return [retarget(each, index=i, time_ns=start_ns + i * FRAME_NS) for i, each in enumerate(faces)]


@pytest.fixture(scope="module")
def driver() -> list[Landmarks]:
    """The bundled recording of a real face: speech, blinks, turns."""
    return [each for each in Recording.load(asset("sample.motion")) if each is not None]


@pytest.fixture(scope="module", params=["astronaut", "hopper", "painting"])
def portrait(request: pytest.FixtureRequest) -> Landmarks:
    picture = cv2.cvtColor(cv2.imread(str(asset(f"portraits/{request.param}.jpg"))), cv2.COLOR_BGR2RGB)
    scale = 640 / max(picture.shape)
    return detect(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))[0]


@pytest.fixture(scope="module")
def driven(driver: list[Landmarks], portrait: Landmarks) -> np.ndarray:
    """(frames, 478, 3) the portrait's points under the recording."""
    fps_faces = [each for each in driver if each.time_ns - driver[0].time_ns <= 1_000_000_000]
    retarget = Retargeter(calibration=neutral_of(fps_faces))
    return np.array(
        [target_points(retarget(each, index=each.index, time_ns=each.time_ns), portrait) for each in driver]
    )


def mouth_gap(points: np.ndarray) -> float:
    width = np.linalg.norm(points[facemesh.LIP_OUTER_UPPER[0]] - points[facemesh.LIP_OUTER_UPPER[-1]])
    return float(np.linalg.norm(points[13] - points[14]) / width)


# --- the mesh


def test_mirror_swaps_sides_and_is_its_own_inverse() -> None:
    assert np.array_equal(canonical.MIRROR[canonical.MIRROR], np.arange(478))
    assert canonical.MIRROR[[33, 61, 1, 468, 469, 470]].tolist() == [263, 291, 1, 473, 476, 475]
    for curves in (facemesh.LID_UPPER, facemesh.LID_LOWER, facemesh.LID_SKIN_UPPER, facemesh.SOCKET_LOWER):
        assert canonical.MIRROR[list(curves[0])].tolist() == list(curves[1])[::-1]
    for row in facemesh.LIP_ROWS_UPPER + facemesh.LIP_ROWS_LOWER:
        assert canonical.MIRROR[list(row)].tolist() == list(row)[::-1]


def test_the_mesh_is_the_one_of_the_landmarker_bundle() -> None:
    from mediapipe.modules.face_geometry.protos import geometry_pipeline_metadata_pb2

    metadata = geometry_pipeline_metadata_pb2.GeometryPipelineMetadata()
    with zipfile.ZipFile(MODEL) as bundle:
        metadata.ParseFromString(bundle.read("geometry_pipeline_metadata_landmarks.binarypb"))
    vertices = np.array(metadata.canonical_mesh.vertex_buffer).reshape(-1, 5)[:, :3]
    assert np.allclose(canonical.VERTICES @ canonical.FLIP, vertices, atol=1e-6)
    assert canonical.TRIANGLES.ravel().tolist() == list(metadata.canonical_mesh.index_buffer)


# --- the head


def test_similarity_is_recovered_and_undone() -> None:
    rng = np.random.default_rng(0)
    source = rng.normal(size=(30, 3))
    rotation = rotation_matrix(np.array([0.3, -0.8, 0.2]))
    target = 1.7 * source @ rotation.T + [3.0, -2.0, 5.0]
    found = fit_similarity(source, target)
    assert found.scale == pytest.approx(1.7)
    assert np.allclose(found.rotation, rotation)
    assert np.allclose(found.undo(target), source)
    assert fit_similarity(source, target, rotation=rotation).scale == pytest.approx(1.7)


def test_a_mirror_image_is_not_taken_for_a_rotation() -> None:
    source = np.random.default_rng(1).normal(size=(30, 3))
    assert np.linalg.det(fit_similarity(source, source * [-1.0, 1.0, 1.0]).rotation) == pytest.approx(1.0)


@pytest.mark.parametrize("vector", [(0.0, 0.0, 0.0), (1e-11, 0.0, 0.0), (0.4, -0.2, 0.1), (0.0, 2.9, 0.0)])
def test_rotation_vectors_survive_the_round_trip(vector: tuple[float, ...]) -> None:
    assert np.allclose(rotation_vector(rotation_matrix(np.array(vector))), vector, atol=1e-9)


def test_a_rigid_motion_is_read_as_such_and_leaves_no_expression() -> None:
    turn, shift, scale = np.array([0.1, 0.25, -0.08]), np.array([12.0, -7.0]), 1.1
    motion = read(face(rotation=turn, shift_px=shift, scale=scale))
    joint = PX_PER_CM * np.array([0.0, 1.0, 5.0])  # of skull and neck, from the model's origin
    moved = shift + (scale * rotation_matrix(turn) @ joint - joint)[:2]
    assert np.allclose(rotation_vector(motion.rotation.astype(np.float64)), turn, atol=1e-5)
    assert motion.scale == pytest.approx(scale, abs=1e-5)
    assert np.allclose(motion.translation * head_size(in_space(face().points)), moved, atol=1e-3)
    assert np.abs(motion.expression).max() < 1e-4
    assert np.allclose(motion.eyes, 1.0, atol=1e-4)
    assert np.allclose(motion.gaze, 0.0, atol=1e-5)
    assert (motion.index, motion.time_ns, motion.strength) == (7, 11, 1.0)


def head_between(before: np.ndarray, after: np.ndarray) -> Similarity:
    """How the head went in space, seen at `before` and `after`."""
    return fit_similarity(in_space(before)[STABLE], in_space(after)[STABLE])


def test_a_driver_moves_his_own_picture_as_his_face_moved() -> None:
    """Off the camera's axis, where perspective counts most."""
    rest, moved = face(shift_px=(60.0, -20.0)), face(shift_px=(56.0, -26.0), rotation=(0.1, 0.25, -0.08), scale=1.05)
    motion = Retargeter(calibration=calibration(rest), controls=UNSMOOTHED)(moved, index=0, time_ns=0)
    assert np.allclose(target_points(motion, rest)[:, :2], moved.points[:, :2], atol=0.01)


def test_a_face_in_space_is_that_of_the_camera_and_comes_back() -> None:
    seen = face(rotation=(0.2, 0.5, 0.1), shift_px=(40.0, 10.0), scale=1.2)
    assert np.allclose(to_space(seen), in_space(seen.points), atol=1e-3)
    assert np.allclose(to_picture(to_space(seen), seen), seen.points, atol=1e-3)


def test_a_calibration_holds_for_another_picture_size() -> None:
    small, moved = face(), face(rotation=(0.05, 0.2, 0.1), shift_px=(9.0, 4.0), scale=1.05)
    large = replace(moved, points=3.0 * moved.points, width_px=3 * moved.width_px, height_px=3 * moved.height_px)
    one, other = (drive(Retargeter(calibration=calibration(small)), [each])[0] for each in (moved, large))
    assert np.allclose(target_points(one, small), target_points(other, small), atol=1e-3)


def test_a_turn_is_the_same_on_another_face() -> None:
    portrait = face(identity=OTHER)
    found = head_between(portrait.points, target_points(read(face(rotation=(0.05, 0.2, 0.1))), portrait))
    assert np.allclose(rotation_vector(found.rotation), [0.05, 0.2, 0.1], atol=1e-4)
    assert found.scale == pytest.approx(1.0, abs=1e-4)


def test_turns_add_to_a_turned_portrait_and_stop_softly() -> None:
    portrait = face(rotation=(0.0, 0.5, 0.0))

    def yaw(angle: float) -> float:
        moved = target_points(read(face(rotation=(0.0, angle, 0.0))), portrait)
        return float(rotation_vector(head_between(face().points, moved).rotation)[1])

    assert yaw(-0.3) == pytest.approx(0.2, abs=1e-3)
    assert yaw(0.1) == pytest.approx(0.6, abs=1e-3)
    assert 0.6 < yaw(0.3) < yaw(0.6) < np.radians(45.0)


# --- expression


def test_rest_is_the_portrait_itself() -> None:
    portrait = face(rotation=(0.1, 0.3, 0.0), identity=OTHER)
    assert np.array_equal(target_points(REST, portrait), portrait.points)
    assert np.allclose(target_points(replace(REST, strength=1.0), portrait), portrait.points, atol=1e-5)
    assert np.allclose(target_points(read(face()), portrait), portrait.points, atol=1e-3)


def test_half_the_strength_is_half_the_motion() -> None:
    portrait, motion = face(identity=OTHER), read(face(rotation=(0.0, 0.3, 0.0), jaw_cm=1.0))
    whole, half = (target_points(replace(motion, strength=s), portrait) for s in (1.0, 0.5))
    opened = [mouth_gap(points) - mouth_gap(portrait.points) for points in (whole, half)]
    assert opened[1] == pytest.approx(opened[0] / 2.0, rel=0.1)
    turns = [rotation_vector(head_between(portrait.points, points).rotation)[1] for points in (whole, half)]
    assert turns == pytest.approx([0.3, 0.15], abs=1e-3)


def test_a_wider_mouth_opens_in_proportion() -> None:
    portrait = face(identity=(1.3, 1.0, 1.0))
    opened = target_points(read(face(jaw_cm=1.0)), portrait)
    own = 1.0 * PX_PER_CM
    assert own < opened[14, 1] - portrait.points[14, 1] < 1.4 * own


def test_a_blink_shuts_another_face_and_opens_it_again() -> None:
    portrait = face(identity=OTHER, rotation=(0.0, 0.3, 0.0))
    shut = target_points(read(face(shut=(1.0, 1.0))), portrait)
    for side in (0, 1):
        upper, lower = list(facemesh.LID_UPPER[side]), list(facemesh.LID_LOWER[side])
        assert np.allclose(shut[upper], shut[lower], atol=1e-3)
        mid = len(upper) // 2  # the upper lid does most of the way
        down, up = (
            shut[upper[mid], 1] - portrait.points[upper[mid], 1],
            portrait.points[lower[mid], 1] - shut[lower[mid], 1],
        )
        assert down > 4.0 * up > 0.0
    assert np.allclose(target_points(read(face()), portrait), portrait.points, atol=1e-3)


def test_a_wink_is_one_eye_and_a_small_difference_is_halved() -> None:
    assert np.allclose(read(face(shut=(1.0, 0.0))).eyes, [0.0, 1.0], atol=1e-3)
    rest = calibration(face())
    opening = [(1.0 - s) * rest.eye_open[0] - rest.eye_closed[0] for s in (0.1, 0.0)]
    apart = 1.0 - opening[0] / opening[1]
    eyes = read(face(shut=(0.1, 0.0))).eyes
    assert eyes[1] - eyes[0] == pytest.approx(apart / 2.0, abs=1e-3)


def test_the_gaze_moves_the_iris_as_a_disc_within_the_eye() -> None:
    portrait = face(identity=OTHER)
    for look, most in ((0.1, 0.11), (0.6, 0.31)):
        moved = target_points(read(face(look=(look, 0.0))), portrait)
        for side in (0, 1):
            iris, corners = list(facemesh.IRIS[side]), [facemesh.LID_UPPER[side][0], facemesh.LID_UPPER[side][-1]]
            shift = in_space(moved)[iris] - in_space(portrait.points)[iris]
            width = np.ptp(in_space(portrait.points)[corners, 0])
            assert np.allclose(shift, shift[0], atol=1e-4)
            assert 0.09 < shift[0, 0] / width < most


def test_a_shut_eye_holds_its_gaze() -> None:
    retarget = Retargeter(calibration=calibration(face()), controls=UNSMOOTHED)
    looking, shut = face(look=(0.1, 0.0)), face(look=(-0.2, 0.3), shut=(1.0, 1.0))
    before, during = drive(retarget, [looking, shut])
    assert np.allclose(during.gaze, before.gaze, atol=1e-4)


def test_lips_of_a_smiling_portrait_do_not_cross() -> None:
    portrait = face(jaw_cm=0.3)
    pressed = read(face(jaw_cm=-0.8))
    moved = target_points(pressed, portrait)
    upper, lower = list(facemesh.LIP_ROWS_UPPER[-1]), list(facemesh.LIP_ROWS_LOWER[0])
    floor = np.minimum(portrait.points[lower, 1] - portrait.points[upper, 1], 0.0)
    assert np.all(moved[lower, 1] - moved[upper, 1] >= floor - 1e-3)


@pytest.mark.parametrize("channel", ["head", "mouth", "eyes", "gaze"])
def test_a_control_at_zero_silences_its_channel_alone(channel: str) -> None:
    driver = face(rotation=(0.0, 0.2, 0.0), jaw_cm=1.0, shut=(0.3, 0.3), look=(0.1, 0.0))
    motion = read(driver, replace(UNSMOOTHED, **{channel: 0.0}))
    amounts = {
        "head": np.linalg.norm(rotation_vector(motion.rotation.astype(np.float64))),
        "mouth": abs(motion.expression[14, 1]),
        "eyes": np.abs(motion.eyes - 1.0).max(),
        "gaze": np.abs(motion.gaze).max(),
    }
    assert amounts.pop(channel) == pytest.approx(0.0, abs=1e-6)
    assert min(amounts.values()) > 0.05


# --- the rest


def test_neutral_is_the_calm_open_eyed_frontal_frame_with_its_mouth_shut() -> None:
    calm = face(shift_px=(3.0, 1.0), jaw_cm=0.2)
    others = [
        face(jaw_cm=1.5),
        face(shut=(1.0, 1.0)),
        face(rotation=(0.0, 0.5, 0.0)),
        face(jaw_cm=0.9, shut=(0.5, 0.5)),
    ]
    found = neutral_of([others[0]] * 3 + [others[1]] * 3 + [calm] * 3 + [others[2]] * 3 + [others[3]] * 3)
    assert np.allclose(found.neutral.pose, np.eye(4))
    assert np.allclose(found.eye_open, eye_gaps(to_frontal(face())), atol=1e-4)
    upper, lower = list(facemesh.LIP_ROWS_UPPER[-1]), list(facemesh.LIP_ROWS_LOWER[0])
    assert np.abs(found.neutral.points[lower, 1] - found.neutral.points[upper, 1]).max() < 0.3
    assert np.abs(found.neutral.points[STABLE] - calm.points[STABLE]).max() < 1e-2


def test_a_neutral_of_nothing_says_so() -> None:
    with pytest.raises(ValueError, match="No face was seen"):
        neutral_of([])


# --- time


def test_one_euro_follows_the_paper() -> None:
    smooth = OneEuro(Smoothness(rest_hz=2.0, per_speed=3.0))
    assert smooth(np.array([1.0]), time_ns=0) == pytest.approx([1.0])
    dt = 0.1
    speed = (2 * np.pi * dt / (2 * np.pi * dt + 1.0)) * (1.0 / dt)  # derivative low-passed at 1 Hz
    radians = 2 * np.pi * (2.0 + 3.0 * speed) * dt
    expected = 1.0 + radians / (radians + 1.0)
    assert smooth(np.array([2.0]), time_ns=100_000_000) == pytest.approx([expected])
    assert smooth(np.array([9.0]), time_ns=100_000_000) == pytest.approx([expected])  # a stamp that does not rise
    assert smooth(np.array([9.0]), time_ns=200_000_000, amount=0.0) == pytest.approx([9.0])


def test_a_still_driver_gives_a_still_portrait() -> None:
    rng = np.random.default_rng(2)
    still = face()
    noisy = [
        replace(still, points=still.points + rng.normal(0.0, 0.15, (478, 3)).astype(np.float32)) for _ in range(50)
    ]
    motions = drive(Retargeter(calibration=calibration(still)), noisy)
    points = np.array([target_points(motion, still)[:, :2] for motion in motions])[10:]
    steps = np.linalg.norm(np.diff(points, axis=0), axis=2)
    assert np.sqrt(np.square(steps).mean()) < 0.2


def test_an_opening_mouth_lags_less_than_a_frame() -> None:
    jaw = 0.6 - 0.6 * np.cos(2 * np.pi * 4.0 * np.arange(75) * FRAME_NS * 1e-9)  # four syllables a second
    motions = drive(Retargeter(calibration=calibration(face())), [face(jaw_cm=float(j)) for j in jaw])
    shown = np.array([motion.expression[14, 1] for motion in motions])
    times = np.arange(75.0)
    lags = np.arange(0.0, 3.0, 0.05)
    match = [np.corrcoef(np.interp(times - lag, times, jaw)[10:], shown[10:])[0, 1] for lag in lags]
    assert lags[int(np.argmax(match))] < 1.0


def test_a_lost_face_is_held_then_eased_to_rest_and_back_without_a_jump() -> None:
    moved, elsewhere = face(rotation=(0.0, 0.3, 0.0), jaw_cm=1.0), face(rotation=(0.0, -0.3, 0.0))
    faces = [moved] * 5 + [None] * 50 + [elsewhere] * 25
    motions = drive(Retargeter(calibration=calibration(face()), controls=UNSMOOTHED), faces)
    assert [motion.strength for motion in motions[:17]] == [1.0] * 17  # 0.48 s after the loss
    assert motions[5 + 38].strength == 0.0
    assert motions[-1].strength == pytest.approx(1.0)
    assert np.allclose(rotation_vector(motions[-1].rotation.astype(np.float64)), [0.0, -0.3, 0.0], atol=1e-3)
    points = np.array([target_points(motion, face()) for motion in motions])
    assert np.abs(points[43] - face().points).max() < 1e-3
    assert np.abs(np.diff(points, axis=0)).max() < 0.2 * np.abs(points[-1] - points[0]).max()


def test_a_face_lost_for_an_instant_returns_without_a_jump() -> None:
    faces = [face(rotation=(0.0, 0.3, 0.0))] * 5 + [None] * 3 + [face(rotation=(0.0, -0.3, 0.0))] * 15
    motions = drive(Retargeter(calibration=calibration(face()), controls=UNSMOOTHED), faces)
    points = np.array([target_points(motion, face()) for motion in motions])
    assert np.abs(np.diff(points, axis=0)).max() < 0.2 * np.abs(points[-1] - points[0]).max()


def test_a_new_driver_rests_a_second_then_moves_without_a_jump() -> None:
    retarget = Retargeter(controls=UNSMOOTHED)
    start = 5_000_000_000
    motions = drive(retarget, [face()] * 26 + [face(rotation=(0.0, 0.3, 0.0))] * 25, start_ns=start)
    assert all(motion.strength == 0.0 for motion in motions[:25])
    assert retarget.calibration is not None
    assert motions[-1].strength == pytest.approx(1.0)
    assert rotation_vector(motions[-1].rotation.astype(np.float64))[1] == pytest.approx(0.3, abs=1e-3)
    strengths = np.array([motion.strength for motion in motions])
    assert np.diff(strengths).max() < 0.2


def test_recalibrating_makes_the_present_face_the_rest() -> None:
    retarget = Retargeter(calibration=calibration(face()), controls=UNSMOOTHED)
    turned = face(rotation=(0.0, 0.2, 0.0))
    retarget.recalibrate()
    motions = drive(retarget, [turned] * 50)
    turns = [float(rotation_vector(motion.rotation.astype(np.float64))[1]) for motion in motions]
    assert turns[20] == pytest.approx(0.2, abs=1e-3)  # the old rest holds until the new one is known
    assert turns[-1] == pytest.approx(0.0, abs=1e-3)
    assert np.abs(np.diff(turns)).max() < 0.06


def test_stamps_that_jump_do_no_harm() -> None:
    retarget = Retargeter(calibration=calibration(face()))
    stamps = [0, 40, 40, 30, 90_000_000, 90_000_040, 0, 40]  # ms: doubled, backwards, a pause of a day, a loop
    for i, stamp in enumerate(stamps):
        motion = retarget(face(jaw_cm=0.2 * (i % 2)), index=i, time_ns=stamp * 1_000_000)
        assert np.isfinite(target_points(motion, face())).all()
        assert motion.time_ns == stamp * 1_000_000


# --- absolute mode


def test_absolute_mode_returns_the_drivers_own_points() -> None:
    first = face(jaw_cm=0.4)
    retarget = Retargeter(mode="absolute", controls=UNSMOOTHED, portrait=first)
    faces = [first, face(rotation=(0.1, 0.6, 0.2), shift_px=(30.0, 9.0), jaw_cm=1.0, shut=(1.0, 0.0))]
    for each, motion in zip(faces, drive(retarget, faces), strict=True):
        assert np.allclose(target_points(motion, first), each.points, atol=1e-3)


def test_absolute_mode_scales_to_a_portrait_of_another_size() -> None:
    first = face()
    twice = replace(first, points=first.points * 2.0, width_px=first.width_px * 2, height_px=first.height_px * 2)
    retarget = Retargeter(mode="absolute", controls=UNSMOOTHED, portrait=twice)
    moved = face(shift_px=(5.0, 3.0), jaw_cm=1.0)
    motions = drive(retarget, [first, moved])
    assert np.allclose(target_points(motions[1], twice), moved.points * 2.0, atol=2e-3)


def test_absolute_mode_lays_a_face_elsewhere_over_the_portrait_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    portrait = replace(face(), points=1.3 * face().points + np.array([12.0, -16.0, 0.0], np.float32))
    retarget = Retargeter(mode="absolute", controls=UNSMOOTHED, portrait=portrait)
    with caplog.at_level(logging.INFO, logger="puppet.motion"):
        motions = drive(retarget, [face(), face(jaw_cm=1.0)])
    assert len(caplog.records) == 1
    assert np.allclose(target_points(motions[0], portrait), portrait.points, atol=1e-2)
    opened = face(jaw_cm=1.0).points[14, 1] - face().points[14, 1]
    assert target_points(motions[1], portrait)[14, 1] == pytest.approx(portrait.points[14, 1] + 1.3 * opened, abs=1e-2)


# --- a real driver on other people's portraits


def test_a_real_driver_moves_mouth_and_eyes_of_a_portrait(driver: list[Landmarks], driven: np.ndarray) -> None:
    theirs = np.array([mouth_gap(each.points) for each in driver])
    ours = np.array([mouth_gap(points) for points in driven])
    assert np.corrcoef(theirs, ours)[0, 1] > 0.95
    theirs = np.array([eye_gaps(to_frontal(each)).mean() for each in driver])
    ours = np.array([eye_gaps(points).mean() for points in driven])
    assert np.corrcoef(theirs, ours)[0, 1] > 0.9
    assert ours.min() < 0.03


def test_a_real_driver_never_crosses_lips_or_lids(portrait: Landmarks, driven: np.ndarray) -> None:
    down = np.array([frame @ canonical_down(portrait) for frame in driven])
    rest = portrait.points @ canonical_down(portrait)
    for upper, lower in zip(
        (facemesh.LIP_ROWS_UPPER[-1], *facemesh.LID_UPPER),
        (facemesh.LIP_ROWS_LOWER[0], *facemesh.LID_LOWER),
        strict=True,
    ):
        gap = down[:, list(lower)] - down[:, list(upper)]
        floor = np.minimum(rest[list(lower)] - rest[list(upper)], 0.0)
        assert (gap - floor).min() > -0.02 * head_size(portrait.points)


def canonical_down(portrait: Landmarks) -> np.ndarray:
    """The portrait's own down in its picture's axes."""
    return portrait.pose[:3, :3] @ [0.0, -1.0, 0.0] * [1.0, -1.0, -1.0]


def test_a_real_driver_folds_no_skin_and_keeps_the_identity(portrait: Landmarks, driven: np.ndarray) -> None:
    filled = (
        {*facemesh.LIP_INNER_UPPER, *facemesh.LIP_INNER_LOWER},
        *({*facemesh.LID_UPPER[side], *facemesh.LID_LOWER[side]} for side in (0, 1)),
    )
    skin = np.array([t for t in canonical.TRIANGLES if not any(part.issuperset(t.tolist()) for part in filled)])

    def sides(points: np.ndarray) -> np.ndarray:
        """Twice the area of each triangle; positive, as seen from its own side."""
        a, b, c = (points[skin[:, k]] for k in range(3))
        return np.cross(b - a, c - a)

    rest, size = sides(portrait.points[:, :2]), np.square(head_size(portrait.points))
    normals = sides(canonical.VERTICES)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    outward = np.sign(np.median(normals[:, 2]))
    facing, folded = 0, 0
    for frame in driven:
        turn = fit_similarity(canonical.VERTICES[STABLE], frame[STABLE].astype(np.float64)).rotation
        front = ((normals @ turn.T)[:, 2] * outward > 0.3) & (rest * np.sign(normals[:, 2]) > 0.003 * size)
        facing += front.sum()
        folded += (sides(frame[:, :2])[front] * np.sign(rest[front]) < -2e-4 * size).sum()
    assert folded < 0.0005 * facing
    sizes = [np.linalg.norm(frame[33] - frame[263]) / np.linalg.norm(frame[168] - frame[4]) for frame in driven]
    assert np.std(sizes) / np.mean(sizes) < 0.05
