"""The follower gives what FaceLandmarker's graph would, on real clips; and what happens without it."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from puppet.camera import VideoFile
from puppet.facepose import face_pose
from puppet.follower import Follower
from puppet.picture import read_picture
from puppet.settings import asset
from puppet.tracking import FaceTracker, _Landmarker, settle
from puppet.types import Frame, Image, Landmarks

DATA = Path(__file__).parent / "data"
STEP_MS = 333  # as the tracker stretches 30 fps


@pytest.fixture(scope="module")
def follower() -> Follower:
    return Follower()


def tilted(image: Image, angle_deg: float) -> Image:
    height_px, width_px = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width_px / 2, height_px / 2), angle_deg, 0.8)
    return np.asarray(cv2.warpAffine(image, matrix, (width_px, height_px)), np.uint8)


def by_both(follower: Follower, images: list[Image]) -> list[tuple[Landmarks, Landmarks]]:
    """The graph's face and the follower's in each picture but the first, where the graph finds it."""
    graph = _Landmarker(faces=1, video=True)
    pairs = []
    for index, image in enumerate(images):
        time_ms = 1 + STEP_MS * index
        found = graph.find(image, time_ms=time_ms)[0]
        if index == 0:
            follower.start(found, time_ns=time_ms * 1_000_000)
        else:
            followed = follower(Frame(image, index, time_ms), time_ns=time_ms * 1_000_000)
            assert followed is not None
            pairs.append((found, followed))
    graph.close()
    return pairs


@pytest.mark.parametrize("name", ["face.mp4", "turn.mp4"])
def test_a_clip_is_followed_as_by_the_graph(follower: Follower, name: str) -> None:
    with VideoFile(DATA / name) as video:
        images = [frame.image for frame in video][:40]
    pairs = by_both(follower, images)[5:]  # the graph comes to rest on a first face
    size_px = np.ptp(pairs[0][0].points[:, :2], axis=0).max()
    differences = np.array([np.abs(one.points - other.points) for one, other in pairs]) / size_px
    assert differences[:, :, :2].mean() < 0.001
    assert differences[:, :, 2].mean() < 0.002
    assert np.mean([np.abs(one.blendshapes - other.blendshapes).mean() for one, other in pairs]) < 0.005
    turns = [np.abs(one.pose[:3, :3] - other.pose[:3, :3]).max() for one, other in pairs]
    assert np.mean(turns) < 0.01
    moved = np.abs(np.diff([one.points for one, _ in pairs], axis=0)).mean() / size_px
    assert moved > 0.001  # or nothing was shown


@pytest.mark.parametrize("angle_deg", [-25, 0, 25])
def test_a_tilted_face_is_followed_as_by_the_graph(follower: Follower, angle_deg: float) -> None:
    still = [tilted(read_picture(asset("portraits/astronaut.jpg")), angle_deg)[:400]] * 8
    found, followed = by_both(follower, still)[-1]
    size_px = np.ptp(found.points[:, :2], axis=0).max()
    assert np.abs(found.points - followed.points).mean() / size_px < 0.002
    depth = np.polyfit(found.points[:, 2], followed.points[:, 2], 1)
    np.testing.assert_allclose(depth[0], 1, atol=0.01)


def test_the_pose_is_that_of_the_graph() -> None:
    face = settle(read_picture(asset("portraits/hopper.jpg")))
    assert face is not None
    found = face_pose(face.points, width_px=face.width_px, height_px=face.height_px)
    np.testing.assert_allclose(found, face.pose, atol=1e-3)
    assert found.dtype == np.float32


def test_a_face_that_is_gone_is_not_followed(follower: Follower) -> None:
    image = read_picture(asset("portraits/hopper.jpg"))
    face = settle(image)
    assert face is not None
    follower.start(face, time_ns=0)
    assert follower(Frame(image, 1, 7), time_ns=1_000_000_000) is not None
    assert follower(Frame(np.full_like(image, 90), 2, 8), time_ns=2_000_000_000) is None


def test_without_openvino_the_graph_follows_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "puppet.follower", None)
    image = read_picture(asset("portraits/hopper.jpg"))
    with FaceTracker() as tracker:
        faces = [tracker(Frame(image, index, index * 33_000_000)) for index in range(3)]
    assert all(face is not None for face in faces)
    assert "MediaPipe does, which takes twice the time." in caplog.text
