"""Tuning to one person: its file serves every runner and nobody else's portrait, and it is only kept if it helps."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from engines import tuned
from engines.neural import DEFAULT, NeuralEngine
from engines.openvino import OpenVINORunner
from engines.runner import RUNNERS
from engines.training import pseudo, tuning
from engines.training.own import OwnPairs, own_pairs
from engines.training.perceptual import PerceptualNet
from engines.training.pseudo import pseudo_pairs
from engines.training.tuner import ALONE_SHARE, SHARE, Figures, Tuner
from engines.training.tuning import CONFIG, NoGainError, TuningStopped, tuned_to
from engines.tuned import Tuned, TunedEngine, TunedError, digest, unfolded
from puppet.__main__ import main
from puppet.overlay import Album, album_of
from puppet.portrait import prepare
from puppet.recording import Recording
from puppet.settings import asset
from puppet.tracking import settle
from puppet.types import Floats, Portrait
from puppet.video import VideoFile

TURNED, SHUT = 20, 45
QUICK = replace(CONFIG, steps=2, batch=1, bf16=False)


@pytest.fixture(autouse=True)
def _features(monkeypatch: pytest.MonkeyPatch, load_features: Callable[[str], PerceptualNet]) -> None:
    """Without the packages that hold the weights of the networks that compare pictures."""

    monkeypatch.setattr(PerceptualNet, "load", staticmethod(load_features))


@pytest.fixture(scope="module")
def pictures(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One person: from the front, turned, and with shut eyes."""
    folder = tmp_path_factory.mktemp("pictures")
    frames = [frame.image for frame in VideoFile(data / "turn.mp4")]
    for index in (0, TURNED, SHUT):
        cv2.imwrite(str(folder / f"{index:02}.png"), frames[index][..., ::-1])
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def portrait(pictures: list[Path]) -> Portrait:
    return prepare(pictures[0])


@pytest.fixture(scope="module")
def album(portrait: Portrait, pictures: list[Path]) -> Album:
    images = [np.ascontiguousarray(cv2.imread(str(path))[..., ::-1]) for path in pictures[1:]]
    return album_of(portrait, [(image, face) for image in images if (face := settle(image))], key="album")


@pytest.fixture(scope="module")
def target(portrait: Portrait) -> Floats:
    """The head a little lower and to the right, the mouth open."""
    points = portrait.landmarks.points + np.array([4, 3, 0], np.float32)
    points[[14, 87, 317, 178, 402, 88, 318, 15, 16, 17, 84, 314, 152], 1] += 6
    return points


@pytest.fixture(scope="module")
def brighter(pictures: list[Path]) -> Tuned:
    """As if somebody had been tuned to who is brighter than all others."""
    tensors = {
        name: array
        for name, array in load_file(DEFAULT).items()
        if name.startswith(("encoder.first.", "generator.")) and name != tuned.CONSTANT
    }
    tensors["generator.residual.bias"] = tensors["generator.residual.bias"] + np.float16(0.1)
    return Tuned(tensors, digest(DEFAULT), digest(pictures[0]), lpips_before=0.1, lpips_after=0.09)


@pytest.fixture(scope="module")
def file(brighter: Tuned, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tuned") / "ada.tuned"
    brighter.save(path)
    return path


def test_file_is_small_and_comes_back_as_it_was(file: Path, brighter: Tuned, pictures: list[Path]) -> None:
    assert file.stat().st_size < 10_000_000
    again = Tuned.load(file, portrait=pictures[0])
    assert (again.weights, again.portrait, again.lpips_after) == (brighter.weights, brighter.portrait, 0.09)
    assert again.tensors.keys() == brighter.tensors.keys()
    for name, array in brighter.tensors.items():
        np.testing.assert_array_equal(again.tensors[name], array)


def test_unfolded_weights_are_the_shipped_ones_but_for_what_was_tuned(brighter: Tuned, tmp_path: Path) -> None:
    path = unfolded(brighter, DEFAULT, folder=tmp_path)
    found, shipped = load_file(path), load_file(DEFAULT)
    assert found.keys() == shipped.keys()
    assert not found[tuned.CONSTANT].any()
    different = {name for name in shipped if not np.array_equal(found[name], shipped[name])}
    assert different == {tuned.CONSTANT, "generator.residual.bias"}
    with safe_open(path, "numpy") as ours, safe_open(DEFAULT, "numpy") as theirs:
        assert ours.metadata() == theirs.metadata()
    path.write_bytes(b"damaged")
    assert unfolded(brighter, DEFAULT, folder=tmp_path) == path
    assert load_file(path).keys() == shipped.keys()


def test_few_unfolded_weights_are_kept(brighter: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuned, "MOST_UNFOLDED", 1)
    first = unfolded(brighter, DEFAULT, folder=tmp_path)
    bias = {"generator.residual.bias": np.zeros(48, np.float16)}
    second = unfolded(replace(brighter, tensors={**brighter.tensors, **bias}), DEFAULT, folder=tmp_path)
    assert not first.exists()
    assert second.exists()


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "pytorch"])
def test_every_runner_paints_with_it(
    name: str, file: Path, pictures: list[Path], portrait: Portrait, target: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenVINORunner.__init__, "__kwdefaults__", {"precision": "f32"})
    monkeypatch.setitem(RUNNERS, "tensorrt", "engines.absent:Nothing")
    with TunedEngine(file, portrait=pictures[0], runner_name=name) as engine:
        assert engine.runner == name
        painted = engine.paint(engine.embed(portrait), target).astype(int)
    with NeuralEngine(DEFAULT, runner_name="pytorch") as engine:
        before = engine.paint(engine.embed(portrait), target).astype(int)
    with TunedEngine(file, portrait=pictures[0], runner_name="pytorch") as engine:
        reference = engine.paint(engine.embed(portrait), target).astype(int)
    nose = tuple(target[1, 1::-1].astype(int))
    assert (painted - before)[nose].mean() > 10
    assert np.abs(painted - reference).mean() < 0.02


