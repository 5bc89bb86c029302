"""Every runner gives what torch gives for the same weights, and says clearly why it cannot run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from engines import EngineUnavailable, build, runner
from engines.openvino import OpenVINORunner
from engines.pytorch import TorchRunner
from engines.runner import Runner, for_repair
from engines.weights import WeightsError
from puppet.types import Floats, Image, PuppetError


@pytest.fixture(scope="module")
def inputs() -> tuple[Image, Floats]:
    random = np.random.default_rng(1)
    return (
        random.integers(0, 256, (256, 256, 7), np.uint8),
        random.normal(size=(64, 64, 4)).astype(np.float32),
    )


def _all(run: Runner, inputs: tuple[Image, Floats]) -> dict[str, NDArray[np.float32]]:
    seen, head = inputs
    cached = run.embed(seen)
    flow, residual = run.repair(seen, head, **for_repair(cached))
    return {**cached, "flow": flow, "residual": residual}


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_runner_equals_torch(name: str, weights: Path, inputs: tuple[Image, Floats]) -> None:
    with TorchRunner(weights) as reference:
        expected = _all(reference, inputs)
    exact = OpenVINORunner(weights, precision="f32") if name == "openvino" else runner.load(weights, name)
    with exact as run:
        assert run.name == name
        found = _all(run, inputs)
    assert expected["flow"].std() > 0.1
    assert expected["residual"].std() > 0.005
    for part, array in expected.items():
        assert found[part].dtype == array.dtype
        np.testing.assert_allclose(found[part], array, atol=1e-3, err_msg=part)


def test_fast_precision_is_near_enough(weights: Path, inputs: tuple[Image, Floats]) -> None:
    with OpenVINORunner(weights, precision="f32") as exact, OpenVINORunner(weights) as fast:
        a, b = (_all(run, inputs)["residual"] for run in (exact, fast))
    assert 10 * np.log10(1 / np.mean((a - b) ** 2)) > 40


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_interrupted_afterwards_the_process_lives(name: str, weights: Path) -> None:
    script = (
        "import signal, sys; from pathlib import Path; import numpy as np\n"
        "from engines import runner\n"
        "seen, head = np.zeros((256, 256, 7), np.uint8), np.zeros((64, 64, 4), np.float32)\n"
        "run = runner.load(Path(sys.argv[1]), sys.argv[2])\n"
        "run.repair(seen, head, **runner.for_repair(run.embed(seen)))\n"
        "run.close(); del run\n"
        "try: signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt: print('interrupted')"
    )
    command = [sys.executable, "-c", script, str(weights), name]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(runner.__file__).parents[1])
    assert (done.returncode, done.stdout) == (0, "interrupted\n")


def test_another_portrait_needs_no_other_graph(weights: Path, inputs: tuple[Image, Floats]) -> None:
    seen, head = inputs
    with OpenVINORunner(weights) as run:
        first, second = run.embed(seen), run.embed(255 - seen)
        a, b, again = (run.repair(seen, head, **for_repair(cached))[1] for cached in (first, second, first))
    assert not np.allclose(a, b)
    np.testing.assert_array_equal(a, again)


def test_openvino_reports_to_nobody() -> None:
    assert sys.modules["openvino_telemetry"] is None
    assert not [name for name in sys.modules if name.startswith("openvino_telemetry.")]


def test_auto_takes_the_first_that_works(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runner.RUNNERS, "tensorrt", "engines.absent:Nothing")
    with runner.load(weights) as run:
        assert run.name == "openvino"
    with pytest.raises(EngineUnavailable, match="tensorrt"):
        runner.load(weights, "tensorrt")
    with pytest.raises(EngineUnavailable, match="choose auto or one of"):
        runner.load(weights, "abacus")


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_missing_damaged_and_foreign_graphs_are_refused(name: str, weights: Path, tmp_path: Path) -> None:
    copy = tmp_path / weights.name
    copy.write_bytes(weights.read_bytes())
    with pytest.raises(PuppetError, match="is missing; make it with: puppet build"):
        runner.load(copy, name)
    content = weights.with_name("repaint.onnx").read_bytes()
    for damaged in (b"", b"nothing of the kind", content[: len(content) // 2]):
        for graph in ("embed", "repaint"):
            copy.with_name(f"{graph}.onnx").write_bytes(damaged)
        with pytest.raises(PuppetError, match="puppet build"):
            runner.load(copy, name)
    for graph in ("embed", "repaint"):  # an encoder in the generator's place has other inputs
        copy.with_name(f"{graph}.onnx").write_bytes(weights.with_name("embed.onnx").read_bytes())
    with pytest.raises(PuppetError, match="puppet build"):
        runner.load(copy, name)


def test_graphs_are_small_and_stock(weights: Path) -> None:
    for graph in build.GRAPHS:
        path = weights.with_name(f"{graph.name}.onnx")
        assert path.stat().st_size < 300_000
        model = onnx.load(path, load_external_data=False)
        assert {opset.domain for opset in model.opset_import} <= {""}
        assert all(dim.HasField("dim_value") for i in model.graph.input for dim in i.type.tensor_type.shape.dim)
        assert [i.name for i in model.graph.input] == list(graph.inputs)


def test_half_graph_keeps_statistics_in_full_precision(weights: Path) -> None:
    model = onnx.shape_inference.infer_shapes(onnx.load(weights.with_name("repaint-fp16.onnx")))
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    types |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    norms = [node for node in model.graph.node if node.op_type == "InstanceNormalization"]
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert norms
    assert all(types[node.input[0]] == onnx.TensorProto.FLOAT for node in norms)
    assert all(types[node.input[1]] == onnx.TensorProto.FLOAT16 for node in convolutions)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ours.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata={"model": "paper"})
    with pytest.raises(WeightsError, match="train them anew"):
        build.build(path)
