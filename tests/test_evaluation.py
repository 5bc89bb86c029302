"""The judge: doing nothing scores as doing nothing, the warp engine follows, a perfect engine is perfect."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from engines.training.clips import DataError, find_clips
from engines.training.evaluation import Judge, Summary, engine_painter, static_painter
from engines.training.perceptual import PerceptualNet
from engines.warp import WarpEngine


@pytest.fixture(scope="module")
def judge() -> Judge:
    def load(net: str) -> PerceptualNet:
        torch.manual_seed(1)
        module = PerceptualNet(net)  # type: ignore[arg-type]
        for head in module.heads:
            torch.nn.init.constant_(head.weight, 1 / head.in_channels)
        return module.requires_grad_(False).eval()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PerceptualNet, "load", staticmethod(load))
        return Judge()


@pytest.fixture(scope="module")
def summaries(judge: Judge, data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Summary]:
    folder = tmp_path_factory.mktemp("clips")
    shutil.copy(data / "turn.mp4", folder)
    shutil.copy(data / "no_face.mp4", folder)
    clips = find_clips(folder)
    with WarpEngine() as warp:
        painters = {"static": static_painter, "warp": engine_painter(warp)}
        summaries = {name: judge.clips(name, begin, clips)[0] for name, begin in painters.items()}
        return summaries | {"several": judge.clips("several", painters["warp"], clips, shots=6)[0]}


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


def test_more_shots_come_nearer(summaries: dict[str, Summary]) -> None:
    one, several = summaries["warp"], summaries["several"]
    assert several.lpips < 0.9 * one.lpips
    assert several.psnr > one.psnr


def test_clips_without_faces_are_refused(judge: Judge, data: Path, tmp_path: Path) -> None:
    shutil.copy(data / "no_face.mp4", tmp_path)
    with pytest.raises(DataError, match="face"):
        judge.clips("static", static_painter, find_clips(tmp_path))
