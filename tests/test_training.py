"""Training end to end on two small clips, with feature networks of random weights: the known ones are no part of us."""

from __future__ import annotations

import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from engines.training import losses, pairs
from engines.training.clips import DataError, find_clips, shots, split, track, validation_identities
from engines.training.data import Batch, Mixture, augmented, collate, sample
from engines.training.loop import CheckpointError, Config, Trainer, train
from engines.training.losses import Weights
from engines.training.models import MODELS
from engines.training.pairs import Pairs
from engines.training.perceptual import PerceptualNet

QUICK = Config(steps=2, batch=2, warm_up=1, checkpoint_s=0, bf16=False)


@pytest.fixture(autouse=True)
def _features(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(net: str) -> PerceptualNet:
        torch.manual_seed(1)
        module = PerceptualNet(net)  # type: ignore[arg-type]
        for head in module.heads:
            torch.nn.init.constant_(head.weight, 1 / head.in_channels)
        return module.requires_grad_(False).eval()

    monkeypatch.setattr(PerceptualNet, "load", staticmethod(load))


@pytest.fixture(scope="module")
def clips_folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    shutil.copy(data / "face.mp4", folder / "real__anna__talks.mp4")
    shutil.copy(data / "turn.mp4", folder / "real__bert__turns.mp4")
    (folder / "CUTS.tsv").write_text("crop\tframes where a hard cut starts\nreal__anna__talks.mp4\t12,20\n")
    return folder


@pytest.fixture(scope="module")
def cache(clips_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    for clip in find_clips(clips_folder):
        pairs.prepare(clip, tracks=folder / "tracks", cache=folder / "pairs")
    return folder


@pytest.fixture(scope="module")
def batch(cache: Path) -> Batch:
    held = Pairs.load(cache / "pairs" / "real__bert__turns")
    return collate([sample(held, index) for index in (0, 1)]).to(torch.device("cpu"))


def test_clips_are_found_in_both_layouts(clips_folder: Path, tmp_path: Path) -> None:
    anna, bert = find_clips(clips_folder)
    assert (anna.identity, anna.cuts, bert.identity, bert.cuts) == ("anna", (12, 20), "bert", ())
    vox = tmp_path / "id00012" / "21Uxsk56VDQ" / "00001.mp4"
    vox.parent.mkdir(parents=True)
    vox.touch()
    (clip,) = find_clips(tmp_path)
    assert (clip.identity, clip.name) == ("id00012", "id00012__21Uxsk56VDQ__00001")


def test_folder_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No clips"):
        find_clips(tmp_path)


def test_no_identity_is_on_both_sides(clips_folder: Path) -> None:
    training, validation = split(find_clips(clips_folder), {"bert"})
    assert [clip.identity for clip in training] == ["anna"]
    assert [clip.identity for clip in validation] == ["bert"]
    assert len(validation_identities()) >= 12


def test_shots_lie_between_cuts(clips_folder: Path) -> None:
    anna, bert = find_clips(clips_folder)
    assert shots(anna, 30) == [range(12), range(12, 20), range(20, 30)]
    assert shots(bert, 30) == [range(30)]


def test_tracks_are_kept(clips_folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = find_clips(clips_folder)[0]
    monkeypatch.delattr("engines.training.clips.FaceTracker")
    assert track(anna, cache / "tracks").valid.all()


def test_clip_without_a_face_gives_no_pairs(data: Path, tmp_path: Path) -> None:
    shutil.copy(data / "no_face.mp4", tmp_path / "nobody.mp4")
    (clip,) = find_clips(tmp_path)
    assert pairs.prepare(clip, tracks=tmp_path / "tracks", cache=tmp_path / "pairs") is None
    with pytest.raises(DataError, match="face"):
        train([clip], [clip], tmp_path / "out", config=QUICK, cache=tmp_path)


def test_pairs_stay_within_a_shot_and_the_warp_comes_nearer(clips_folder: Path, cache: Path) -> None:
    bert = Pairs.load(cache / "pairs" / "real__bert__turns")
    assert bert.warped.shape == (len(bert.pairs), 256, 256, 3)
    portrait, target = bert.frames[bert.pairs[:, 0]].astype(int), bert.frames[bert.pairs[:, 1]].astype(int)
    assert np.abs(bert.warped - target).mean() < np.abs(portrait - target).mean()


def test_augmentation_treats_all_pictures_of_a_pair_alike(cache: Path) -> None:
    held = Pairs.load(cache / "pairs" / "real__bert__turns")
    pair = sample(held, 0)
    pair.layers[..., 7:10] = pair.layers[..., 14:17] = pair.layers[..., 0:3]
    for seed in range(8):
        done = augmented(replace(pair, layers=pair.layers.copy()), np.random.default_rng(seed)).layers
        np.testing.assert_array_equal(done[..., 7:10], done[..., 0:3])
        np.testing.assert_array_equal(done[..., 14:17], done[..., 0:3])


def test_same_seed_same_stream(clips_folder: Path, cache: Path) -> None:
    clips = find_clips(clips_folder)
    folders = [cache / "pairs" / clip.name for clip in clips]
    first, again, other = (next(iter(Mixture(clips, folders, seed=seed))).layers for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_reconstruction_is_zero_for_the_target_itself(batch: Batch) -> None:
    nets = {"alexnet": PerceptualNet.load("alexnet"), "vgg": PerceptualNet.load("vgg16")}
    right = losses.reconstruction(batch.target, batch.target, batch.openings, weights=Weights(), **nets)
    wrong = losses.reconstruction(batch.portrait, batch.target, batch.openings, weights=Weights(), **nets)
    assert all(loss == 0 for loss in right.values())
    assert all(loss > 0 for loss in wrong.values())


def test_optical_flow_is_what_the_generator_s_flow_should_be(cache: Path) -> None:
    held = Pairs.load(cache / "pairs" / "real__bert__turns")
    target = np.array(held.frames[0])
    warped = np.roll(target, 5, axis=1)  # the warped picture shows everything 5 px too far to the right
    motion = torch.from_numpy(pairs.optical_flow(target, warped)).permute(2, 0, 1)[None].float()
    right = torch.zeros(1, 2, 64, 64)
    right[:, 0] = 5
    assert losses.flow_error(right, motion) < 0.5
    assert losses.flow_error(-right, motion) > 5
    mirrored = pairs.optical_flow(target[:, ::-1].copy(), warped[:, ::-1].copy())
    assert np.median(mirrored[..., 0]) == pytest.approx(-5, abs=0.2)


def test_hinge_is_satisfied_beyond_the_margin() -> None:
    assert losses.discriminator_hinge(torch.tensor([1.5]), torch.tensor([-1.5])) == 0
    assert losses.discriminator_hinge(torch.tensor([0.0]), torch.tensor([0.0])) == 2


def test_ours_learns_a_pair_by_heart(batch: Batch) -> None:
    weights = Weights(openings=0, whole=0, crop=0, flow=0)
    config = replace(QUICK, steps=100, learning_rate=5e-5, weights=weights)
    trainer = Trainer(config, people=1, device=torch.device("cpu"))
    reports = [trainer.learn(batch)["pixels"] for _ in range(9)]
    assert reports[-1] < 0.97 * reports[0]


def test_paper_model_learns_through_its_embedding(batch: Batch) -> None:
    small = replace(batch, **{field.name: getattr(batch, field.name)[:1, :, ::4, ::4] for field in fields(Batch)[:-3]})
    model = MODELS["paper"]()
    painted, _, _ = model(small)
    (painted - small.target).abs().mean().backward()
    assert painted.shape == small.target.shape
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert sum(parameter.grad.abs().sum() for parameter in model.embedder.parameters()) > 0


def test_adversarial_step_moves_generator_and_discriminator(batch: Batch) -> None:
    batch = replace(batch, **{field.name: getattr(batch, field.name)[:1] for field in fields(Batch)})
    weights = Weights(whole=0, crop=0, adversarial=1, matching=10)
    trainer = Trainer(replace(QUICK, weights=weights), people=1, device=torch.device("cpu"))
    assert trainer.discriminator is not None
    before = [p.detach().clone() for p in (trainer.discriminator.w0, trainer.model.generator.residual.bias)]
    report = trainer.learn(batch)
    assert {"adversarial", "matching", "discriminator"} <= report.keys()
    after = [trainer.discriminator.w0, trainer.model.generator.residual.bias]
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_training_leaves_weights_sheets_and_logs_and_goes_on(clips_folder: Path, cache: Path, tmp_path: Path) -> None:
    anna, bert = find_clips(clips_folder)
    train([anna], [bert], tmp_path, config=QUICK, cache=cache)
    assert {"checkpoint.pt", "weights.safetensors", "log", "sheet-000002.jpg"} <= {p.name for p in tmp_path.iterdir()}
    with safe_open(tmp_path / "weights.safetensors", "pt") as weights:
        assert weights.metadata()["model"] == "ours"
        assert weights.get_tensor("generator.flow.weight").dtype == torch.float16
    train([anna], [bert], tmp_path, config=replace(QUICK, steps=3), cache=cache)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 3


def test_full_disk_leaves_the_former_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(QUICK, people=1, device=torch.device("cpu"))
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"the former")

    def full(state: object, to: Path) -> None:
        to.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="No space left"):
        trainer.save(path)
    assert path.read_bytes() == b"the former"
    assert list(tmp_path.iterdir()) == [path]


def test_checkpoint_that_is_none_is_refused(tmp_path: Path) -> None:
    trainer = Trainer(QUICK, people=1, device=torch.device("cpu"))
    path = tmp_path / "checkpoint.pt"
    trainer.save(path)
    content = path.read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"x" * 1000):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="not a checkpoint"):
            trainer.resume(path)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="'paper'"):
        Trainer(replace(QUICK, model="paper"), people=1, device=torch.device("cpu")).resume(path)
