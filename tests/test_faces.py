"""Faces that the detector alone does not find, or should not be trusted with."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from puppet import faces
from puppet.faces import View, find_face, find_faces
from puppet.picture import read_picture
from puppet.tracking import settle
from puppet.types import Image, Landmarks

PORTRAITS = Path(__file__).parent.parent / "puppet/assets/portraits"


@pytest.fixture(scope="module", params=["hopper.jpg", "painting.jpg"])
def portrait(request: pytest.FixtureRequest) -> tuple[Image, Landmarks]:
    image = read_picture(PORTRAITS / request.param, long_side_px=600)
    face = find_face(image)
    assert face is not None
    return image, face


def width_px(face: Landmarks) -> float:
    return float(np.ptp(face.points[:, 0]))


def angle_deg(one: Landmarks, other: Landmarks) -> float:
    rotations = [face.pose[:3, :3] / np.cbrt(np.linalg.det(face.pose[:3, :3])) for face in (one, other)]
    return float(np.degrees(np.arccos(np.clip((np.trace(rotations[0] @ rotations[1].T) - 1) / 2, -1, 1))))


def assert_found(image: Image, expected: NDArray[np.floating], *, tolerance: float) -> Landmarks:
    """`tolerance` in face widths."""
    face = find_face(np.ascontiguousarray(image))
    assert face is not None
    assert (face.width_px, face.height_px) == (image.shape[1], image.shape[0])
    distance_px = np.linalg.norm(face.points[:, :2] - expected, axis=1).mean()
    assert distance_px < tolerance * np.ptp(expected[:, 0])
    return face


def test_a_plain_portrait_has_the_points_of_a_tracker(portrait: tuple[Image, Landmarks]) -> None:
    image, face = portrait
    tracked = settle(image)
    assert tracked is not None
    np.testing.assert_array_equal(face.points, tracked.points)


@pytest.mark.parametrize("turn_deg", [20, -20, 75])
def test_tilted(portrait: tuple[Image, Landmarks], turn_deg: float) -> None:
    image, face = portrait
    matrix = cv2.getRotationMatrix2D((image.shape[1] / 2, image.shape[0] / 2), turn_deg, 1)
    turned = cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    found = assert_found(turned, face.points[:, :2] @ matrix[:, :2].T + matrix[:, 2], tolerance=0.03)
    assert abs(angle_deg(found, face) - abs(turn_deg)) < 5


def test_small_in_a_large_picture(portrait: tuple[Image, Landmarks]) -> None:
    image, face = portrait
    scale = 60 / width_px(face)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    large = np.full((1000, 1000, 3), 90, np.uint8)
    large[700 : 700 + small.shape[0], 650 : 650 + small.shape[1]] = small
    assert_found(large, face.points[:, :2] * scale + (650, 700), tolerance=0.04)


def test_a_picture_larger_than_what_is_searched(
    portrait: tuple[Image, Landmarks], monkeypatch: pytest.MonkeyPatch
) -> None:
    image, face = portrait
    monkeypatch.setattr(faces, "SEARCH_PX", 400)
    assert_found(image, face.points[:, :2], tolerance=0.02)


def test_filling_the_picture(portrait: tuple[Image, Landmarks]) -> None:
    image, face = portrait
    left, top = (face.points[:, :2].min(axis=0) - 8).astype(int)
    right, bottom = (face.points[:, :2].max(axis=0) + 8).astype(int)
    assert_found(image[top:bottom, left:right], face.points[:, :2] - (left, top), tolerance=0.03)


def test_faint_dark_and_grey(portrait: tuple[Image, Landmarks]) -> None:
    image, face = portrait
    for treated in (image * 0.12 + 100, image * 0.15, np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)):
        assert_found(treated.astype(np.uint8), face.points[:, :2], tolerance=0.04)


def test_painted_with_a_broad_brush(portrait: tuple[Image, Landmarks]) -> None:
    image, face = portrait
    painted = cv2.stylization(image, sigma_s=60, sigma_r=0.6)
    assert_found(painted, face.points[:, :2], tolerance=0.05)


def test_a_view_maps_points_and_pose_back(portrait: tuple[Image, Landmarks]) -> None:
    image, face = portrait
    centre = (image.shape[1] / 2, image.shape[0] / 2)
    view = View.square(image, centre, 1.3 * max(image.shape), angle_deg=-30, to_px=800)
    inside = settle(view.image)
    assert inside is not None
    assert angle_deg(inside, face) > 25
    back = view.in_picture(inside)
    assert np.linalg.norm(back.points - face.points, axis=1).mean() < 0.02 * width_px(face)
    assert angle_deg(back, face) < 2
    np.testing.assert_allclose(back.pose[:3, 3], face.pose[:3, 3], atol=2)


def test_the_largest_of_a_group_is_taken_and_announced(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    group = read_picture(data / "group.jpg")
    face = find_face(group)
    assert face is not None
    assert [record.getMessage() for record in caplog.records] == ["2 faces found; took the largest"]
    alone = group.copy()
    left, right = (int(each) for each in (face.points[:, 0].min() - 20, face.points[:, 0].max() + 20))
    alone[:, left:right] = 128
    other = find_face(alone)
    assert other is not None
    assert width_px(other) < width_px(face)


def test_each_of_a_group_can_be_had(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    group = read_picture(data / "group.jpg")
    both = find_faces(group)
    assert [width_px(face) for face in both] == sorted((width_px(face) for face in both), reverse=True)
    assert len(both) == 2
    for face in both:
        x, y = face.points[:, :2].mean(axis=0)
        chosen = find_face(group, at=(float(x) + 20, float(y) - 10))
        assert chosen is not None
        np.testing.assert_array_equal(chosen.points, face.points)
    assert not caplog.records


def test_a_single_face_is_not_announced(portrait: tuple[Image, Landmarks], caplog: pytest.LogCaptureFixture) -> None:
    assert find_face(portrait[0]) is not None
    assert not caplog.records


def test_no_face() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    assert find_face(cv2.resize(noise, (240, 180), interpolation=cv2.INTER_CUBIC)) is None
