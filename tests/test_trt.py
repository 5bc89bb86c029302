"""TensorRT's runner on a card that is played: what is copied when, what is trusted, kept and given back.

No test of this program has run on a real card; tests/fake_card.py says how strict the played one is.
"""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx.parser
import pytest
from numpy.typing import NDArray

from engines import pace, preparation, runner
from engines.canvas import SIDES_PX, shapes
from engines.neural import DEFAULT, NeuralEngine
from engines.openvino import OpenVINORunner
from engines.plan import Plan, PlanRefused
from engines.runner import RunnerUnavailable
from engines.trt import TensorRTRunner
from puppet.__main__ import main
from puppet.portrait import prepare
from puppet.settings import sample_portraits

if sys.platform == "darwin":
    pytest.skip("CUDA is not for macOS", allow_module_level=True)

import fake_card
from fake_card import FakeCard, FakeTensorRT

from engines.session import Session, Trial, begin

NETWORK = """
<ir_version: 9, opset_import: ["": 18]>
tiny (uint8[1, 4, 4, 7] seen, float[1, 2, 2, 4] head, float[1, 3] psi, float[1, 2, 2, 2] features)
  => (float[1, 2, 2, 2] flow, float[1, 4, 4, 7] residual)
{
  light = Cast <to = 1> (seen)
  white = Constant <value = float {255.0}> ()
  residual = Div (light, white)
  total = ReduceSum <keepdims = 0> (psi)
  turned = ReduceSum <keepdims = 0> (head)
  scaled = Mul (features, total)
  flow = Add (scaled, turned)
}
"""
SEEN, HEAD, PSI, FEATURES, FLOW, RESIDUAL = 112, 64, 12, 32, 32, 448  # bytes
FRAME = [("up", SEEN), ("up", HEAD), ("down", FLOW), ("down", RESIDUAL)]


def go_on(_: float) -> bool:
    return True


def trial_of(seed: int) -> Trial:
    """Inputs for NETWORK and what comes out of it, in numbers that are added without rounding."""
    random = np.random.default_rng(seed)
    seen = random.integers(0, 256, (1, 4, 4, 7), np.uint8)
    head, psi, features = (
        random.integers(-9, 10, shape).astype(np.float32) for shape in ((1, 2, 2, 4), (1, 3), (1, 2, 2, 2))
    )
    return Trial(
        frame={"seen": seen, "head": head},
        portrait={"psi": psi, "features": features},
        outputs={"flow": features * psi.sum() + head.sum(), "residual": seen.astype(np.float32) / 255},
    )


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> FakeCard:
    fake = FakeCard()
    monkeypatch.setattr("engines.card.cuda", fake)
    return fake


@pytest.fixture(params=["tensorrt_rtx", "tensorrt"])
def tensorrt(card: FakeCard, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    fake = FakeTensorRT(card, rtx=request.param == "tensorrt_rtx")
    for name in ("tensorrt_rtx", "tensorrt"):
        monkeypatch.setitem(sys.modules, name, fake if name == request.param else None)
    return fake


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Session]:
    """`begin` for NETWORK with a cache folder of its own, tmp_path/"plans"."""
    graph, weights = tmp_path / "tiny.onnx", tmp_path / "tiny.safetensors"
    onnx.save(onnx.parser.parse_model(NETWORK), graph)
    weights.write_bytes(b"weights")
    monkeypatch.setattr("engines.session.cache_dir", lambda: tmp_path)
    return lambda trial=None, progress=go_on: begin(graph, weights, lambda: trial or trial_of(0), progress=progress)


@pytest.fixture
def session(tensorrt: FakeTensorRT, start: Callable[..., Session]) -> Iterator[Session]:
    with start() as session:
        yield session
    assert tensorrt.card.is_empty()


def outputs_of(session: Session, trial: Trial) -> dict[str, NDArray[np.float32]]:
    return {name: array.copy() for name, array in session.run(trial.frame, trial.portrait).items()}