def test_what_was_tuned_to_others_is_refused(file: Path, pictures: list[Path], tmp_path: Path) -> None:
    with pytest.raises(TunedError, match="another picture"):
        TunedEngine(file, portrait=pictures[1])
    other = tmp_path / "other.safetensors"
    other.write_bytes(DEFAULT.read_bytes() + b" ")
    with pytest.raises(TunedError, match="other weights"):
        TunedEngine(file, portrait=pictures[0], base=other)


def test_what_is_no_tuned_file_is_refused(file: Path, pictures: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.tuned"
    content = file.read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"not tuned at all"):
        bad.write_bytes(damaged)
        with pytest.raises(TunedError, match="cannot be read as a tuned file"):
            TunedEngine(bad, portrait=pictures[0])
    with pytest.raises(TunedError, match="cannot be read as a tuned file"):
        TunedEngine(tmp_path / "absent.tuned", portrait=pictures[0])
    with pytest.raises(TunedError, match="is no tuned file"):
        TunedEngine(DEFAULT, portrait=pictures[0])


def test_full_disk_leaves_the_former_file(brighter: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ada.tuned"
    path.write_bytes(b"the former")

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(TunedError, match="No space left"):
        brighter.save(path)
    assert path.read_bytes() == b"the former"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(scope="module")
def pairs(album: Album) -> OwnPairs:
    return own_pairs(album, base=DEFAULT)


def test_a_picture_is_kept_back(pairs: OwnPairs) -> None:
    sources, targets = pairs.pairs.pairs.T
    assert {(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)} == set(zip(sources.tolist(), targets.tolist(), strict=True))
    assert pairs.held_back == 1
    kept_back = targets[pairs.judged[0]]
    assert kept_back != 0
    assert set(targets[pairs.trained]) == {0, 1, 2} - {kept_back}
    true = pairs.pairs.frames[targets].astype(int)
    assert np.abs(pairs.pairs.warped - true).mean() < np.abs(pairs.pairs.frames[sources] - true).mean()


@pytest.fixture
def gain_until(pairs: OwnPairs, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes each step a gain, up to the number that it is called with."""

    def choose(last: int) -> None:
        def judge(tuner: Tuner) -> Figures:
            return Figures(lpips=0.5 - 0.1 * min(tuner.step, last), openings=0.1)

        monkeypatch.setattr(Tuner, "judge", judge)

    monkeypatch.setattr(tuning, "EVERY", 1)
    monkeypatch.setattr(tuning, "own_pairs", lambda portrait, *, base: pairs)
    return choose


def test_the_best_is_kept(gain_until: Callable[[int], None], album: Album) -> None:
    gain_until(1)
    once, report = tuned_to(album, "ada", config=QUICK)
    assert (report.best_step, report.steps, report.pictures, report.stopped) == (1, 2, 3, False)
    assert (report.lpips_before, report.lpips_after) == (0.5, 0.4)
    gain_until(2)
    twice, _ = tuned_to(album, "ada", config=QUICK)
    weights = "generator.blocks.0.a.weight"
    assert not np.array_equal(once.tensors[weights], twice.tensors[weights])
    assert once.tensors["generator.P.bias"].shape == load_file(DEFAULT)["generator.P.bias"].shape
    unfolded(once, DEFAULT)


def test_in_the_end_it_learns_from_all_pictures(
    gain_until: Callable[[int], None], pairs: OwnPairs, album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    gain_until(2)
    learn, taken = Tuner.learn, []

    def noted(tuner: Tuner) -> None:
        taken.append(len(tuner._drawn))
        learn(tuner)

    monkeypatch.setattr(Tuner, "learn", noted)
    told: list[float] = []
    kept, _ = tuned_to(album, "ada", config=QUICK, progress=lambda done: told.append(done) or True)
    few, every = len(pairs.trained), len(pairs.pairs.pairs)
    assert taken == [few] * 2 + [every] * 3  # half as many pictures again, so half as many steps
    assert told == sorted(told)
    trial, report = tuned_to(album, "ada", config=QUICK, progress=lambda done: done < 0.5)
    assert report.stopped
    weights = "generator.blocks.0.a.weight"
    assert not np.array_equal(kept.tensors[weights], trial.tensors[weights])


def test_what_went_astray_in_the_end_is_not_kept(
    gain_until: Callable[[int], None], album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    gain_until(2)
    trial, _ = tuned_to(album, "ada", config=QUICK, progress=lambda done: done < 0.5)

    def judge(tuner: Tuner) -> Figures:
        return Figures(lpips=0.5 - 0.1 * tuner.step if tuner.step < 3 else 0.4, openings=0.1)

    monkeypatch.setattr(Tuner, "judge", judge)
    kept, report = tuned_to(album, "ada", config=QUICK)
    assert not report.stopped
    weights = "generator.blocks.0.a.weight"
    np.testing.assert_array_equal(kept.tensors[weights], trial.tensors[weights])


def test_stopped_it_keeps_the_best_or_nothing(gain_until: Callable[[int], None], album: Album) -> None:
    gain_until(9)
    _, report = tuned_to(album, "ada", config=QUICK, progress=lambda done: done < 0.2)  # of five steps
    assert (report.steps, report.stopped) == (1, True)
    with pytest.raises(TuningStopped, match="nothing was written"):
        tuned_to(album, "ada", config=QUICK, progress=lambda done: False)


def test_without_a_gain_it_is_refused(gain_until: Callable[[int], None], album: Album) -> None:
    gain_until(0)
    with pytest.raises(NoGainError, match="kept back"):
        tuned_to(album, "ada", config=QUICK)


def test_a_step_changes_what_is_painted(pairs: OwnPairs) -> None:
    tuner = Tuner(pairs, pairs.trained, base=DEFAULT, config=QUICK, device=torch.device("cpu"))
    figures = tuner.judge()
    assert 0 < figures.lpips
    assert 0 < figures.openings < 0.5
    tuner.learn()
    assert tuner.judge() != figures


@pytest.mark.parametrize(("own", "share"), [("pairs", SHARE), ("alone", ALONE_SHARE)])
def test_not_all_that_was_learnt_is_kept(own: str, share: float, request: pytest.FixtureRequest) -> None:
    taught: OwnPairs = request.getfixturevalue(own)
    tuner = Tuner(taught, taught.trained, base=DEFAULT, config=QUICK, device=torch.device("cpu"))
    name = "generator.blocks.0.a.weight"
    before = tuner.model.state_dict()[name].clone()
    tuner.learn()
    learnt = tuner.model.state_dict()[name] - before
    assert learnt.abs().max() > 0
    torch.testing.assert_close(tuner.mixed()[name] - before, share * learnt, atol=1e-7, rtol=0.01)
    torch.testing.assert_close(tuner.state()[name], tuner.mixed()[name].half())


@pytest.fixture(scope="module")
def alone(portrait: Portrait) -> OwnPairs:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pseudo, "MOTIONS", 4)
        return pseudo_pairs(portrait, base=DEFAULT)


def test_one_picture_is_the_target_of_what_was_painted_of_it(alone: OwnPairs) -> None:
    assert (alone.pictures, alone.held_back) == (1, 0)
    sources, targets = alone.pairs.pairs.T
    assert list(zip(sources[:4], targets[:4], strict=True)) == [(1, 0), (2, 0), (3, 0), (4, 0)]
    assert list(zip(sources[4:], targets[4:], strict=True)) == [(0, 1), (0, 2), (0, 3), (0, 4)]
    assert (alone.judged, alone.trained) == ([2], [0, 1, 3, 4, 5, 7])  # neither way of the motion that is kept back
    assert alone.posed == (6,)
    picture = alone.pairs.frames[0].astype(int)
    for source in sources[:4]:
        away = np.abs(alone.pairs.frames[source] - picture).mean()
        assert np.abs(alone.pairs.warped[source - 1] - picture).mean() < away
        assert np.abs(alone.pairs.points[source] - alone.pairs.points[0]).mean() > 1


def test_of_one_picture_the_trial_is_all(
    gain_until: Callable[[int], None], alone: OwnPairs, portrait: Portrait, monkeypatch: pytest.MonkeyPatch
) -> None:
    gain_until(9)
    monkeypatch.setattr(tuning, "pseudo_pairs", lambda portrait, *, base: alone)
    monkeypatch.setattr(tuning, "ALONE_STEPS", 1)
    told: list[float] = []
    kept, report = tuned_to(portrait, "ada", config=QUICK, progress=lambda done: told.append(done) or True)
    assert (report.pictures, report.held_back, report.steps, report.best_step) == (1, 0, 1, 1)
    assert (report.lpips_before, report.lpips_after) == (0.5, 0.4)
    assert len(told) == 1
    with NeuralEngine(DEFAULT, runner_name="pytorch") as engine:
        psi = engine.embed(portrait).tensors["psi"][0]
    learnt = kept.tensors["generator.P.bias"] - psi
    assert 0 < np.abs(learnt).max() < 0.01  # of the picture's own, not of what was painted
    gain_until(0)
    with pytest.raises(NoGainError, match="--also"):
        tuned_to(portrait, "ada", config=QUICK)


def test_one_picture_must_not_look_less_like_itself(
    alone: OwnPairs, portrait: Portrait, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner = Tuner(alone, alone.trained, base=DEFAULT, config=QUICK, device=torch.device("cpu"))
    before = tuner.judge().unlikeness
    assert 0.1 < before < 0.6  # dlib's threshold for another person
    with torch.no_grad():
        tuner.model.generator.flow.bias += 3  # 24 px away
    assert tuner.judge().unlikeness > before + 0.02
    monkeypatch.setattr(tuning, "pseudo_pairs", lambda portrait, *, base: alone)
    monkeypatch.setattr(tuning, "EVERY", 1)
    for slope, refused in ((0.01, True), (-0.01, False)):
        monkeypatch.setattr(
            Tuner, "judge", lambda tuner, slope=slope: Figures(0.5 - 0.1 * tuner.step, 0.1, 0.3 + slope * tuner.step)
        )
        with pytest.raises(NoGainError, match="without harm") if refused else nullcontext():
            tuned_to(portrait, "ada", config=QUICK)


def test_command_writes_a_file_and_says_what_it_gained(
    gain_until: Callable[[int], None],
    pictures: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gain_until(1)
    monkeypatch.setattr(tuning, "PATIENCE", 1)
    out = tmp_path / "ada.tuned"
    command = ["finetune", str(pictures[0]), str(out), "--also", str(pictures[1]), "--also", str(pictures[2]), "--json"]
    assert main(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["pictures"], report["lpips_before"], report["lpips_after"]) == (3, 0.5, 0.4)
    Tuned.load(out, portrait=pictures[0])


def test_command_says_that_there_was_one_picture(
    gain_until: Callable[[int], None],
    alone: OwnPairs,
    pictures: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gain_until(1)
    monkeypatch.setattr(tuning, "pseudo_pairs", lambda portrait, *, base: alone)
    monkeypatch.setattr(tuning, "ALONE_STEPS", 1)
    out = tmp_path / "ada.tuned"
    assert main(["finetune", str(pictures[0]), str(out)]) == 0
    said = capsys.readouterr().out
    assert "tuned to 1 picture in" in said
    assert "20 % nearer to the picture, from motions that were kept back" in said
    Tuned.load(out, portrait=pictures[0])


def test_rendered_with_it_the_portrait_looks_otherwise(
    file: Path, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = Recording.load(asset("sample.motion"))
    driving = tmp_path / "brief.motion"
    Recording(sample.fps, sample.width_px, sample.height_px, tuple(sample)[:240:40]).save(driving)
    frames = []
    for name, more in (("plain", ["--engine", "neural"]), ("tuned", ["--tuned", str(file)])):
        out = tmp_path / name
        assert main(["render", str(pictures[0]), str(driving), str(out), *more]) == 0
        frames.append(cv2.imread(str(sorted(out.iterdir())[-1])).astype(int))
    assert (frames[1] - frames[0]).max() > 10
    command = ["render", str(pictures[0]), str(driving), str(tmp_path / "no"), "--tuned", str(file)]
    assert main([*command, "--engine", "warp"]) == 2
    assert "leave out --engine" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_output_must_not_look_like_something_else(pictures: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["finetune", str(pictures[0]), "ada.jpg"])
    assert "does not end in .tuned" in capsys.readouterr().err


def test_without_torch_it_says_what_to_install(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "engines.training.tuning")
    assert main(["finetune", str(pictures[0]), str(tmp_path / "ada.tuned")]) == 2
    assert "pip install 'portrait-puppet[train]'" in capsys.readouterr().err
