"""Training end to end on two small clips, with feature networks of random weights: the known ones are no part of us."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file

from engines import build
from engines.network import resample
from engines.realism import Realism
from engines.training import losses, pairs
from engines.training.augmentation import augmented
from engines.training.bend import Bend
from engines.training.clips import DataError, find_clips, shots, split, track, validation_identities
from engines.training.critic import CriticTrainer, calibrated
from engines.training.data import Batch, Mixture, collate
from engines.training.loop import RIG_RATE, CheckpointError, Config, Trainer, train
from engines.training.losses import Weights
from engines.training.models import MODELS
from engines.training.pairs import Pairs
from engines.training.perceptual import PerceptualNet
from engines.training.sample import sample
from puppet.__main__ import main

QUICK = Config(steps=2, batch=2, warm_up=1, checkpoint_s=0, bf16=False)


@pytest.fixture(autouse=True)
def _features(monkeypatch: pytest.MonkeyPatch, load_features: Callable[[str], PerceptualNet]) -> None:
    monkeypatch.setattr(PerceptualNet, "load", staticmethod(load_features))


@pytest.fixture(scope="module", autouse=True)
def _few_portraits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "PORTRAITS_PER_CLIP", 3)
        yield


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


@pytest.mark.parametrize("seed", range(4))
def test_what_is_bent_is_bent_alike(cache: Path, seed: int) -> None:
    """Landmarks stay on the features that they mark, and the known motion still leads from the warped to the true."""
    held = Pairs.load(cache / "pairs" / "real__bert__turns")
    bend = Bend(np.random.default_rng(seed))
    points = held.points[held.pairs[0, 0]]
    dots = np.zeros((256, 256), np.uint8)
    inside = points[:, :2].round().astype(int)
    dots[inside[:, 1], inside[:, 0]] = 255
    seen = cv2.GaussianBlur(bend.picture(dots), (0, 0), 1.5)
    moved = bend.points(points)
    where = moved[:, :2].round().astype(int)
    where = where[((where >= 0) & (where < 256)).all(axis=1)]
    assert np.linalg.norm((moved - points)[:, :2], axis=1).max() > 3
    assert (seen[where[:, 1], where[:, 0]] > 8).mean() > 0.98

    far = int(np.argmax([np.abs(each[..., :2]).mean() for each in held.motion]))
    errors = []
    for pair in (sample(held, far), sample(held, far, bend=bend)):
        each = collate([pair]).to(torch.device("cpu"))
        known = F.interpolate(each.motion[:, 2:], size=256)
        found = resample(each.warped, each.motion[:, :2] * each.motion[:, 2:])
        errors += [float((known * (picture - each.target).abs()).mean()) for picture in (each.warped, found)]
    assert errors[1] < 0.75 * errors[0]
    assert errors[3] < 0.75 * errors[2]


def test_a_closer_look_lengthens_motions(cache: Path) -> None:
    pair = sample(Pairs.load(cache / "pairs" / "real__bert__turns"), 0)
    pair = replace(pair, motions=np.full_like(pair.motions, 0.5))
    seen = [augmented(pair, np.random.default_rng(seed)).motions for seed in range(12)]
    for motions in seen:
        motions[..., [0, 2, 4]] = np.abs(motions[..., [0, 2, 4]])  # some are mirrored
        shift, place, flow, known, _ = np.split(motions, (2, 4, 6, 7), axis=2)
        np.testing.assert_allclose(shift, flow)
        np.testing.assert_allclose([place.min(), place.max(), known.min()], 0.5)
        assert 0.5 <= flow.min() == flow.max() < 0.6
    assert len({float(motions[0, 0, 0]) for motions in seen}) > 3


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


@pytest.mark.parametrize("seed", range(6))
def test_what_surrounds_a_face_is_found_in_augmented_pairs_too(cache: Path, seed: int) -> None:
    """A rig that shows each place's brightness in the portrait shows it where the head's turn has carried it."""
    pair = sample(Pairs.load(cache / "pairs" / "real__bert__turns"), 5)
    batches = [collate([each]).to(torch.device("cpu")) for each in (pair, augmented(pair, np.random.default_rng(seed)))]
    for each in batches:
        turned, there = each.around.split([2, 1], dim=1)
        at = (turned.permute(0, 2, 3, 1) + 0.5) / 128 - 1
        inside = (there * (at.abs() < 0.9).all(dim=3, keepdim=True).permute(0, 3, 1, 2))[0, 0] > 0.9
        assert inside.sum() > 100
        taken, seen = (
            F.grid_sample(F.avg_pool2d(each.portrait, 4), at, align_corners=False)[0].mean(0)[inside],
            F.avg_pool2d(each.warped, 4)[0].mean(0)[inside],
        )
        assert np.corrcoef(taken.numpy(), seen.numpy())[0, 1] > 0.8


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
    names = ("portrait", "portrait_raster", "raster", "target")
    small = replace(batch, **{name: getattr(batch, name)[:1, :, ::4, ::4] for name in names})
    model = MODELS["paper"]()
    painted, _, _ = model(small)
    (painted - small.target).abs().mean().backward()
    assert painted.shape == small.target.shape
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert sum(parameter.grad.abs().sum() for parameter in model.embedder.parameters()) > 0


def test_averaged_model_stays_spectrally_normalised(batch: Batch) -> None:
    one = replace(batch, **{field.name: getattr(batch, field.name)[:1] for field in fields(Batch)})
    weights = Weights(openings=0, whole=0, crop=0)
    trainer = Trainer(replace(QUICK, model="paper-128", weights=weights), people=1, device=torch.device("cpu"))
    for _ in range(2):
        trainer.learn(one)
    vectors = {name: vector for name, vector in trainer.average.named_buffers() if name[-2:] in ("_u", "_v")}
    assert vectors
    assert all(vector.norm().item() == pytest.approx(1, abs=1e-4) for vector in vectors.values())


@pytest.mark.parametrize("discriminator", ["paper", "critic"])
def test_adversarial_step_moves_generator_and_discriminator(discriminator: str, batch: Batch) -> None:
    batch = replace(batch, **{field.name: getattr(batch, field.name)[:1] for field in fields(Batch)})
    weights = Weights(whole=0, crop=0, adversarial=1, matching=10)
    config = replace(QUICK, weights=weights, discriminator=discriminator)
    trainer = Trainer(config, people=1, device=torch.device("cpu"))
    assert trainer.adversary is not None
    judge = trainer.adversary.discriminator
    before = [p.detach().clone() for p in (judge.w0, trainer.model.generator.residual.bias)]
    report = trainer.learn(batch)
    assert {"adversarial", "matching", "discriminator"} <= report.keys()
    after = [judge.w0, trainer.model.generator.residual.bias]
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", ["x2face", "pix2pixhd"])
def test_rival_learns_from_the_portrait_and_the_landmarks(name: str, batch: Batch) -> None:
    torch.manual_seed(0)
    model = MODELS[name]()
    torch.nn.init.normal_(model.trunk.last.weight, std=0.01)
    painted, _, _ = model(batch)
    (painted - batch.target).abs().mean().backward()
    assert painted.shape == batch.target.shape
    assert all(parameter.grad is not None for parameter in model.parameters())
    blind = replace(batch, warped=0 * batch.warped, portrait_raster=0 * batch.raster, motion=0 * batch.motion)
    torch.testing.assert_close(model(blind)[0], painted)  # it sees nothing that the warp engine made
    still = replace(batch, raster=batch.portrait_raster, openings=batch.portrait_openings)
    assert not torch.allclose(model(still)[0], painted)


@pytest.fixture
def critic_trainer(tmp_path: Path) -> CriticTrainer:
    """Its painter leaves the warp engine's picture as it is."""
    painter = tmp_path / "painter.safetensors"
    Trainer(QUICK, people=1, device=torch.device("cpu")).export(painter)
    return CriticTrainer(replace(QUICK, steps=100), people=1, device=torch.device("cpu"), painter=painter)


