"""The tracker on real pictures: where the points lie, which face it follows, what the user sees of its library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from puppet import tracking
from puppet.picture import read_picture
from puppet.tracking import FaceDetector, FaceTracker, ModelError, detect, settle
from puppet.types import Frame, Image, Landmarks

ROOT = Path(__file__).parent.parent
HOPPER = ROOT / "puppet/assets/portraits/hopper.jpg"
GROUP = ROOT / "tests/data/group.jpg"


@pytest.fixture(scope="module")
def hopper() -> Image:
    return read_picture(HOPPER)


def distance_px(one: Landmarks, other: Landmarks) -> float:
    return float(np.linalg.norm(one.points[:, :2] - other.points[:, :2], axis=1).mean())


def shifted(image: Image, right_px: int) -> Image:
    matrix = np.array([[1, 0, right_px], [0, 1, 0]], np.float32)
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def test_values_have_the_documented_shapes_and_units(hopper: Image) -> None:
    with FaceTracker() as tracker:
        face = tracker(Frame(hopper, 7, 123))
    assert face is not None
    assert (face.points.shape, face.points.dtype) == ((478, 3), np.float32)
    assert (face.blendshapes.shape, face.pose.shape) == ((52,), (4, 4))
    assert (face.index, face.time_ns, face.width_px, face.height_px) == (7, 123, hopper.shape[1], hopper.shape[0])
    left_eye, right_eye, chin = face.points[468], face.points[473], face.points[152]
    assert 0 < left_eye[0] < right_eye[0] < hopper.shape[1]
    assert left_eye[1] < chin[1] < hopper.shape[0]
    assert face.points[1, 2] < face.points[234, 2]  # the nose is nearer than the cheek
    np.testing.assert_allclose(face.pose[3], [0, 0, 0, 1])
    assert face.pose[2, 3] < 0  # before a camera that looks along -z


def test_a_first_frame_agrees_with_the_same_picture_as_a_portrait_and_with_later_frames(hopper: Image) -> None:
    portrait = settle(hopper)
    with FaceTracker() as tracker:
        faces = [tracker(Frame(hopper, index, index * 33_000_000)) for index in range(6)]
    assert portrait is not None
    distances = [distance_px(portrait, face) / portrait.width_px for face in faces if face is not None]
    assert len(distances) == 6
    assert distances[0] == 0
    assert max(distances) < 0.5 / 256


def test_points_follow_a_moving_face_without_lagging_behind(hopper: Image) -> None:
    with FaceTracker() as tracker:
        faces = [tracker(Frame(shifted(hopper, 6 * index), index, index * 33_000_000)) for index in range(8)]
    travelled = [face.points[:, 0].mean() for face in faces if face is not None]
    np.testing.assert_allclose(np.diff(travelled)[2:], 6, atol=2)


@pytest.mark.parametrize("times_ms", [(0, 0, 0), (1000, 2000, 0), (5000, 4000, 4001)], ids=str)
def test_times_may_repeat_and_jump_back(hopper: Image, times_ms: tuple[int, ...]) -> None:
    with FaceTracker() as tracker:
        faces = [tracker(Frame(hopper, index, time * 1_000_000)) for index, time in enumerate(times_ms)]
    assert all(face is not None for face in faces)


def test_a_lost_face_is_none_and_comes_back(hopper: Image) -> None:
    empty = np.full_like(hopper, 90)
    with FaceTracker() as tracker:
        seen = [tracker(Frame(image, 0, 0)) is not None for image in (empty, hopper, empty, hopper)]
    assert seen == [False, True, False, True]


def test_a_face_that_fills_the_picture_is_tracked(hopper: Image) -> None:
    face = settle(hopper)
    assert face is not None
    (left, top), (right, bottom) = face.points[:, :2].min(axis=0), face.points[:, :2].max(axis=0)
    side, middle = int(1.3 * (bottom - top) / 2), ((left + right) / 2, (top + bottom) / 2)
    x, y = (max(0, int(each) - side) for each in middle)
    close = np.ascontiguousarray(hopper[y : y + 2 * side, x : x + 2 * side])
    tight = settle(close)
    assert tight is not None
    assert np.abs(tight.points[:, :2] + (x, y) - face.points[:, :2]).mean() < 0.02 * (bottom - top)


def test_with_several_faces_the_largest_is_chosen_and_kept() -> None:
    group = read_picture(GROUP)
    faces = detect(group, faces=5)
    assert len(faces) > 1
    widths = [np.ptp(face.points[:, :2], axis=0).max() for face in faces]
    assert widths == sorted(widths, reverse=True)
    with FaceTracker(faces=5) as tracker:
        chosen = tracker(Frame(group, 0, 0))
        assert chosen is not None
        assert distance_px(chosen, faces[0]) < 0.1 * widths[0]
        bigger_elsewhere = group.copy()
        x, y = faces[0].points[:, :2].mean(axis=0).astype(int)
        half = int(widths[0])
        crop = group[max(0, y - half) : y + half, max(0, x - half) : x + half]
        other_x = faces[1].points[:, 0].mean()
        grown = cv2.resize(crop, None, fx=1.3, fy=1.3)[: group.shape[0], : group.shape[1] // 3]
        at = slice(-grown.shape[1], None) if other_x > x else slice(None, grown.shape[1])
        bigger_elsewhere[: grown.shape[0], at] = grown
        kept = tracker(Frame(bigger_elsewhere, 1, 33_000_000))
    assert kept is not None
    assert distance_px(kept, chosen) < 0.1 * widths[0]


def test_close_may_be_called_again() -> None:
    detector = FaceDetector()
    detector.close()
    detector.close()


def test_a_damaged_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "face_landmarker.task"
    damaged.write_bytes(tracking.MODEL.read_bytes() + b"\0")
    monkeypatch.setattr(tracking, "MODEL", damaged)
    with pytest.raises(ModelError, match=r"is damaged .*; install the program again\.$"):
        FaceTracker()
    monkeypatch.setattr(tracking, "MODEL", tmp_path / "none.task")
    with pytest.raises(ModelError, match=r"cannot be read .*; install the program again\.$"):
        FaceTracker()


def test_the_library_is_silent_and_other_messages_are_not_lost(
    hopper: Image, capfd: pytest.CaptureFixture[str]
) -> None:
    settle(hopper)
    assert capfd.readouterr() == ("", "")
    with tracking.quiet_stderr():
        os.write(2, b"W0000 00:00:17.25  12 some.cc:1] chatter\nours\n")
    assert capfd.readouterr() == ("", "ours\n")


def test_no_more_of_mediapipe_is_imported_than_is_used() -> None:
    unused = "{'jax', 'matplotlib', 'sounddevice', 'tensorflow'}"
    code = f"import sys, puppet.tracking, puppet.matting; print({unused} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "set()\n"
