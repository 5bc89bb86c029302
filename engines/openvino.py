"""Runs our networks with OpenVINO, the fastest on a CPU: in bfloat16 by itself where the CPU multiplies such matrices.

Its Python package would import a module that reports usage to its vendor; it does without, and so do we.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any, Literal

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # not importable from now on

import openvino  # noqa: E402

from engines.runner import check_inputs, graph_of, unreadable  # noqa: E402
from puppet.types import Closing, Floats, Image  # noqa: E402

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
        return {name: found[name].copy() for name in ("psi", "features")}

    def repair(self, seen: Image, head: Floats, *, psi: Floats, features: Floats) -> tuple[Floats, Floats]:
        inputs = {"seen": seen[None], "head": head[None], "psi": psi, "features": features}
        found: Any = self._repaint.infer(inputs, share_inputs=True)
        return found["flow"][0], found["residual"][0]

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


@cache
def _core() -> openvino.Core:
    """One for as long as the program runs: with the last one go its libraries, in which signals would still end."""
    return openvino.Core()


def _request(path: Path, name: str, *, precision: Precision | None) -> Any:
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": str(os.cpu_count() or 1)}
    if precision:
        options["INFERENCE_PRECISION_HINT"] = precision
    try:
        compiled = _core().compile_model(str(graph_of(path, name)), "CPU", options)
    except RuntimeError as error:
        raise unreadable(path, str(error).strip().splitlines()[-1]) from None
    check_inputs(path, name, [each.any_name for each in compiled.inputs])
    return compiled.create_infer_request()
