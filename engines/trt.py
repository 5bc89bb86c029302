"""Runs our generator on an NVIDIA card, with a TensorRT plan that is made once for all portraits.

A portrait is embedded once, by the exact runner with whose outputs the card's are compared before they are trusted.
TensorRT and CUDA are loaded only where there is a driver.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from engines import first_of
from engines.canvas import Painter
from engines.geometry import COARSE_PX, SIDE_PX
from engines.plan import INSTALL, Progress
from engines.runner import RUNNERS, Example, Runner, RunnerUnavailable, for_repair, graph_of
from puppet.types import Closing, Floats, Image

if TYPE_CHECKING:
    from engines.session import Trial

logger = logging.getLogger(__name__)

EXACT: Final = {"openvino": "engines.trt:exact_openvino"} | {name: RUNNERS[name] for name in ("onnxruntime", "pytorch")}


class TensorRTRunner(Closing):
    """See `engines.runner.Runner`."""

    name = "tensorrt"

    def __init__(self, path: Path, *, progress: Progress | None = None) -> None:
        """With `progress` it builds a plan where none fits, which takes from a second to a minute.

        Without, that is an error, so that another runner serves at once, while a TensorRTRunner that is made in
        another thread builds the plan.
        """
        _find_driver()
        try:
            from engines import session
        except ImportError:
            raise RunnerUnavailable(INSTALL) from None
        graph = graph_of(path, "repaint-fp16")
        self._path, self._progress = path, progress
        with ExitStack() as held:

            def trial() -> Trial:
                self._exact: Runner = held.enter_context(first_of(EXACT, "auto", "runner", path))
                return _trial(self._exact)

            self._session = held.enter_context(session.begin(graph, path, trial, progress=progress))
            self._held = held.pop_all()

    def embed(self, seen: Image) -> dict[str, Floats]:
        return self._exact.embed(seen)

    def repair(self, seen: Image, head: Floats, *, psi: Floats, features: Floats) -> tuple[Floats, Floats]:
        """The next repair overwrites both."""
        found = self._session.run({"seen": seen[None], "head": head[None]}, {"psi": psi, "features": features})
        return found["flow"][0], found["residual"][0]

    def painter(self, side_px: int, example: Callable[[], Example]) -> Painter:
        """See `engines.runner.Runner`; the next picture overwrites the last."""
        from engines import session

        def trial() -> Trial:
            frame, portrait, picture = example()
            return session.Trial(frame, portrait, {"picture": picture})

        graph = graph_of(self._path, f"frame-{side_px}")
        whole = self._held.enter_context(session.begin(graph, self._path, trial, progress=self._progress))
        return lambda frame, portrait: whole.run(frame, portrait)["picture"]

    def close(self) -> None:
        self._held.close()


def lacks_plan(path: Path) -> bool:
    """Whether this computer has a card that could run these weights, and no plan for it is kept."""
    try:
        _find_driver()
        from engines import session

        return not session.is_kept(graph_of(path, "repaint-fp16"), path)
    except (ImportError, RunnerUnavailable) as error:
        logger.debug("no card: %s", error)
        return False


def exact_openvino(path: Path) -> Runner:
    """By itself it would rather be fast."""
    from engines.openvino import OpenVINORunner

    return OpenVINORunner(path, precision="f32")


def _find_driver() -> None:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        raise RunnerUnavailable("no NVIDIA driver was found") from None


def _trial(exact: Runner) -> Trial:
    from engines.session import Trial

    random = np.random.default_rng(0)
    seen = random.integers(0, 256, (SIDE_PX, SIDE_PX, 7), np.uint8)
    head = random.normal(size=(COARSE_PX, COARSE_PX, 4)).astype(np.float32)
    portrait = for_repair(exact.embed(seen))
    flow, residual = exact.repair(seen, head, **portrait)
    return Trial(
        frame={"seen": seen[None], "head": head[None]},
        portrait=portrait,
        outputs={"flow": flow[None], "residual": residual[None]},
    )
