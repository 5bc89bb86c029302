"""Plans are built for the cards that people have, on a machine without one, and kept as long as nothing changes."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import onnx
import pytest

from engines.plan import Key, Plan, build_plan, keep, kept, library, told
from engines.runner import RunnerUnavailable

KEY = Key("0123456789abcdef" * 4, "tensorrt_rtx 1.7.1", "NVIDIA Fake 4070", "8.9", "13.0")
PLAN = Plan(b"an engine" * 1000, b"kernels")

builds = pytest.mark.skipif(sys.platform == "darwin", reason="TensorRT is not for macOS")


@pytest.fixture
def tensorrt() -> ModuleType:
    import tensorrt_rtx

    return tensorrt_rtx


@builds
@pytest.mark.parametrize("capability", ["7.5", "8.6", "8.9", "12.0"])
@pytest.mark.parametrize("name", ["repaint-fp16", "frame-512", "frame-1024"])
def test_plan_is_built_without_a_card(name: str, capability: str, weights: Path, tensorrt: ModuleType) -> None:
    graph, heard = weights.with_name(f"{name}.onnx"), []
    engine = build_plan(
        graph, tensorrt=tensorrt, capabilities=[capability], progress=lambda part: heard.append(part) or True
    )
    network = onnx.load(graph).graph
    assert all(each.name.encode() in engine for each in (*network.input, *network.output))
    stored = [tensor.raw_data for tensor in network.initializer if tensor.name.endswith("weight")]
    assert any(raw in engine for raw in stored if len(raw) > 10_000)  # some as they were, some in another order
    assert heard == sorted(heard)
    assert 0 < heard[0] < 0.1
    assert 0.7 < heard[-1] <= 1


@builds
def test_building_can_be_stopped(weights: Path, tensorrt: ModuleType) -> None:
    heard: list[float] = []
    with pytest.raises(RunnerUnavailable, match="it was stopped"):
        build_plan(
            weights.with_name("repaint-fp16.onnx"),
            tensorrt=tensorrt,
            capabilities=["8.9"],
            progress=lambda part: heard.append(part) or len(heard) < 5,
        )
    assert len(heard) == 5


@builds
def test_what_cannot_be_built_is_said(weights: Path, tensorrt: ModuleType, tmp_path: Path) -> None:
    graph = tmp_path / "repaint-fp16.onnx"
    for content in (b"", b"no graph", weights.with_name(graph.name).read_bytes()):  # the last without its weights
        graph.write_bytes(content)
        with pytest.raises(RunnerUnavailable, match=r"TensorRT (cannot read|built no plan of) .*fp16.onnx \(.*\w"):
            build_plan(graph, tensorrt=tensorrt, capabilities=["8.9"])
    with pytest.raises(RunnerUnavailable, match=r"no compute capability 9\.0"):
        build_plan(weights.with_name(graph.name), tensorrt=tensorrt, capabilities=["9.0"])


@builds
@pytest.mark.parametrize("damaged", [b"", b"no plan", b"\x00" * 4096])
def test_real_runtime_says_why_it_refuses_a_plan(damaged: bytes, tensorrt: ModuleType) -> None:
    log = told(tensorrt)
    assert tensorrt.Runtime(log).deserialize_cuda_engine(damaged) is None
    assert "Error Code" in log.reason()
    assert log.reason() == "it does not say why"  # a reason is told once


def test_library_for_a_data_centre_is_the_older_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    assert library("8.9").__name__ == "tensorrt_rtx"
    assert library("9.0").__name__ == "tensorrt"
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert library("9.0").__name__ == "tensorrt_rtx"
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(RunnerUnavailable, match="pip install 'portrait-puppet"):
        library("8.9")


def test_plan_is_kept(tmp_path: Path) -> None:
    assert kept(KEY, tmp_path / "plans") is None
    for plan in (PLAN, Plan(b"another engine")):
        keep(plan, KEY, tmp_path / "plans")
        assert kept(KEY, tmp_path / "plans") == plan
    assert len(list((tmp_path / "plans").iterdir())) == 1


@pytest.mark.parametrize(
    ("part", "now"),
    [("driver", "13.1"), ("card", "NVIDIA Fake 5090"), ("capability", "12.0"), ("library", "tensorrt 11")],
)
def test_plan_is_for_the_same_of_everything(
    part: str, now: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(PLAN, KEY, tmp_path)
    with caplog.at_level(logging.INFO):
        assert kept(replace(KEY, **{part: now}), tmp_path) is None
    assert f"{part} {getattr(KEY, part)}, not {now}" in caplog.text
    assert kept(replace(KEY, network="f" * 64), tmp_path) is None


def test_damaged_plan_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keep(PLAN, KEY, tmp_path)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    flipped = bytearray(content)
    flipped[-50] ^= 1
    for damaged in (b"", content[:-1], content[: len(content) // 2], bytes(flipped), b"no plan at all" * 99):
        file.write_bytes(damaged)
        caplog.clear()
        assert kept(KEY, tmp_path) is None
        assert "cannot be used" in caplog.text


def test_plan_that_cannot_be_kept_leaves_nothing(tmp_path: Path) -> None:
    occupied = tmp_path / "plans"
    occupied.write_bytes(b"not a folder")
    with pytest.raises(OSError, match="plans"):
        keep(PLAN, KEY, occupied)
    folder = tmp_path / "folder"
    (folder / f"{KEY.network[:16]}.plan").mkdir(parents=True)  # cannot be replaced by a file
    with pytest.raises(OSError, match="plan"):
        keep(PLAN, KEY, folder)
    assert len(list(folder.iterdir())) == 1
