"""The drawings that networks were trained with must never change unnoticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines import geometry
from engines.geometry import Crop, head_motion, openings, rasterise
from puppet.tracking import settle
from puppet.types import Image, Landmarks
from puppet.video import VideoFile


@pytest.fixture(scope="module")
def picture(data: Path) -> Image:
    with VideoFile(data / "face.mp4") as video:
        return next(iter(video)).image


@pytest.fixture(scope="module")
def face(picture: Image) -> Landmarks:
    found = settle(picture)
    assert found is not None
    return found


def _crop(picture: Image, face: Landmarks) -> Crop:
    return Crop.around(face.points, width_px=picture.shape[1], height_px=picture.shape[0])


def _still(columns: int = 22) -> np.ndarray:
    """478 made-up points on a grid that covers the square."""
    index = np.arange(478)
    x, y = index % columns, index // columns
    return np.stack([x * 11.0 + 8.3, y * 11.0 + 8.7, np.zeros(478)], axis=1).astype(np.float32)


# Mean brightness of the drawing's 64 px blocks, of `_still()`: unlike a checksum it allows for another antialiasing.
GOLDEN_BLOCKS = [
    [19.07, 32.97, 43.39, 17.39],
    [21.84, 40.25, 36.62, 11.60],
    [19.73, 52.08, 31.46, 12.88],
    [12.93, 25.83, 17.98, 2.88],
]
GOLDEN_OPENINGS = 76.42


def test_drawing_of_known_points_is_the_one_that_networks_know() -> None:
    raster, mask = rasterise(_still()), openings(_still())
    blocks = raster.reshape(4, 64, 4, 64, 3).mean(axis=(1, 3, 4))
    assert geometry.VERSION == 1
    np.testing.assert_allclose(blocks, GOLDEN_BLOCKS, atol=0.5)
    assert mask.mean() == pytest.approx(GOLDEN_OPENINGS, abs=0.2)


def test_crop_lies_in_the_picture_and_holds_the_face(picture: Image, face: Landmarks) -> None:
    crop = _crop(picture, face)
    assert crop.left >= 0
    assert crop.top >= 0
    assert crop.left + crop.side <= picture.shape[1]
    assert crop.top + crop.side <= picture.shape[0]
    points = crop.to_square(face.points)
    assert points[:, :2].min() > 0
    assert points[:, :2].max() < geometry.SIDE_PX
    assert crop.cut(picture).shape == (256, 256, 3)


def test_crop_of_a_square_of_the_networks_own_size_changes_no_pixel() -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (256, 256, 3), np.uint8)
    crop = Crop(0, 0, 256)
    np.testing.assert_array_equal(crop.cut(picture), picture)
    np.testing.assert_array_equal(crop.to_square(_still()), _still())


def test_drawing_follows_the_face_by_fractions_of_a_pixel(picture: Image, face: Landmarks) -> None:
    points = _crop(picture, face).to_square(face.points)
    shifted = points + np.array([0.25, 0, 0], np.float32)
    assert not np.array_equal(rasterise(points), rasterise(shifted))
    whole = points + np.array([3, 0, 0], np.float32)
    np.testing.assert_array_equal(rasterise(points)[:, :-3], rasterise(whole)[:, 3:])


def test_openings_are_larger_when_the_mouth_is_open(picture: Image, face: Landmarks) -> None:
    points = _crop(picture, face).to_square(face.points)
    wide = points.copy()
    wide[[14, 87, 317, 178, 402, 88, 318], 1] += 12
    assert openings(wide).sum() > openings(points).sum() * 1.2


def test_head_motion_tells_where_a_moved_head_is_taken_from() -> None:
    portrait = _still()
    target = portrait + np.array([6, -4, 0], np.float32)
    motion = head_motion(portrait, target)
    assert motion.shape == (64, 64, 4)
    np.testing.assert_allclose(motion[..., :2] * 16, np.broadcast_to([-6, 4], (64, 64, 2)), atol=1e-3)
    row, column = np.argwhere(np.abs(motion[..., 2:]).max(axis=2) < 0.02)[0]
    low, high = target[:, :2].min(axis=0), target[:, :2].max(axis=0)
    np.testing.assert_allclose([column * 4 + 2, row * 4 + 2], (low + high) / 2, atol=6)


def test_head_motion_of_a_larger_head_points_inwards() -> None:
    portrait = _still()
    middle = portrait.mean(axis=0)
    motion = head_motion(portrait, (portrait - middle) * 1.25 + middle)
    assert (motion[..., 0] * motion[..., 2] <= 1e-3).all()
    assert motion[32, 0, 0] > 0.5 > -0.5 > motion[32, 63, 0]
