"""The networks have the paper's size, ours has its budget, and an untrained generator changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.benchmark import GMACS
from engines.critic import Critic
from engines.network import (
    Discriminator,
    Embedder,
    Generator,
    PortraitEncoder,
    Repair,
    SelfAttention,
    WarpGenerator,
    Whitened,
    resample,
    without_grid,
)
from engines.training.data import Batch
from engines.training.models import MODELS

PICTURE = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
MASK = torch.zeros(1, 1, 256, 256)
HEAD = torch.rand(1, 4, 64, 64)


def _millions(model: nn.Module) -> float:
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


@contextmanager
def _counted(model: nn.Module) -> Iterator[list[float]]:
    """Collects the 10⁹ multiply-adds of every layer that runs."""
    counts: list[float] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            counts.append(module.weight[0].numel() * output[0].numel() / 1e9)
        elif isinstance(module, nn.Linear):
            counts.append(module.weight.numel() / 1e9)
        elif isinstance(module, SelfAttention):
            channels, places = inputs[0].shape[1], inputs[0][0, 0].numel()
            counts.append(places**2 * (channels // 8 + channels) / 1e9)

    handles = [module.register_forward_hook(count) for module in model.modules()]
    yield counts
    for handle in handles:
        handle.remove()


def test_paper_networks_have_the_paper_sizes() -> None:
    assert _millions(Embedder()) == pytest.approx(15, abs=1)
    assert _millions(Generator()) == pytest.approx(38, abs=1)
    assert _millions(Discriminator(people=0)) == pytest.approx(20, abs=1)


@torch.inference_mode()
def test_paper_networks_run_at_256() -> None:
    e = Embedder()(PICTURE, PICTURE)
    assert e.shape == (1, 512)
    assert Generator()(PICTURE, e).shape == PICTURE.shape
    score, features = Discriminator(people=3)(PICTURE, PICTURE, torch.tensor([2]))
    assert score.shape == (1,)
    assert features[-1].shape == (1, 512, 4, 4)


def test_discriminator_knows_whom_it_looks_for() -> None:
    discriminator = Discriminator(people=2).eval()
    with torch.inference_mode():
        scores = [discriminator(PICTURE, PICTURE, torch.tensor([i]))[0].item() for i in (0, 1)]
        nobody = discriminator(PICTURE, PICTURE)[0].item()
    assert len({*scores, nobody}) == 3


@torch.inference_mode()
def test_our_generator_keeps_its_budget() -> None:
    encoder, generator = PortraitEncoder().eval(), WarpGenerator().eval()
    e, features = encoder(PICTURE, PICTURE, MASK)
    psi = generator.P(e)
    with _counted(generator) as counts:
        generator(PICTURE, PICTURE, MASK, HEAD, psi, features)
    assert sum(counts) == pytest.approx(GMACS, abs=0.01)
    assert GMACS <= 2.5


def test_embeddings_tell_portraits_apart_and_stay_small() -> None:
    torch.manual_seed(0)
    whitened, alike = Whitened(256), 5 + 0.1 * torch.randn(32, 256)
    assert (F.normalize(alike) @ F.normalize(alike).T).min() > 0.99
    for _ in range(400):
        whitened(alike)
    e = whitened.eval()(alike)
    assert e.norm(dim=1).numpy() == pytest.approx(1, abs=0.15)
    assert (F.normalize(e) @ F.normalize(e).T - torch.eye(32)).max() < 0.5
    assert whitened.train()(alike[:1]).shape == (1, 256)  # a batch of one has no variance


@torch.inference_mode()
def test_critic_is_light_enough_to_ship() -> None:
    critic = Critic().eval()
    with _counted(critic) as counts:
        score, features = critic(PICTURE, PICTURE)
    assert score.shape == (1,)
    assert features[-1].shape == (1, 224, 4, 4)
    assert sum(counts) <= 1
    assert _millions(critic) <= 2.5


@torch.inference_mode()
def test_critic_is_told_the_person_now_and_then_while_it_learns() -> None:
    critic = Critic(people=2)
    nn.init.normal_(critic.W.weight)
    person = torch.ones(16, dtype=torch.int64)
    pictures = PICTURE.expand(16, -1, -1, -1)
    assert len(critic(pictures, pictures, person)[0].unique()) == 2
    assert len(critic.eval()(pictures, pictures, person)[0].unique()) == 1


@pytest.mark.parametrize("name", ["x2face", "pix2pixhd"])
def test_rivals_work_as_much_as_our_generator(name: str) -> None:
    assert _work(MODELS[name]()) == pytest.approx(GMACS, rel=0.1)


def test_at_half_the_side_the_paper_works_a_quarter() -> None:
    assert _work(MODELS["paper-128"]()) == pytest.approx(_work(MODELS["paper"]()) / 4, rel=0.05)


@torch.inference_mode()
def _work(model: nn.Module) -> float:
    """What `_counted` counts of a model in `MODELS` for one picture, which it must paint whole."""
    drawn = {name: PICTURE for name in ("portrait", "portrait_raster", "warped", "raster", "target")}
    nothing = {field.name: MASK for field in fields(Batch) if field.name not in drawn}
    with _counted(model.eval()) as counts:
        assert model(Batch(**drawn, **nothing))[0].shape == PICTURE.shape
    return sum(counts)


@torch.inference_mode()
def test_untrained_generator_leaves_the_warped_picture_as_it_is() -> None:
    encoder, generator = PortraitEncoder().eval(), WarpGenerator().eval()
    e, features = encoder(PICTURE, PICTURE, MASK)
    repair = generator(PICTURE, PICTURE, MASK, HEAD, generator.P(e), features)
    torch.testing.assert_close(repair.apply(PICTURE), PICTURE, atol=1e-4, rtol=0)


def test_no_even_grid_can_be_painted() -> None:
    torch.manual_seed(0)
    detail, grid = torch.randn(1, 3, 256, 256), torch.randn(3, 4, 4).tile(64, 64)
    shade = F.interpolate(torch.randn(1, 3, 8, 8), size=256, mode="bicubic")

    def painted(picture: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(without_grid(F.pixel_unshuffle(picture, 4)), 4)

    flat = grid.mean(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(painted(grid[None]), flat.expand(3, 256, 256)[None], atol=1e-5, rtol=0)
    assert (painted(shade) - shade).abs().mean() < 0.02 * shade.abs().mean()
    slope = (torch.arange(256) + 2.0 * torch.arange(256)[:, None]).expand(1, 3, -1, -1) / 256
    assert (painted(slope) - slope)[..., 32:-32, 32:-32].abs().max() < 1e-5
    assert (painted(detail) - detail).square().mean() < 0.1
    half = grid * (torch.arange(256) < 128)  # it ends somewhere, and there some of it is left
    assert painted(half[None])[..., :88].sub(flat).abs().max() < 1e-5


def test_embedding_changes_what_a_trained_generator_paints() -> None:
    torch.manual_seed(0)
    encoder, generator = PortraitEncoder().eval(), WarpGenerator().eval()
    nn.init.normal_(generator.residual.weight, std=0.01)
    with torch.inference_mode():
        _, features = encoder(PICTURE, PICTURE, MASK)
        psi = [generator.P(torch.rand(1, 256)) for _ in "ab"]
        a, b = (generator(PICTURE, PICTURE, MASK, HEAD, each, features).residual for each in psi)
    assert (a - b).abs().max() > 1e-4


def test_flow_points_from_an_output_pixel_to_its_source() -> None:
    flow = torch.zeros(1, 2, 64, 64)
    flow[:, 0] = 5
    torch.testing.assert_close(resample(PICTURE, flow)[..., :-5], PICTURE[..., 5:], atol=1e-4, rtol=0)
    half = Repair(flow=torch.zeros(1, 2, 64, 64), residual=torch.full_like(PICTURE, 0.5))
    torch.testing.assert_close(half.apply(PICTURE), PICTURE + 0.5, atol=1e-4, rtol=0)


def test_weights_of_the_paper_networks_are_spectrally_normalised() -> None:
    for model in (Embedder(), Generator(), Discriminator(people=1)):
        layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
        assert layers
        assert all(hasattr(layer, "parametrizations") for layer in layers)
