"""The realism score: every runner's critic says the same, calibrated, and the neural engine knows its newest frame."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from engines import EngineUnavailable, build, geometry, realism
from engines.critic import Critic
from engines.neural import NeuralEngine
from engines.realism import Realism
from engines.warp import WarpEngine
from engines.weights import CRITIC_VERSION, FOLDER, WeightsError
from puppet.portrait import prepare
from puppet.settings import sample_portraits
from puppet.types import Portrait, PuppetError

METADATA = {"model": "critic", "network": str(CRITIC_VERSION), "geometry": str(geometry.VERSION)}


@pytest.fixture(scope="module")
def critic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("critic") / "critic.safetensors"
    tensors = {name: value.half() for name, value in Critic().state_dict().items()}
    save_file(tensors, path, metadata=METADATA | {"gain": "2.0"})
    build.build(path)
    return path


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return prepare(sample_portraits()[0], long_side_px=256)


@pytest.mark.parametrize("name", realism.CRITICS)
def test_every_runner_says_what_the_network_says(name: str, critic: Path) -> None:
    seen = np.random.default_rng(0).integers(0, 256, (256, 256, 6), np.uint8)
    network = Critic().eval()
    network.load_state_dict({name: value.float() for name, value in load_file(critic).items()})
    with torch.inference_mode():
        picture, raster = (torch.from_numpy(seen).permute(2, 0, 1)[None].float() / 255).split(3, dim=1)
        expected = network(picture, raster)[0].item()
    with realism.first_of(realism.CRITICS, name, "critic", critic) as running:
        assert running.name == name
        assert running.judge(seen) == pytest.approx(expected, abs=1e-3)


def test_nothing_is_as_real_as_the_portrait_itself_to_one_half(critic: Path, portrait: Portrait) -> None:
    points = portrait.landmarks.points
    dark = portrait.image // 3
    with Realism(critic) as judge:
        assert judge.of(portrait.image, points, portrait=portrait) == 0.5
        score = judge.of(dark, points, portrait=portrait)
        other = Portrait(dark, portrait.landmarks, portrait.matte, dark, key="dark")
        assert judge.of(dark, points, portrait=other) == 0.5
        assert judge.of(portrait.image, points, portrait=other) == pytest.approx(1 - score, abs=1e-6)
    assert score != 0.5


def test_what_is_no_critic_is_refused(critic: Path, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is needed"):
        Realism(weights)
    lonely = tmp_path / "critic.safetensors"
    lonely.write_bytes(critic.read_bytes())
    with pytest.raises(PuppetError, match="make it with: puppet build"):
        Realism(lonely, runner="openvino")
    lonely.write_bytes(critic.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="cannot be read"):
        Realism(lonely)
    with pytest.raises(EngineUnavailable, match="choose auto or one of"):
        Realism(critic, runner="abacus")


def test_neural_engine_judges_the_frame_that_it_painted(
    weights: Path, critic: Path, portrait: Portrait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.neural.Realism", lambda: Realism(critic))
    moved = portrait.landmarks.points + np.array([6, 4, 0], np.float32)
    with NeuralEngine(weights) as engine, Realism(critic) as judge:
        assert engine.realism() is None
        embedding = engine.embed(portrait)
        for points in (portrait.landmarks.points, moved):
            painted = engine.paint(embedding, points)
            assert engine.realism() == pytest.approx(judge.of(painted, points, portrait=portrait), abs=1e-6)


def test_warp_engine_cannot_tell() -> None:
    with WarpEngine() as engine:
        assert engine.realism() is None


def test_shipped_critic_is_small_and_sees_what_is_smeared(portrait: Portrait) -> None:
    assert (FOLDER / "critic.safetensors").stat().st_size <= 5_000_000
    smeared = cv2.GaussianBlur(portrait.image, None, 2)
    with Realism() as judge:
        assert judge.of(smeared, portrait.landmarks.points, portrait=portrait) < 0.4