def test_critic_learns_to_tell_painted_from_true(critic_trainer: CriticTrainer, batch: Batch) -> None:
    torch.testing.assert_close(critic_trainer._paint(batch), batch.warped, atol=1 / 255, rtol=0)
    batch = replace(batch, target=1 - batch.warped)  # plain to see

    @torch.no_grad()
    def margin() -> float:
        critic = critic_trainer.adversary.discriminator.eval()
        scores = [critic(pictures, batch.raster)[0].mean() for pictures in (batch.target, batch.warped)]
        critic.train()
        return float(scores[0] - scores[1])

    before = margin()
    for _ in range(12):
        critic_trainer.learn(batch)
    assert margin() > before + 0.1


def test_exported_critic_gives_the_realism_score(critic_trainer: CriticTrainer, batch: Batch, tmp_path: Path) -> None:
    critic_trainer.evaluate([batch])
    path = tmp_path / "critic.safetensors"
    critic_trainer.export(path)
    build.build(path)
    with torch.inference_mode():
        expected = critic_trainer.adversary.discriminator.eval()(batch.target[:1], batch.raster[:1])[0].item()
    seen = torch.cat([batch.target[0], batch.raster[0]]).mul(255).round().byte().permute(1, 2, 0).numpy()
    with Realism(path) as judge:
        found = judge._critic.judge(np.ascontiguousarray(seen))
        assert found == pytest.approx(expected, abs=0.01 * max(1, abs(expected)))
        assert judge._gain == pytest.approx(critic_trainer.gain)


