"""A TensorRT plan at work on the card: found or built, tried, and run frame by frame."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from engines.canvas import Arrays
from engines.card import Card, Stream
from engines.plan import Key, Plan, PlanRefused, Progress, build_plan, keep, kept, library, told
from engines.runner import QUALITY_DB, RunnerUnavailable
from puppet.settings import cache_dir
from puppet.types import Closing

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trial:
    """Named arrays as the network takes them, and what it must make of them."""

    frame: Arrays  # inputs that differ from frame to frame
    portrait: Arrays  # inputs that do not
    outputs: Arrays

    def check(self, found: Arrays) -> None:
        """Raise `PlanRefused` unless what was `found` is what it must be."""
        for name, expected in self.outputs.items():
            if not np.isfinite(found[name]).all():
                raise PlanRefused(f"TensorRT's {name} has values that are no numbers")
            peak = max(1.0, float(np.abs(expected).max()))  # of a picture in 0..1; of a flow in px, the longest
            error = float(np.sqrt(np.mean(np.square(found[name].astype(np.float64) - expected))))
            if error > peak * 10 ** (-QUALITY_DB / 20):
                quality_db = 20 * np.log10(peak / error)
                raise PlanRefused(f"TensorRT's {name} is inexact: {quality_db:.1f} dB, and {QUALITY_DB:.0f} are needed")


def begin(graph: Path, weights: Path, trial: Callable[[], Trial], *, progress: Progress | None) -> Session:
    """A session of the ONNX file `graph`, which points into `weights`, with the plan that is kept of it.

    Without one, or if it does not pass `trial`, another is built and kept, of which `progress` hears; if that is None,
    nothing is built. Raises `RunnerUnavailable` with the reason why there is no session.
    """
    card, tensorrt, key, folder = _here(graph, weights)
    plan = kept(key, folder)
    if plan is None and progress is None:
        raise RunnerUnavailable(f"no plan for this card is there yet; build it with: puppet build --tensorrt {weights}")
    tried = trial()
    if plan is not None:
        try:
            return Session(plan, tensorrt, tried)
        except PlanRefused as error:
            if progress is None:
                raise
            logger.warning("%s; another plan is built", error)
    engine = build_plan(graph, tensorrt=tensorrt, capabilities=[card.capability], progress=progress)
    session = Session(Plan(engine), tensorrt, tried)
    try:
        keep(session.plan(), key, folder)
    except OSError as error:
        logger.warning("The plan is not kept for next time: %s cannot be written (%s)", folder, error.strerror)
    return session


def is_kept(graph: Path, weights: Path) -> bool:
    """Whether there is a plan for `begin`. Raises `RunnerUnavailable` where there can be none."""
    _, _, key, folder = _here(graph, weights)
    return kept(key, folder) is not None


def _here(graph: Path, weights: Path) -> tuple[Card, ModuleType, Key, Path]:
    """The card, the library for it, under what a plan is kept, and where."""
    card = Card.first()
    tensorrt = library(card.capability)
    return card, tensorrt, Key.of(graph, weights, tensorrt, card), cache_dir() / "plans"


class Session(Closing):
    """A plan at work: its arrays stay on the card, and a frame is one launch of a CUDA graph."""

    def __init__(self, plan: Plan, tensorrt: ModuleType, trial: Trial) -> None:
        """Raises `PlanRefused` unless it passes `trial`, and `RunnerUnavailable` if the card has no room for it."""
        self._tensorrt, self._plan, self._log = tensorrt, plan, told(tensorrt)
        self._runtime = tensorrt.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(plan.engine)
        if self._engine is None:
            raise PlanRefused(f"TensorRT cannot use its plan ({self._log.reason()})")
        arrays = {**trial.frame, **trial.portrait, **trial.outputs}
        self._check_arrays(arrays)
        self._frame, self._outputs = tuple(trial.frame), tuple(trial.outputs)
        self._portrait: Arrays = {}
        with ExitStack() as held:
            self._stream = held.enter_context(Stream())
            self._start()
            self._arrays = {name: self._stream.hold(array.shape, array.dtype) for name, array in arrays.items()}
            for name, array in self._arrays.items():
                self._context.set_tensor_address(name, array.address)
            self._launch = self._queue
            self.run(trial.frame, trial.portrait)  # the first time prepares what cannot be recorded
            try:
                self._launch = self._stream.record(self._queue)
            except RunnerUnavailable as error:
                logger.info("TensorRT's work is queued piece by piece, for it cannot be recorded: %s", error)
            trial.check(self.run(trial.frame, trial.portrait))
            held.pop_all()

    def plan(self) -> Plan:
        """With the kernels that were compiled meanwhile."""
        kernels = None if self._kernels is None else self._kernels.serialize()
        return self._plan if kernels is None else Plan(self._plan.engine, bytes(kernels))

    def run(self, frame: Arrays, portrait: Arrays) -> Arrays:
        """The outputs, which the next run overwrites. The `portrait` is uploaded when its arrays are other ones."""
        if any(self._portrait.get(name) is not array for name, array in portrait.items()):
            self._portrait = {}
            self._fill(portrait)
            for name in portrait:
                self._stream.upload(self._arrays[name])
            self._portrait = dict(portrait)
        self._fill(frame)
        self._launch()
        self._stream.wait()
        return {name: self._arrays[name].host for name in self._outputs}

    def close(self) -> None:
        self._context = self._kernels = self._engine = None
        self._stream.close()

    def _check_arrays(self, arrays: Arrays) -> None:
        engine = self._engine
        found = {
            name: (tuple(engine.get_tensor_shape(name)), np.dtype(self._tensorrt.nptype(engine.get_tensor_dtype(name))))
            for name in map(engine.get_tensor_name, range(engine.num_io_tensors))
        }
        needed = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        if found != needed:
            raise PlanRefused(f"the network has {_listed(found)}, not {_listed(needed)}; make it with: puppet build")

    def _start(self) -> None:
        self._kernels = config = None
        if hasattr(self._tensorrt, "IRuntimeCache"):  # TensorRT for RTX, which compiles kernels when it starts
            config = self._engine.create_runtime_config()
            self._kernels = config.create_runtime_cache()
            if self._plan.kernels and not self._kernels.deserialize(self._plan.kernels):
                logger.info("TensorRT compiles its kernels anew, for the kept ones are of another driver or card")
            config.set_runtime_cache(self._kernels)
        self._context = self._engine.create_execution_context(*filter(None, [config]))
        if self._context is None:
            raise RunnerUnavailable(f"TensorRT cannot start ({self._log.reason()})")

    def _fill(self, arrays: Arrays) -> None:
        for name, array in arrays.items():
            np.copyto(self._arrays[name].host, array)

    def _queue(self) -> None:
        for name in self._frame:
            self._stream.upload(self._arrays[name])
        if not self._context.execute_async_v3(self._stream.handle):
            raise RunnerUnavailable(f"TensorRT cannot run its plan ({self._log.reason()})")
        for name in self._outputs:
            self._stream.download(self._arrays[name])


def _listed(arrays: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> str:
    return ", ".join(f"{name} {shape} {dtype}" for name, (shape, dtype) in sorted(arrays.items()))
