"""The face describer that losses use, beside the one in numpy, and the squares that it sees of augmented pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engines.training import losses
from engines.training.augmentation import augmented, mirrored
from engines.training.clips import find_clips
from engines.training.data import Batch, collate
from engines.training.pairs import Pairs, prepare
from engines.training.perceptual import PerceptualNet
from engines.training.resemblance import FaceDescriber, cut
from engines.training.sample import sample
from puppet import identity
from puppet.types import Image, Landmarks


@pytest.fixture(scope="module")
def held(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    folder = tmp_path_factory.mktemp("clips")
    (folder / "real__bert__turns.mp4").symlink_to(data / "turn.mp4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engines.training.pairs.PORTRAITS_PER_CLIP", 3)
        made = prepare(find_clips(folder)[0], tracks=folder / "tracks", cache=folder / "pairs")
    assert made is not None
    return Pairs.load(made)


@pytest.fixture(scope="module")
def describer() -> FaceDescriber:
    return FaceDescriber()


def tensor(image: Image) -> Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255


def test_descriptors_are_those_of_numpy(held: Pairs, describer: FaceDescriber) -> None:
    frame = int(held.pairs[0, 1])
    face = Landmarks(held.points[frame], np.zeros(52, np.float32), np.eye(4, dtype=np.float32), 256, 256)
    found = describer(tensor(held.frames[frame]), torch.from_numpy(identity.upright(face.points))[None])[0].numpy()
    wanted = identity.describe(held.frames[frame], face)
    assert np.linalg.norm(wanted) > 1
    assert identity.distance(found, wanted) < 0.08


def test_whoever_is_painted_comes_nearer(held: Pairs, describer: FaceDescriber) -> None:
    """Gradients reach the picture, and lead to the person."""
    frame = int(held.pairs[0, 1])
    true, square = tensor(held.frames[frame]), torch.from_numpy(identity.upright(held.points[frame]))[None]
    painted = (0.6 * true + 0.4 * true.flip(3)).requires_grad_()
    distances = []
    for _ in range(4):
        distance = describer.distance(painted, true, square).mean()
        (slope,) = torch.autograd.grad(distance, painted)
        painted = (painted - 0.5 * distance * slope / slope.square().sum()).detach().requires_grad_()
        distances.append(distance.item())
    assert distances[-1] < 0.9 * distances[0]
    assert describer.distance(true, true, square).item() < 0.01


def test_the_square_goes_with_a_mirrored_pair(held: Pairs) -> None:
    pair = sample(held, 0)
    seen, turned = (squares(collate([each]).to(torch.device("cpu"))) for each in (pair, mirrored(pair)))
    assert (seen.flip(3) - turned).abs().mean() < 0.005
    assert (seen - turned).abs().mean() > 0.02


def test_the_square_goes_with_a_closer_look(held: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = sample(held, 0)
    seen = squares(collate([pair]).to(torch.device("cpu")))
    moved = 0
    for seed in range(12):
        closer = augmented(pair, np.random.default_rng(seed))
        there = squares(collate([closer]).to(torch.device("cpu")))
        middle = (slice(None), slice(None), slice(50, 100), slice(50, 100))  # the rest may be cut off
        likeness = [
            float(np.corrcoef(first[middle].mean(1).flatten(), there[middle].mean(1).flatten())[0, 1])
            for first in (seen, seen.flip(3))
        ]
        assert max(likeness) > 0.9
        moved += not np.array_equal(closer.upright, pair.upright)
    assert moved > 6


def test_identity_is_a_loss_of_its_own(
    held: Pairs, load_features: Callable[[str], PerceptualNet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PerceptualNet, "load", staticmethod(load_features))
    batch = collate([sample(held, index) for index in (0, 1)]).to(torch.device("cpu"))
    weights = losses.Weights(pixels=0, openings=0, whole=0, crop=0, flow=0, identity=2)
    content = losses.Content(weights, device=torch.device("cpu"))
    assert set(content(batch.target, None, batch)) == {"identity"}
    assert content(batch.target, None, batch)["identity"] < 0.02
    assert content(batch.warped, None, batch)["identity"] > 0.05


def squares(batch: Batch) -> Tensor:
    return cut(batch.target, batch.upright)