def test_critic_goes_on_from_its_checkpoint(critic_trainer: CriticTrainer, batch: Batch, tmp_path: Path) -> None:
    critic_trainer.learn(batch)
    path = tmp_path / "checkpoint.pt"
    critic_trainer.save(path)
    critic_trainer.step = 0
    critic_trainer.resume(path)
    assert critic_trainer.step == 1
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        critic_trainer.resume(path)


def test_calibrated_scores_are_chances() -> None:
    random = np.random.default_rng(0)
    lead = random.normal(1, 2, 20_000).astype(np.float32)
    assert calibrated(lead) == pytest.approx(2 * 1 / 2**2, abs=0.03)  # the log odds of N(1, 2) against N(-1, 2)
    assert calibrated(np.concatenate([lead, -lead])) == pytest.approx(0, abs=0.01)  # told apart no better than chance
    assert 0 < calibrated(np.full(60, 3, np.float32)) < np.inf


def test_training_leaves_weights_sheets_and_logs_and_goes_on(clips_folder: Path, cache: Path, tmp_path: Path) -> None:
    anna, bert = find_clips(clips_folder)
    train([anna], [bert], tmp_path, config=QUICK, cache=cache)
    assert {"checkpoint.pt", "weights.safetensors", "log", "sheet-000002.jpg"} <= {p.name for p in tmp_path.iterdir()}
    with safe_open(tmp_path / "weights.safetensors", "pt") as weights:
        assert weights.metadata()["model"] == "ours"
        assert weights.get_tensor("generator.flow.weight").dtype == torch.float16
    train([anna], [bert], tmp_path, config=replace(QUICK, steps=3), cache=cache)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 3


def test_ours_stands_on_a_rig_that_was_trained_before(
    clips_folder: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "training").symlink_to(cache)
    monkeypatch.setattr("puppet.settings.cache_dir", lambda: tmp_path)
    monkeypatch.setattr("engines.training.clips.validation_identities", lambda: frozenset({"bert"}))
    common = ["train", str(clips_folder), "--batch", "2", "--steps", "2"]
    alone, ours = tmp_path / "alone", tmp_path / "ours"
    assert main([*common, str(alone), "--model", "rig"]) == 0
    assert main([*common, str(ours), "--rig", str(alone / "weights.safetensors")]) == 0
    first, second = (load_file(out / "weights.safetensors") for out in (alone, ours))
    assert set(first) == {name for name in second if name.startswith("rig.")}
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert main([*common, str(ours), "--rig", str(clips_folder / "CUTS.tsv")]) != 0
    assert "CUTS.tsv cannot be read" in capsys.readouterr().err
    assert main([*common, str(alone), "--model", "rig", "--rig", str(alone / "weights.safetensors")]) != 0
    assert "leave --rig out" in capsys.readouterr().err


def test_rig_learns_how_hair_goes_with_the_head(batch: Batch) -> None:
    config = replace(QUICK, model="rig", steps=100, learning_rate=RIG_RATE, weights=losses.FLOW)
    trainer = Trainer(config, people=1, device=torch.device("cpu"))
    reports = [trainer.learn(batch)["flow"] for _ in range(15)]
    assert reports[-1] < 0.95 * reports[0]


def test_second_stage_begins_where_the_first_ended(
    clips_folder: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "training").symlink_to(cache)
    monkeypatch.setattr("puppet.settings.cache_dir", lambda: tmp_path)
    monkeypatch.setattr("engines.training.clips.validation_identities", lambda: frozenset({"bert"}))
    first, second = tmp_path / "first", tmp_path / "second"
    common = ["train", str(clips_folder), "--batch", "1", "--steps"]
    assert main([*common, "2", str(first)]) == 0
    assert main([*common, "1", str(second), "--start", str(first / "checkpoint.pt"), "--adversary", "critic"]) == 0
    before, after = (torch.load(out / "checkpoint.pt", weights_only=True) for out in (first, second))
    assert (before["step"], after["step"]) == (2, 1)
    assert "discriminator" in after
    assert "discriminator" not in before
    for name, value in after["model"].items():
        assert torch.allclose(value, before["model"][name], atol=1e-4), name
    assert main([*common, "1", str(second), "--model", "critic", "--adversary", "critic"]) != 0
    assert main([*common, "1", str(tmp_path / "third"), "--start", str(tmp_path / "absent.pt")]) != 0


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
