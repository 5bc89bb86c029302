"""The judge: doing nothing scores as doing nothing, the warp engine follows, a perfect engine is perfect."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engines import EngineUnavailable, geometry
from engines.geometry import SIDE_PX
from engines.neural import DEFAULT
from engines.training import table
from engines.training.clips import DataError, find_clips
from engines.training.evaluation import Contestant, Judge, Summary
from engines.training.models import MODELS
from engines.training.painters import engine_painter, static_painter
from engines.training.perceptual import PerceptualNet
from engines.warp import WarpEngine
from engines.weights import NETWORK_VERSION, WeightsError
from puppet.types import Landmarks, Portrait
from puppet.video import VideoFile


@pytest.fixture(scope="module")
def judge(load_features: Callable[[str], PerceptualNet]) -> Judge:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PerceptualNet, "load", staticmethod(load_features))
        return Judge()


@pytest.fixture(scope="module")
def summaries(judge: Judge, data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Summary]:
    folder = tmp_path_factory.mktemp("clips")
    shutil.copy(data / "turn.mp4", folder)
    shutil.copy(data / "no_face.mp4", folder)
    clips = find_clips(folder)
    with WarpEngine() as warp:
        contestants = [
            Contestant("static", static_painter),
            Contestant("warp", engine_painter(warp)),
            Contestant("several", engine_painter(warp), shots=6),
        ]
        return {summary.engine: summary for summary, _ in judge.compare(contestants, clips)}


def test_doing_nothing_is_the_measure(summaries: dict[str, Summary]) -> None:
    static = summaries["static"]
    assert static.clips == 1
    assert static.lpips_ratio == pytest.approx(1)
    assert static.landmarks_px > 3


def test_warp_engine_follows(summaries: dict[str, Summary]) -> None:
    warp, static = summaries["warp"], summaries["static"]
    assert warp.landmarks_px < 0.5 * static.landmarks_px
    assert warp.psnr > static.psnr
    assert warp.roll > 0.9
    assert warp.mouth > 0.9
    assert warp.identity_ratio > 0.9
    assert 0.95 < warp.likeness < 1


def test_more_shots_come_nearer(summaries: dict[str, Summary]) -> None:
    one, several = summaries["warp"], summaries["several"]
    assert several.lpips < 0.9 * one.lpips
    assert several.psnr > one.psnr
    assert several.likeness > one.likeness
    assert several.identity_distance < 0.95 * one.identity_distance < 0.6


def test_models_are_judged_in_their_training_form(data: Path, tmp_path: Path) -> None:
    with VideoFile(data / "turn.mp4") as video:
        image = np.ascontiguousarray(next(iter(video)).image[:SIDE_PX, :SIDE_PX])
    points = np.random.default_rng(0).uniform(50, 200, (478, 3)).astype(np.float32)
    face = Landmarks(points, np.zeros(52, np.float32), np.eye(4, dtype=np.float32), SIDE_PX, SIDE_PX)
    portrait = Portrait(image, face, image[..., 0], image, key="")
    tensors = {name: value.half() for name, value in MODELS["x2face"]().state_dict().items()}
    path = tmp_path / "rival.safetensors"
    metadata = {"model": "x2face", "network": str(NETWORK_VERSION), "geometry": str(geometry.VERSION)}
    save_file(tensors, path, metadata=metadata)
    with WarpEngine() as engine:
        (rival,) = (each for each in table.contestants(engine, [path]) if each.name == "x2face")
    painted = rival.begin(portrait)(points + 5)
    assert np.abs(painted.astype(int) - image).max() <= 1  # untrained, it takes each pixel from where it is
    save_file({"trunk.first.bias": torch.zeros(64)}, path, metadata=metadata)
    with WarpEngine() as engine, pytest.raises(WeightsError, match="do not fit"):
        table.contestants(engine, [path])


def test_what_is_no_rival_is_refused(weights: Path, tmp_path: Path) -> None:
    with WarpEngine() as engine:
        with pytest.raises(WeightsError, match="no rival"):
            table.contestants(engine, [weights])
        with pytest.raises(WeightsError, match="cannot be read"):
            table.contestants(engine, [tmp_path / "absent.safetensors"])


def test_table_has_a_row_for_each_number_of_pictures(summaries: dict[str, Summary]) -> None:
    with WarpEngine() as engine, WarpEngine() as same:
        rows = table.contestants(engine, warp=same)
        assert [(row.name, row.shots) for row in rows] == [("static", 1), ("warp", 1), ("warp", 8), ("warp", 32)]
        with pytest.raises(EngineUnavailable, match="cannot be tuned"):
            table.contestants(engine, tuned_from=DEFAULT)
        engine.name = "neural"
        rows = table.contestants(engine, warp=same, tuned_from=DEFAULT)
    assert [(row.name, row.shots) for row in rows[-6:]] == [
        *(("neural", 1), ("neural", 8), ("neural", 32)),
        *(("tuned", 1), ("tuned", 8), ("tuned", 32)),
    ]
    head, *lines = table.as_text(list(summaries.values())).splitlines()
    assert head.split() == ["T", "FID", "SSIM", "LPIPS", "identity", "likeness", "distance"]
    assert [line.split("  ")[0] for line in lines] == ["doing nothing", "warp engine", "several engine"]
    assert len({len(line) for line in (head, *lines)}) == 1


def test_picture_without_a_face_costs_only_the_figures_of_faces(judge: Judge, data: Path, tmp_path: Path) -> None:
    shutil.copy(data / "turn.mp4", tmp_path)
    black = Contestant("black", lambda portrait: lambda points: np.zeros_like(portrait.image))
    ((summary, (score,)),) = judge.compare([black], find_clips(tmp_path))
    assert (summary.lost, score.lost) == (1, score.frames)
    assert summary.psnr < 15
    assert np.isnan(score.identity)


def test_clips_without_faces_are_refused(judge: Judge, data: Path, tmp_path: Path) -> None:
    shutil.copy(data / "no_face.mp4", tmp_path)
    with pytest.raises(DataError, match="face"):
        judge.compare([Contestant("static", static_painter)], find_clips(tmp_path))
