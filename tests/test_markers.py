"""Faces through five points: near the true one, whatever the head does, and refused where no face can be."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic_face import face as synthetic_face

from puppet import markers
from puppet.faces import find_face
from puppet.headpose import frontal_rotation, rotation_vector
from puppet.markers import MarkersError, face_at, fitted, markers_of, suggestion
from puppet.picture import read_picture
from puppet.types import Landmarks

HOPPER = Path(__file__).parent.parent / "puppet/assets/portraits/hopper.jpg"


def apart(one: Landmarks, other: Landmarks) -> float:
    """Mean distance of the points in the picture, in face widths."""
    distance = np.linalg.norm(one.points[:, :2] - other.points[:, :2], axis=1).mean()
    return float(distance / np.ptp(other.points[:, 0]))


def turn_deg(one: Landmarks, other: Landmarks) -> float:
    between = frontal_rotation(one) @ frontal_rotation(other).T
    return float(np.degrees(np.linalg.norm(rotation_vector(between))))


def refit(face: Landmarks) -> Landmarks:
    return fitted(markers_of(face), width_px=face.width_px, height_px=face.height_px)


@pytest.mark.parametrize(
    "rotation", [(0.14, 0, 0), (0.14, 0.5, 0), (0.1, -0.6, 0), (0.14, 0, 0.5), (0, 0, -1.4), (0.14, 0.3, 2.6)]
)
def test_turned_heads(rotation: tuple[float, float, float]) -> None:
    face = synthetic_face(rotation=rotation, shift_px=(30, -20), scale=0.7)
    again = refit(face)
    np.testing.assert_allclose(markers_of(again), markers_of(face), atol=0.2)
    assert apart(again, face) < 0.03
    assert turn_deg(again, face) < 10
    assert again.points.shape == (478, 3)
    assert again.points.dtype == again.blendshapes.dtype == again.pose.dtype == np.float32
    assert not again.blendshapes.any()


def test_other_proportions_are_met() -> None:
    face = synthetic_face(rotation=(0.14, 0, 0), identity=(1.25, 0.9, 1.0))
    assert apart(refit(face), face) < 0.02


def test_depth_and_irises_are_a_faces() -> None:
    face = refit(synthetic_face(rotation=(0.14, 0.4, 0)))
    nose, ears = face.points[1, 2], face.points[[127, 356], 2]
    assert nose < ears.min()
    assert ears[0] < ears[1] or ears[1] < ears[0]
    left, right = face.points[468, :2], face.points[473, :2]
    np.testing.assert_allclose([left, right], markers_of(face)[:2], atol=1.0)


def test_pose_says_where_the_face_is() -> None:
    """As FaceLandmarker does: its camera sees the canonical model's points near the landmarks."""
    image = read_picture(HOPPER, long_side_px=600)
    found = find_face(image)
    assert found is not None
    again = refit(found)
    assert apart(again, found) < 0.04
    assert turn_deg(again, found) < 6
    np.testing.assert_allclose(again.pose[:3, 3], found.pose[:3, 3], rtol=0.15, atol=1.0)
    # and where the detector agrees with the markers, its own points are taken
    rough = np.array(markers_of(found)) + np.random.default_rng(1).normal(0, 3, (5, 2))
    assert apart(face_at(image, rough.tolist()), found) < 0.01


def test_where_the_detector_sees_nothing_the_fit_stays() -> None:
    wall = np.full((240, 320, 3), 120, np.uint8)
    cv2.circle(wall, (160, 120), 60, (200, 180, 150), -1)
    placed = [(140.0, 100.0), (180.0, 100.0), (160.0, 122.0), (147.0, 145.0), (173.0, 145.0)]
    face = face_at(wall, placed)
    np.testing.assert_array_equal(face.points, fitted(placed, width_px=320, height_px=240).points)


@pytest.mark.parametrize(
    ("placed", "reason"),
    [
        ([(0, 0)] * 5, "too near to each other"),
        ([(10, 10), (50, 10), (30, 10), (20, 10), (40, 10)], "on one line"),
        ([(50, 10), (10, 10), (30, 30), (15, 50), (45, 50)], "mixed up"),
        ([(10, 50), (50, 50), (30, 30), (15, 10), (45, 10)], "mixed up"),
        ([(10, 10), (50, 10), (30, 30)], "needs 5 points"),
        ([(float("nan"), 10), (50, 10), (30, 30), (15, 50), (45, 50)], "needs 5 points"),
    ],
)
def test_impossible_markers_are_refused(placed: list[tuple[float, float]], reason: str) -> None:
    with pytest.raises(MarkersError, match=reason):
        fitted(placed, width_px=100, height_px=100)


@pytest.mark.parametrize(("width_px", "height_px"), [(100, 100), (64, 3000), (4000, 500)])
def test_the_suggestion_is_a_face_in_the_picture(width_px: int, height_px: int) -> None:
    placed = suggestion(width_px, height_px)
    assert all(0 < x < width_px and 0 < y < height_px for x, y in placed)
    assert len(placed) == markers.COUNT
    assert fitted(placed, width_px=width_px, height_px=height_px).points[0, 0] == pytest.approx(width_px / 2, abs=1)
