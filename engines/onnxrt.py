"""Runs our networks with ONNX Runtime: on the graphics card where the installed package knows it, else on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from engines.canvas import Arrays, Painter
from engines.runner import EMBEDDED, Example, check_inputs, graph_of, tried, unreadable
from puppet.types import Closing, Floats, Image

PROVIDERS: Final = ("CUDAExecutionProvider", "DmlExecutionProvider", "CoreMLExecutionProvider", "CPUExecutionProvider")


class ONNXRunner(Closing):
    """See `engines.runner.Runner`."""

    name = "onnxruntime"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._embed, self._repaint = (_session(path, name) for name in ("embed", "repaint"))

    def embed(self, seen: Image) -> dict[str, Floats]:
        return dict(zip(EMBEDDED, self._embed.run(EMBEDDED, {"seen": seen[None]}), strict=True))

    def repair(self, seen: Image, head: Floats, *, psi: Floats, features: Floats) -> tuple[Floats, Floats]:
        inputs = {"seen": seen[None], "head": head[None], "psi": psi, "features": features}
        flow, residual = self._repaint.run(["flow", "residual"], inputs)
        return flow[0], residual[0]

    def painter(self, side_px: int, example: Callable[[], Example]) -> Painter | None:
        """See `engines.runner.Runner`."""
        if self._repaint.get_providers()[0] == "CPUExecutionProvider":
            return None
        session = _session(self._path, f"frame-{side_px}")

        def paint(frame: Arrays, portrait: Arrays) -> Image:
            (picture,) = session.run(["picture"], {**frame, **portrait})
            return np.asarray(picture, np.uint8)

        return tried(paint, example)

    def close(self) -> None:
        """Nothing is held but memory."""


class ONNXCritic(Closing):
    """See `engines.realism.RunningCritic`."""

    name = "onnxruntime"

    def __init__(self, path: Path) -> None:
        self._judge = _session(path, "judge")

    def judge(self, seen: Image) -> float:
        return float(self._judge.run(["score"], {"seen": seen[None]})[0][0])

    def close(self) -> None:
        """Nothing is held but memory."""


def _session(path: Path, name: str) -> onnxruntime.InferenceSession:
    present = onnxruntime.get_available_providers()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised
    try:
        session = onnxruntime.InferenceSession(
            graph_of(path, name), options, providers=[provider for provider in PROVIDERS if provider in present]
        )
    except (errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.InvalidProtobuf) as error:
        raise unreadable(path, error) from None
    check_inputs(path, name, [each.name for each in session.get_inputs()])
    return session
