"""The matte and the still background of the bundled portraits."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from puppet import matting
from puppet.facemesh import OVAL
from puppet.faces import find_face
from puppet.matting import Matte, person_matte, still_background
from puppet.picture import read_picture
from puppet.types import Image, Landmarks

PORTRAITS = Path(__file__).parent.parent / "puppet/assets/portraits"

Prepared = tuple[Image, Landmarks, Matte]


@pytest.fixture(scope="module", params=["astronaut.jpg", "hopper.jpg", "painting.jpg"])
def prepared(request: pytest.FixtureRequest) -> Prepared:
    image = read_picture(PORTRAITS / request.param, long_side_px=500)
    face = find_face(image)
    assert face is not None
    return image, face, person_matte(image, face)


def test_the_person_is_whole_and_the_corners_are_background(prepared: Prepared) -> None:
    image, face, matte = prepared
    assert matte.shape == image.shape[:2]
    assert matte.dtype == np.uint8
    oval = np.zeros_like(matte)
    cv2.fillConvexPoly(oval, face.points[list(OVAL), :2].astype(np.int32), (1,))
    assert (matte[cv2.erode(oval, np.ones((9, 9), np.uint8)) > 0] == 255).all()
    crown = face.points[10, :2] - 0.15 * (face.points[152, :2] - face.points[10, :2])  # hair or hat
    chest = face.points[152, :2] + 0.6 * (face.points[152, :2] - face.points[10, :2])
    for x, y in (crown, chest):
        assert matte[round(y), round(x)] == 255
    assert (matte[:20, :20] == 0).all()
    assert (matte[:20, -20:] == 0).all()


def test_it_is_one_piece_without_holes_behind_its_edge(prepared: Prepared) -> None:
    _, face, matte = prepared
    _, _, statistics, _ = cv2.connectedComponentsWithStats((matte > 127).astype(np.uint8))
    areas = sorted(statistics[1:, cv2.CC_STAT_AREA])
    assert areas[-1] > 0.999 * sum(areas)
    outline, _ = cv2.findContours((matte > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(matte), outline, -1, (1,), -1)
    edge_px = round(0.08 * np.ptp(face.points[:, 0]))
    inside = cv2.distanceTransform(filled, cv2.DIST_L2, 5) > edge_px
    assert inside.any()
    assert (matte[inside] == 255).all()


def test_it_is_saturated_away_from_its_edge(prepared: Prepared) -> None:
    _, face, matte = prepared
    edge = (matte > 0) & (matte < 255)
    assert 0.002 < edge.mean() < 0.06
    near = cv2.dilate((matte > 127).astype(np.uint8), np.ones((3, 3), np.uint8)) != cv2.erode(
        (matte > 127).astype(np.uint8), np.ones((3, 3), np.uint8)
    )
    distance_px = cv2.distanceTransform((~near).astype(np.uint8), cv2.DIST_L2, 5)
    assert distance_px[edge].max() < 0.15 * np.ptp(face.points[:, 0])


def test_the_background_is_the_picture_outside_the_matte_and_never_the_person(prepared: Prepared) -> None:
    image, face, matte = prepared
    background = still_background(image, matte)
    outside = matte == 0
    np.testing.assert_array_equal(background[outside], image[outside])
    oval = np.zeros_like(matte)
    cv2.fillConvexPoly(oval, face.points[list(OVAL), :2].astype(np.int32), (1,))
    lower, upper = np.percentile(image[outside], [0, 100], axis=0)
    filled = cv2.blur(background, (9, 9))[oval > 0]
    assert (filled >= lower - 10).all()
    assert (filled <= upper + 10).all()
    assert np.abs(filled.mean(axis=0) - image[oval > 0].mean(axis=0)).max() > 20  # no trace of the face


def test_larger_pictures_get_the_same_edges_enlarged(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    image, face, matte = prepared
    monkeypatch.setattr(matting, "FINEST_PX", 300)
    coarse = person_matte(image, face)
    assert coarse.shape == matte.shape
    assert np.abs(coarse.astype(int) - matte).mean() < 8
    background = still_background(image, coarse)
    np.testing.assert_array_equal(background[coarse == 0], image[coarse == 0])
    assert np.abs(background.astype(int) - still_background(image, matte)).mean() < 8


def test_the_filling_continues_what_surrounds_it() -> None:
    ramp = np.tile(np.linspace(40, 200, 300), (200, 1))
    image = np.repeat(ramp[..., None], 3, axis=2).astype(np.uint8)
    person = image.copy()
    matte = np.zeros(image.shape[:2], np.uint8)
    cv2.circle(matte, (150, 110), 50, (255,), -1)
    person[matte > 0] = (255, 0, 0)
    background = still_background(person, matte)
    assert np.abs(background.astype(int) - image).max() < 40
    assert np.abs(background.astype(int) - image).mean() < 4


def test_what_is_made_up_has_no_colours_that_are_nowhere_around() -> None:
    """Behind the person, slanting blinds meet a curtain, as a camera with a little noise sees them."""
    rows, columns = np.mgrid[:256, :256]
    light = ((rows + columns // 3) // 9 % 2)[..., None]
    sharp = np.where((columns < 150)[..., None], 40.0 + 200 * light, (90.0, 30.0, 25.0))
    noise = np.random.default_rng(0).normal(0, 3, sharp.shape)
    image = (cv2.GaussianBlur(sharp, (0, 0), 0.8) + noise).clip(0, 255).astype(np.uint8)
    matte = np.zeros(image.shape[:2], np.uint8)
    cv2.ellipse(matte, (130, 140), (70, 100), 0, 0, 360, (255,), -1)
    background = still_background(np.where(matte[..., None] > 0, np.uint8(128), image), matte)
    made_up, around = (
        cv2.cvtColor(cv2.blur(picture, (5, 5)), cv2.COLOR_RGB2YCrCb)[where, 1:].astype(int)
        for picture, where in ((background, matte > 0), (image, matte == 0))
    )
    assert (made_up.min(axis=0) > around.min(axis=0) - 5).all()
    assert (made_up.max(axis=0) < around.max(axis=0) + 5).all()


def test_texture_is_not_taken_for_grain() -> None:
    random = np.random.default_rng(0)
    image = random.integers(60, 200, (128, 128, 1)).repeat(3, axis=2).astype(np.uint8)
    matte = np.zeros(image.shape[:2], np.uint8)
    cv2.circle(matte, (64, 64), 50, (255,), -1)
    middle = still_background(image, matte)[54:74, 54:74, 0].astype(float)
    assert (middle - cv2.GaussianBlur(middle, (0, 0), 3)).std() < 1.2 * matting.MOST_GRAIN


def test_a_person_that_hides_everything_leaves_a_plain_background() -> None:
    image = np.tile(np.array([[[0, 20, 30]], [[200, 40, 30]]], np.uint8), (40, 60, 1))
    background = still_background(image, np.full((80, 60), 255, np.uint8))
    np.testing.assert_allclose(background.mean(axis=(0, 1)), (100, 30, 30), atol=2)
    assert background.std(axis=(0, 1)).max() < 3
