"""How hair and shoulders follow the head: the arithmetic, the network, and the engine that stands on both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engines import flow
from engines.figure import figure_of
from engines.geometry import Crop
from engines.neural import DEFAULT, NeuralEngine
from engines.response import CELLS, CHANGES, head_change, responses, turned_from
from engines.rig import Rig
from engines.training.rigged import digest, rig_of, rigged
from engines.warp import WarpEngine
from engines.weights import WeightsError
from puppet import facemesh
from puppet.headpose import fit_similarity, rotation_matrix
from puppet.portrait import prepare
from puppet.settings import sample_portraits
from puppet.types import Floats, Portrait, PortraitEmbedding


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return prepare(sample_portraits()[0], long_side_px=512)


@pytest.fixture(scope="module")
def plain(portrait: Portrait) -> PortraitEmbedding:
    with WarpEngine() as warp:
        return warp.embed(portrait)


def moved(points: Floats, *, turn: tuple[float, ...] = (0, 0, 0), growth: float = 1, shift_px: float = 0) -> Floats:
    middle = points[list(facemesh.SKULL)].mean(axis=0)
    there = growth * (points - middle) @ rotation_matrix(np.array(turn, float)).T + middle + (shift_px, 0, 0)
    return there.astype(np.float32)


def change(points: Floats, target: Floats) -> Floats:
    skull = list(facemesh.SKULL)
    return head_change(fit_similarity(points[skull].astype(float), target[skull].astype(float)), points)


def test_each_motion_of_the_head_has_its_number(portrait: Portrait) -> None:
    points = portrait.landmarks.points
    np.testing.assert_allclose(change(points, points), 0, atol=1e-4)
    yaw, pitch, roll, growth, right = (
        change(points, moved(points, **each))
        for each in (
            {"turn": (0, 0.15, 0)},
            {"turn": (0.08, 0, 0)},
            {"turn": (0, 0, -0.08)},
            {"growth": 1.04},
            {"shift_px": 0.12 * flow.face_size(points)},
        )
    )
    for index, found in ((0, yaw), (1, -pitch), (2, roll), (3, growth), (4, right)):
        assert found[index] == pytest.approx(1, abs=0.1)
        assert np.abs(np.delete(found, index)).max() < 0.2
    assert np.abs(change(points, moved(points, growth=3))).max() == 4  # no clip goes that far


def test_a_head_at_rest_was_where_it_is(portrait: Portrait) -> None:
    points = Crop.of(portrait.landmarks).to_square(portrait.landmarks.points)
    skull = list(facemesh.SKULL)
    still = fit_similarity(points[skull].astype(float), points[skull].astype(float))
    places = turned_from(still, points)
    np.testing.assert_allclose(places[0, 0], (1.5, 1.5), atol=0.05)
    np.testing.assert_allclose(places[63, 20], (81.5, 253.5), atol=0.05)


def test_responses_are_read_where_the_places_lie_in_the_square() -> None:
    rig = np.zeros((2 * CHANGES, CELLS, CELLS), np.float32)
    rig[2, :, 8:] = 6  # pitch moves the right half along x
    crop = Crop(left=100, top=50, side=512)
    found = responses(rig, np.array([[110, 300], [600, 60], [9000, 300]], np.float32), crop)
    np.testing.assert_allclose(found[:, 1, 0], (0, 12, 12))  # two px of the picture to one of the square
    assert np.count_nonzero(found) == 2


def test_only_what_surrounds_the_face_responds(plain: PortraitEmbedding) -> None:
    rig = np.zeros((1, 2 * CHANGES, CELLS, CELLS), np.float32)
    rig[0, 0] = 5  # x, when it turns sideways
    responsive = PortraitEmbedding(plain.engine, plain.portrait, {**plain.tensors, "rig": rig})
    before, after = figure_of(plain), figure_of(responsive)
    target = moved(before.points, turn=(0, 0.15, 0))
    shifts = flow.displacements(after.controls, after.points, target)
    further = shifts - flow.displacements(before.controls, before.points, target)
    count = len(flow.FACE_CONTROLS)
    assert not further[:count].any()
    crop = Crop.of(plain.portrait.landmarks)
    np.testing.assert_allclose(further[count:, 0], 5 * crop.side / 256, rtol=0.1)
    assert not further[count:, 1].any()
    still = flow.displacements(after.controls, after.points, after.points)
    np.testing.assert_allclose(still, 0, atol=1e-2)


@torch.inference_mode()
def test_an_untrained_rig_lets_all_go_with_the_head() -> None:
    rig = Rig().eval()
    picture, mask = torch.rand(2, 3, 256, 256), torch.rand(2, 1, 256, 256)
    found = rig(picture, picture, mask)
    assert found.shape == (2, 2 * CHANGES, CELLS, CELLS)
    assert not found.any()
    assert digest(rig) != digest(Rig())


def test_training_and_application_have_the_same_rig(portrait: Portrait, plain: PortraitEmbedding) -> None:
    with NeuralEngine() as neural:
        shipped = neural.embed(portrait).tensors["rig"]
    ours = rigged(plain, rig_of(DEFAULT)).tensors["rig"]
    assert np.abs(shipped).max() > 0.3
    np.testing.assert_allclose(shipped, ours, atol=0.05)
    assert rigged(plain, None) is plain


def test_a_file_without_a_rig_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match="cannot be read"):
        rig_of(path)