def test_played_card_does_nothing_that_the_real_libraries_do_not() -> None:
    import tensorrt_rtx as real
    from cuda.bindings import runtime

    pairs = [
        (FakeCard, runtime),
        (fake_card.Monitor, real.IProgressMonitor),
        (fake_card.Builder, real.Builder),
        (fake_card.OnnxParser, real.OnnxParser),
        (fake_card.Runtime, real.Runtime),
        (fake_card.Engine, real.ICudaEngine),
        (fake_card.RuntimeCache, real.IRuntimeCache),
        (fake_card.Context, real.IExecutionContext),
    ]
    for played, other in pairs:
        names = {name for name in vars(played) if not name.startswith("_")} - set(dir(other))
        assert names <= {"capability", "driver", "free_bytes", "recordable", "launches", "queue", "is_empty", "kernels"}
    for played, other in ((FakeTensorRT(FakeCard()), real), (fake_card.Log.Severity, real.ILogger.Severity)):
        names = {name for name in vars(played) if name[0].isupper()} - set(dir(other))
        assert not names
    config = set(dir(real.IRuntimeConfig)) | set(dir(real.IBuilderConfig))
    assert {"create_runtime_cache", "set_runtime_cache", "set_compute_capability", "progress_monitor"} <= config


def test_only_what_changed_is_copied(session: Session, card: FakeCard) -> None:
    a, b = trial_of(1), trial_of(2)
    portrait = [("up", PSI), ("up", FEATURES)]
    for trial, copied in ((a, portrait + FRAME), (a, FRAME), (b, portrait + FRAME), (b, FRAME), (b, FRAME)):
        card.copies.clear()
        np.testing.assert_equal(outputs_of(session, trial), trial.outputs)
        assert card.copies == copied
    card.copies.clear()
    mixed = {**b.portrait, "psi": a.portrait["psi"]}
    session.run(b.frame, mixed)
    assert card.copies == portrait + FRAME


def test_frame_is_one_launch(session: Session, card: FakeCard) -> None:
    launched, trial = card.launches, trial_of(1)
    for _ in range(3):
        session.run(trial.frame, trial.portrait)
    assert card.launches == launched + 3


def test_outputs_outlive_the_session(tensorrt: FakeTensorRT, start: Callable[..., Session]) -> None:
    session, trial = start(), trial_of(1)
    found = session.run(trial.frame, trial.portrait)
    session.close()
    session.close()
    del session
    gc.collect()
    np.testing.assert_equal(dict(found), trial.outputs)
    assert tensorrt.card.is_empty()
    assert len(tensorrt.card.locked) == len(found)
    found.clear()
    assert not tensorrt.card.locked


def test_card_that_cannot_record_does_it_piece_by_piece(
    card: FakeCard, tensorrt: FakeTensorRT, start: Callable[..., Session], caplog: pytest.LogCaptureFixture
) -> None:
    card.recordable = False
    with caplog.at_level(logging.INFO), start() as session:
        assert "cannot be recorded" in caplog.text
        np.testing.assert_equal(outputs_of(session, trial_of(1)), trial_of(1).outputs)
    assert card.launches == 0
    assert card.is_empty()


def test_kept_plan_needs_no_building(tensorrt: FakeTensorRT, start: Callable[..., Session]) -> None:
    with pytest.raises(RunnerUnavailable, match="puppet build --tensorrt"):
        start(progress=None)
    heard: list[float] = []
    start(progress=lambda part: heard.append(part) or True).close()
    assert heard == [0.125, 0.25, 0.375, 0.5, 0.5, 0.625, 0.75, 0.875, 1.0, 1.0]
    for progress in (None, go_on):
        with start(progress=progress) as session:
            np.testing.assert_equal(outputs_of(session, trial_of(1)), trial_of(1).outputs)
    assert tensorrt.builds == 1
    assert tensorrt.compilations == (1 if tensorrt.rtx else 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda card, _: setattr(card, "driver", 13010), "driver 13.0, not 13.1"),
        (lambda card, _: setattr(card, "capability", "8.6"), "capability 8.9, not 8.6"),
        (lambda _, tensorrt: setattr(tensorrt, "__version__", "99"), "not tensorrt"),
    ],
)
def test_another_plan_is_built_when_anything_changes(
    change: Callable[[FakeCard, FakeTensorRT], None],
    reason: str,
    tensorrt: FakeTensorRT,
    start: Callable[..., Session],
    caplog: pytest.LogCaptureFixture,
) -> None:
    start().close()
    change(tensorrt.card, tensorrt)
    with caplog.at_level(logging.INFO), pytest.raises(RunnerUnavailable, match="puppet build --tensorrt"):
        start(progress=None)
    assert reason in caplog.text
    start().close()
    start(progress=None).close()
    assert tensorrt.builds == 2


