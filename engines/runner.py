"""Ways to run our networks: one face, and the table that names them all.

`seen` is what `geometry.seen_by_network` makes of a picture and landmarks, `head` is `geometry.head_motion`; psi and
features are kept in a portrait's embedding, in the form in which `embed` gave them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from engines import EngineUnavailable, canvas, first_of, weights
from engines.canvas import Arrays, Painter
from puppet.types import Closing, Floats, Image

# name -> "module:class", best first
RUNNERS: Final[dict[str, str]] = {
    "tensorrt": "engines.trt:TensorRTRunner",
    "openvino": "engines.openvino:OpenVINORunner",
    "onnxruntime": "engines.onnxrt:ONNXRunner",
    "pytorch": "engines.pytorch:TorchRunner",
}


Example = tuple[Arrays, Arrays, Image]  # what a painter is given, and what it must paint


class Runner(Closing, Protocol):
    """Made with the path of the weights; raises `RunnerUnavailable` or `weights.WeightsError`. One thread at a time."""

    name: str

    def embed(self, seen: Image) -> dict[str, Floats]:
        """EMBEDDED, from `seen` (256, 256, 7) of a portrait; all float32.

        psi (1, …), features (1, 64, 64, 64), and the rig (1, 12, 16, 16) that `engines.response` explains.
        """
        ...

    def repair(self, seen: Image, head: Floats, *, psi: Floats, features: Floats) -> tuple[Floats, Floats]:
        """The repair of a frame: its flow (64, 64, 2) in px of the square, its residual (256, 256, 3) in 0..1."""
        ...

    def painter(self, side_px: int, example: Callable[[], Example]) -> Painter | None:
        """What paints whole frames on squares of a side of canvas.SIDES_PX, until the runner is closed.

        None where a processor would have to: that is done better by parts. Raises `RunnerUnavailable` if it fails the
        `example`, or cannot be had.
        """
        ...


EMBEDDED: Final = ("psi", "features", "rig")  # in which order the graph has them
QUALITY_DB: Final = 40.0  # which whatever is not exact must come up to
INPUTS: Final[dict[str, frozenset[str]]] = {  # of each graph
    "embed": frozenset({"seen"}),
    "repaint": frozenset({"seen", "head", "psi", "features"}),
    "judge": frozenset({"seen"}),
    **{f"frame-{side_px}": frozenset({*canvas.shapes(side_px), "psi", "features"}) for side_px in canvas.SIDES_PX},
}


class RunnerUnavailable(EngineUnavailable):
    """A runner cannot run here; the text says why."""


def load(path: Path, name: str = "auto") -> Runner:
    """The runner `name` with the weights `path`; "auto" is the first of RUNNERS that works here."""
    runner: Runner = first_of(RUNNERS, name, "runner", path)
    return runner


def for_repair(embedded: dict[str, Floats]) -> dict[str, Floats]:
    """What of EMBEDDED `Runner.repair` takes; the rig is the warp engine's."""
    return {name: array for name, array in embedded.items() if name in INPUTS["repaint"]}


def unreadable(path: Path, reason: object) -> RunnerUnavailable:
    """The error for a graph beside the weights `path` that a library will not take."""
    text = " ".join(str(reason).split())
    return RunnerUnavailable(f"the network's graph cannot be used ({text}); make it anew: puppet build {path}")


def check_inputs(path: Path, name: str, found: Iterable[str]) -> None:
    """Raise RunnerUnavailable unless the graph `name` beside the weights `path` takes what it should."""
    if INPUTS[name] != set(found):
        raise unreadable(path, f"{name}.onnx takes {', '.join(sorted(found)) or 'nothing'}")


def graph_of(path: Path, name: str) -> Path:
    """The ONNX file `name` beside the weights `path`, once both are known to be sound."""
    weights.check(path, model="critic" if name == "judge" else "ours")
    graph = path.with_name(f"{name}.onnx")
    if not graph.is_file():
        raise weights.WeightsError(f"{graph} is missing; make it with: puppet build {path}")
    weights.check_shipped(graph)
    return graph


def tried(painter: Painter, example: Callable[[], Example]) -> Painter:
    """The painter, once it has painted its example well enough; else raises RunnerUnavailable."""
    frame, portrait, picture = example()
    error = float(np.sqrt(np.mean(np.square(painter(frame, portrait) - picture.astype(np.float32)))))
    if error > 255 * 10 ** (-QUALITY_DB / 20):
        raise RunnerUnavailable(f"whole frames differ from what they should be, by {error:.1f} grey levels")
    return painter
