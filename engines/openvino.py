"""Runs our networks with OpenVINO, the fastest on a CPU: by itself in bfloat16 where that is multiplied."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from engines.runner import EMBEDDED, Example, check_inputs, graph_of, unreadable
from puppet.openvino_core import core
from puppet.types import Closing, Floats, Image

Precision = Literal["f32", "bf16"]


class OpenVINORunner(Closing):
    """See `engines.runner.Runner`."""

    name = "openvino"

    def __init__(self, path: Path, *, precision: Precision | None = None) -> None:
        """precision: None lets OpenVINO choose what is fastest on this CPU."""
        self._embed = _request(path, "embed", precision="f32")
        self._repaint = _request(path, "repaint", precision=precision)

    def embed(self, seen: Image) -> dict[str, Floats]:
        found: Any = self._embed.infer({"seen": seen[None]})
        return {name: found[name].copy() for name in EMBEDDED}

    def repair(self, seen: Image, head: Floats, *, psi: Floats, features: Floats) -> tuple[Floats, Floats]:
        inputs = {"seen": seen[None], "head": head[None], "psi": psi, "features": features}
        found: Any = self._repaint.infer(inputs, share_inputs=True)
        return found["flow"][0], found["residual"][0]

    def painter(self, side_px: int, example: Callable[[], Example]) -> None:
        """It runs on the processor."""

    def close(self) -> None:
        """Nothing is held but memory."""


class OpenVINOCritic(Closing):
    """See `engines.realism.RunningCritic`."""

    name = "openvino"

    def __init__(self, path: Path) -> None:
        self._judge = _request(path, "judge", precision="f32")

    def judge(self, seen: Image) -> float:
        return float(self._judge.infer({"seen": seen[None]})["score"][0])

    def close(self) -> None:
        """Nothing is held but memory."""


def _request(path: Path, name: str, *, precision: Precision | None) -> Any:
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": str(os.cpu_count() or 1)}
    if precision:
        options["INFERENCE_PRECISION_HINT"] = precision
    try:
        compiled = core().compile_model(str(graph_of(path, name)), "CPU", options)
    except RuntimeError as error:
        raise unreadable(path, str(error).strip().splitlines()[-1]) from None
    check_inputs(path, name, [each.any_name for each in compiled.inputs])
    return compiled.create_infer_request()