def test_plan_that_is_of_no_use_is_built_anew(
    tensorrt: FakeTensorRT, start: Callable[..., Session], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    start().close()
    (file,) = (tmp_path / "plans").iterdir()
    file.write_bytes(file.read_bytes()[:-3])
    start().close()
    assert tensorrt.builds == 2
    monkeypatch.setattr("engines.session.kept", lambda *_: Plan(b"of another library's making"))
    with pytest.raises(PlanRefused, match="Serialization assertion failed"):
        start(progress=None)
    start().close()
    assert tensorrt.builds == 3


@pytest.mark.parametrize(
    ("corrupt", "reason"),
    [
        (lambda name, array: array + 0.02 * (name == "residual"), "residual is inexact: 34.0 dB, and 40 are needed"),
        (lambda name, array: array * 1.02 if name == "flow" else array, "flow is inexact"),
        (lambda name, array: np.full_like(array, np.nan), "flow has values that are no numbers"),
        (lambda name, array: array * np.float32(np.inf), "values that are no numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_inexact_plan_is_neither_used_nor_kept(
    corrupt: Callable[[str, np.ndarray], np.ndarray],
    reason: str,
    tensorrt: FakeTensorRT,
    start: Callable[..., Session],
    tmp_path: Path,
) -> None:
    tensorrt.corrupt = corrupt
    with pytest.raises(PlanRefused, match=reason):
        start()
    assert not (tmp_path / "plans").exists()
    assert tensorrt.card.is_empty()
    tensorrt.corrupt = lambda name, array: array + 0.005
    start().close()


def test_network_with_other_inputs_is_refused(tensorrt: FakeTensorRT, start: Callable[..., Session]) -> None:
    trial = trial_of(0)
    wide = replace(trial, portrait={**trial.portrait, "psi": np.zeros((1, 4), np.float32)})
    with pytest.raises(PlanRefused, match=r"has .*psi \(1, 3\) float32.* not .*psi \(1, 4\) float32.*: puppet build"):
        start(wide)
    with pytest.raises(PlanRefused, match="puppet build"):
        start(replace(trial, outputs={"flow": trial.outputs["flow"]}))


@pytest.mark.parametrize("free_bytes", [0, 100, 300, 690])
def test_card_without_room_says_so(free_bytes: int, tensorrt: FakeTensorRT, start: Callable[..., Session]) -> None:
    tensorrt.card.free_bytes = free_bytes
    with pytest.raises(RunnerUnavailable, match="out of memory"):
        start()
    assert tensorrt.card.is_empty()
    assert tensorrt.card.free_bytes == free_bytes


def test_cache_that_cannot_be_written_is_no_obstacle(
    tensorrt: FakeTensorRT, start: Callable[..., Session], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "plans").write_bytes(b"not a folder")
    with start() as session:
        np.testing.assert_equal(outputs_of(session, trial_of(1)), trial_of(1).outputs)
    assert "is not kept for next time" in caplog.text


def test_building_can_be_stopped(tensorrt: FakeTensorRT, start: Callable[..., Session], tmp_path: Path) -> None:
    with pytest.raises(RunnerUnavailable, match="it was stopped"):
        start(progress=lambda part: part < 0.3)
    assert not (tmp_path / "plans").exists()


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.trt._find_driver", lambda: None)


@pytest.mark.parametrize("tensorrt", ["tensorrt_rtx"], indirect=True)
def test_runner_equals_the_exact_one(
    tensorrt: FakeTensorRT, driver: None, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.session.cache_dir", lambda: tmp_path)
    random = np.random.default_rng(1)
    seen = random.integers(0, 256, (256, 256, 7), np.uint8)
    head = random.normal(size=(64, 64, 4)).astype(np.float32)
    with TensorRTRunner(weights, progress=go_on) as ours, OpenVINORunner(weights, precision="f32") as exact:
        np.testing.assert_equal(ours.embed(seen), exact.embed(seen))
        cached = runner.for_repair(exact.embed(seen))
        for found, expected in zip(ours.repair(seen, head, **cached), exact.repair(seen, head, **cached), strict=True):
            assert found.shape == expected.shape
            assert expected.std() > 0.005
            assert 0 < np.sqrt(np.mean((found - expected) ** 2)) < 0.01  # it is another precision
    assert tensorrt.card.is_empty()
    with runner.load(weights, "tensorrt") as again:
        assert again.name == "tensorrt"
    assert tensorrt.builds == 1


@pytest.mark.parametrize("tensorrt", ["tensorrt_rtx"], indirect=True)
def test_whole_frames_are_painted_on_the_card(
    tensorrt: FakeTensorRT,
    driver: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("engines.session.cache_dir", lambda: tmp_path)
    monkeypatch.setattr("engines.pace._folder", lambda: tmp_path / "pace")
    portrait = prepare(sample_portraits()[0], long_side_px=256)
    target = portrait.landmarks.points + np.float32(5)
    with TensorRTRunner(DEFAULT, progress=go_on) as only_by_parts:
        assert only_by_parts.name == "tensorrt"
    with NeuralEngine(runner_name="tensorrt") as engine:
        embedding = engine.embed(portrait)
        parts = engine.paint(embedding, target)
    assert "warped on the processor, since no plan for this card is there yet" in caplog.text

    pace.remembered("any", lambda: 1.0)
    assert not preparation.is_wanted()  # a plan there is, and whoever wants more of them can ask for it
    next((tmp_path / "plans").iterdir()).unlink()
    assert preparation.is_wanted()
    tensorrt.builds = 0
    for most, plans in ((0.0, 1), (0.4, 3)):
        with pytest.raises(RunnerUnavailable, match="stopped"):
            preparation.prepare(progress=lambda done, most=most: done < most)
        assert tensorrt.builds == plans  # begun in all
    tensorrt.builds = 1  # that of the parts is kept
    assert main(["build", "--tensorrt"]) == 0
    assert not preparation.is_wanted()
    assert tensorrt.builds == 1 + len(SIDES_PX)
    assert pace.remembered("any", lambda: 2.0) == 2
    with NeuralEngine(runner_name="tensorrt") as engine:
        embedding = engine.embed(portrait)
        first = engine.paint(embedding, target)
        tensorrt.card.copies.clear()
        launches = tensorrt.card.launches
        second = engine.paint(embedding, target)
    assert tensorrt.builds == 1 + len(SIDES_PX)
    sizes = [int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in shapes(512).values()]
    assert tensorrt.card.copies == [*(("up", size) for size in sizes[:5]), ("down", 512 * 512 * 3)]
    assert tensorrt.card.launches == launches + 1
    np.testing.assert_array_equal(first, second)
    assert np.abs(first.astype(int) - parts).mean() < 0.5 < np.abs(first.astype(int) - portrait.image).mean()
    assert tensorrt.card.is_empty()


def test_old_driver_is_said(card: FakeCard, driver: None, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = FakeCard.cudaError_t.cudaErrorInsufficientDriver
    monkeypatch.setattr(card, "cudaGetDeviceProperties", lambda _: (error, None))
    with pytest.raises(RunnerUnavailable, match="driver version is insufficient"):
        TensorRTRunner(weights)


def test_without_a_driver_nothing_heavy_is_loaded(weights: Path) -> None:
    script = (
        "import ctypes, logging, sys\n"
        "def absent(name, *_): raise OSError(name)\n"
        "from engines.trt import TensorRTRunner\n"
        "from pathlib import Path\n"
        "ctypes.CDLL = absent\n"
        f"try: TensorRTRunner(Path({str(weights)!r}))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
        "print([name for name in sys.modules if name.startswith(('cuda', 'tensorrt', 'torch', 'openvino', 'onnx'))])\n"
    )
    folder = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["RunnerUnavailable no NVIDIA driver was found", "[]"]


def test_without_a_driver_the_next_runner_serves(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", absent)
    with runner.load(weights) as found:
        assert found.name == "openvino"
