"""The neural engine: an untrained generator shows the warp engine's picture, and bad weights are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from engines import geometry
from engines.neural import NeuralEngine
from engines.repair import Repair
from engines.training.models import WarpFed
from engines.warp import WarpEngine
from engines.weights import NETWORK_VERSION, WeightsError
from puppet.matting import person_matte, still_background
from puppet.overlay import album_of
from puppet.tracking import settle
from puppet.types import Floats, Image, Portrait
from puppet.video import VideoFile

METADATA = {"model": "ours", "network": str(NETWORK_VERSION), "geometry": str(geometry.VERSION)}


@pytest.fixture(scope="module")
def portrait(data: Path) -> Portrait:
    with VideoFile(data / "face.mp4") as video:
        image = next(iter(video)).image
    face = settle(image)
    assert face is not None
    matte = person_matte(image, face)
    return Portrait(image, face, matte, still_background(image, matte), key="face")


@pytest.fixture(scope="module")
def target(portrait: Portrait) -> Floats:
    """The head a little lower and to the right, the mouth open."""
    points = portrait.landmarks.points + np.array([4, 3, 0], np.float32)
    points[[14, 87, 317, 178, 402, 88, 318, 15, 16, 17, 84, 314, 152], 1] += 6
    return points


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    tensors = {name: value.half() for name, value in WarpFed().state_dict().items()}
    path = tmp_path_factory.mktemp("weights") / "ours.safetensors"
    save_file(tensors, path, metadata=METADATA)
    return path


@pytest.fixture(scope="module")
def painting(untrained: Path) -> Path:
    """Weights of a generator that makes everything brighter."""
    tensors = load_file(untrained)
    tensors["generator.residual.bias"] = torch.full((48,), 0.2).half()
    path = untrained.with_name("brighter.safetensors")
    save_file(tensors, path, metadata=METADATA)
    return path


def test_untrained_generator_shows_the_warp(portrait: Portrait, target: Floats, untrained: Path) -> None:
    with NeuralEngine(untrained, runner_name="pytorch") as engine, WarpEngine() as warp:
        painted = engine.paint(engine.embed(portrait), target)
        np.testing.assert_array_equal(painted, warp.paint(warp.embed(portrait), target))


def test_only_what_moved_is_repaired(portrait: Portrait, target: Floats, painting: Path) -> None:
    with NeuralEngine(painting, runner_name="pytorch") as engine, WarpEngine() as warp:
        painted = engine.paint(engine.embed(portrait), target).astype(int)
        warped = warp.paint(warp.embed(portrait), target).astype(int)
    nose = tuple(target[1, 1::-1].astype(int))
    assert (painted - warped)[nose].mean() > 20
    still = np.abs(warped - portrait.image).max(axis=2) == 0
    far = np.hypot(*(np.indices(still.shape) - np.array(nose)[:, None, None])) > 0.45 * max(still.shape)
    assert (far & still).sum() > 100
    assert np.abs(painted - warped)[far & still].mean() < 0.5


def test_embedding_is_made_once(portrait: Portrait, untrained: Path) -> None:
    with NeuralEngine(untrained, runner_name="pytorch") as engine:
        embedding = engine.embed(portrait)
        assert engine.embed(embedding) is embedding
        assert embedding.tensors["features"].shape == (1, 64, 64, 64)


def test_repair_at_full_resolution_moves_by_the_picture_s_own_pixels() -> None:
    picture = np.zeros((600, 520, 3), np.uint8)
    picture[:, 300:] = 200
    square = picture[40:552, 4:516]
    flow = np.zeros((64, 64, 2), np.float32)
    flow[..., 0] = 4  # of 256 px
    residual = np.zeros((256, 256, 3), np.float32)
    residual[:, 200:] = 0.2
    Repair(512)(square, flow, residual, cover=np.ones((256, 256), np.float32))
    assert (square[:, 292:390] == 200).all()
    assert (square[:, :287] == 0).all()
    assert (square[:, 410:] == 251).all()
    assert (picture[:40, 300:] == 200).all()
    assert (picture[40:552, 296:300] == 200).all()


def test_repair_of_nothing_leaves_every_pixel() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    repaired = picture.copy()
    repair, cover = Repair(300), np.ones((256, 256), np.float32)
    for _ in range(2):  # what it keeps from one frame must not show in the next
        repair(repaired, np.zeros((64, 64, 2), np.float32), np.zeros((256, 256, 3), np.float32), cover=cover)
        np.testing.assert_array_equal(repaired, picture)
        other = picture.copy()
        repair(other, np.ones((64, 64, 2), np.float32), np.full((256, 256, 3), 3, np.float32), cover=cover)
        assert (other == 255).all()


def test_repair_keeps_detail_between_pixels() -> None:
    rows, columns = np.mgrid[:256, :256]
    waves = 128 + 60 * np.sin(columns * 1.1) * np.sin(rows * 0.9)
    shift, nothing = np.full((64, 64, 2), 0.5, np.float32), np.zeros((256, 256, 3), np.float32)
    square = np.dstack([waves.astype(np.uint8)] * 3)
    line = np.arange(256, dtype=np.float32) + np.float32(0.5)
    blurred = cv2.remap(square, *np.meshgrid(line, line), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    Repair(256)(square, shift, nothing, cover=np.ones((256, 256), np.float32))
    truth = (128 + 60 * np.sin((columns + 0.5) * 1.1) * np.sin((rows + 0.5) * 0.9))[8:-8, 8:-8, None]
    kept, lost = (np.abs(each[8:-8, 8:-8] - truth).mean() for each in (square, blurred))
    assert kept < 0.6 * lost


def test_bad_weights_are_refused(untrained: Path, tmp_path: Path) -> None:
    content = untrained.read_bytes()
    wrong = tmp_path / "wrong.safetensors"
    for damaged in (b"", content[: len(content) // 2], b"not weights at all"):
        wrong.write_bytes(damaged)
        with pytest.raises(WeightsError, match="cannot be read"):
            NeuralEngine(wrong, runner_name="pytorch")
    with pytest.raises(WeightsError, match="cannot be read"):
        NeuralEngine(tmp_path / "absent.safetensors", runner_name="pytorch")
    save_file(load_file(untrained), wrong, metadata={**METADATA, "network": "0"})
    with pytest.raises(WeightsError, match="train them anew"):
        NeuralEngine(wrong, runner_name="pytorch")
    save_file({"encoder.first.weight": torch.zeros(1)}, wrong, metadata=METADATA)
    with pytest.raises(WeightsError, match="do not fit"):
        NeuralEngine(wrong, runner_name="pytorch")


def test_features_of_one_picture_are_the_same_array_each_frame(
    portrait: Portrait, target: Floats, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Floats] = []
    with NeuralEngine(untrained, runner_name="pytorch") as engine:
        embedding, repair = engine.embed(portrait), engine._runner.repair

        def listen(seen: Image, head: Floats, *, psi: Floats, features: Floats) -> tuple[Floats, Floats]:
            told.append(features)
            return repair(seen, head, psi=psi, features=features)

        monkeypatch.setattr(engine._runner, "repair", listen)
        for _ in range(2):
            engine.paint(embedding, target)
    assert told[0] is told[1]  # a runner uploads what is new to it


def test_network_is_told_of_the_picture_that_moved(
    portrait: Portrait, target: Floats, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = replace(portrait.landmarks, points=target)
    album = album_of(portrait, [(np.roll(portrait.image, (3, 4), axis=(0, 1)), face)], key="album")
    told: list[tuple[Floats, Floats]] = []
    with NeuralEngine(untrained, runner_name="pytorch") as engine:
        embedding = engine.embed(album)
        repair = engine._runner.repair

        def listen(seen: Image, head: Floats, *, psi: Floats, features: Floats) -> tuple[Floats, Floats]:
            told.append((head, features))
            return repair(seen, head, psi=psi, features=features)

        monkeypatch.setattr(engine._runner, "repair", listen)
        for points in (portrait.landmarks.points, target):
            engine.paint(embedding, points)
    for index, (head, features) in enumerate(told):
        np.testing.assert_allclose(head[..., :2], 0, atol=1e-4)  # each picture lies where it is to go
        np.testing.assert_array_equal(features[0], embedding.tensors["features"][index])
    assert not np.array_equal(told[0][1], told[1][1])
