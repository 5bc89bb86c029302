"""ONNX graph -> TensorRT plan: building it, and keeping it for next time.

Two libraries do it with one interface: TensorRT for RTX, which also builds on a machine without a card, for the cards
that people have at home; and the older TensorRT, for those of data centres.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from engines.runner import RunnerUnavailable

if TYPE_CHECKING:
    from engines.card import Card  # loads CUDA, which building needs not

logger = logging.getLogger(__name__)

Progress = Callable[[float], bool]  # told what part is done, 0..1; returns whether to go on; must not raise

INSTALL: Final = "TensorRT is not installed; add it with: pip install 'portrait-puppet[tensorrt]'"
LIBRARIES: Final = ("tensorrt_rtx", "tensorrt")
DATA_CENTRE: Final = {"8.0", "9.0", "10.0", "10.3"}  # compute capabilities that "tensorrt" knows better


class PlanRefused(RunnerUnavailable):
    """A plan does not fit this card, this library or this network; another one may."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A network made ready for a card."""

    engine: bytes
    kernels: bytes = b""  # what TensorRT for RTX compiled of it when it ran, which takes seconds


@dataclass(frozen=True, slots=True)
class Key:
    """All that a plan depends on. Its precision is the graph's own."""

    network: str  # sha256 of the graph and of the weights that it points into
    library: str
    card: str
    capability: str
    driver: str

    @classmethod
    def of(cls, graph: Path, weights: Path, tensorrt: ModuleType, card: Card) -> Self:
        """Of `graph`, whose weights are the file `weights`, on `card`."""
        network = hashlib.sha256(graph.read_bytes() + weights.read_bytes()).hexdigest()
        return cls(network, f"{tensorrt.__name__} {tensorrt.__version__}", card.name, card.capability, card.driver)


def library(capability: str | None = None) -> ModuleType:
    """The TensorRT that is installed; of two, the better one for a card of that compute capability."""
    for name in reversed(LIBRARIES) if capability in DATA_CENTRE else LIBRARIES:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:  # missing, or a shared library that it needs is
            logger.debug("%s: %s", name, error)
    raise RunnerUnavailable(INSTALL)


def build_plan(
    graph: Path, *, tensorrt: ModuleType, capabilities: Sequence[str] = (), progress: Progress | None = None
) -> bytes:
    """The engine for the ONNX file `graph`, which takes from a second to a minute; other threads go on meanwhile.

    capabilities: the compute capabilities that it is for, like "8.9". TensorRT for RTX needs no card then; without
    them, and with the older TensorRT, it is for the card that is there. Raises `RunnerUnavailable` with the reason,
    also when `progress` stopped it.
    """
    log = told(tensorrt)
    builder = tensorrt.Builder(log)
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, log)  # owns the weights until the engine is built
    if not parser.parse_from_file(str(graph)):
        raise RunnerUnavailable(f"TensorRT cannot read {graph} ({log.reason()})")
    config = builder.create_builder_config()
    if capabilities and hasattr(config, "set_compute_capability"):
        config.num_compute_capabilities = len(capabilities)
        for i, capability in enumerate(capabilities):
            config.set_compute_capability(_known(capability, tensorrt), i)
    watch = _watch(tensorrt, progress or (lambda _: True))
    config.progress_monitor = watch
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        reason = "it was stopped" if watch.stopped else log.reason()
        raise RunnerUnavailable(f"TensorRT built no plan of {graph} ({reason})")
    return bytes(engine)


def kept(key: Key, folder: Path) -> Plan | None:
    """The plan that `keep` left in `folder` under that key, if it is there, whole, and made for the same of all."""
    file = _file(key, folder)
    try:
        with safe_open(file, "numpy") as stored:
            about = stored.metadata() or {}
            plan = Plan(**{name: stored.get_tensor(name).tobytes() for name in ("engine", "kernels")})
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError) as error:
        logger.warning("The TensorRT plan %s cannot be used (%s)", file, error)
        return None
    changed = [f"{name} {about.get(name)}, not {now}" for name, now in asdict(key).items() if about.get(name) != now]
    if changed:
        logger.info("The TensorRT plan %s was made for %s", file, "; ".join(changed))
        return None
    if about.get("sha256") != _checksum(plan):
        logger.warning("The TensorRT plan %s cannot be used (it is damaged)", file)
        return None
    return plan


def keep(plan: Plan, key: Key, folder: Path) -> None:
    """Leave `plan` in `folder` for next time. Raises OSError, and then leaves nothing."""
    parts = {name: np.frombuffer(part, np.uint8) for name, part in asdict(plan).items()}
    packed = save(parts, asdict(key) | {"sha256": _checksum(plan)})
    folder.mkdir(parents=True, exist_ok=True)
    file = _file(key, folder)
    partial = file.with_suffix(f".{os.getpid()}")
    try:
        partial.write_bytes(packed)
        os.replace(partial, file)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def told(tensorrt: ModuleType) -> Any:
    """A log for TensorRT's objects, which has the `reason` when one of them fails."""

    class Log(tensorrt.ILogger):
        def __init__(self) -> None:
            super().__init__()
            self._errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in (self.Severity.INTERNAL_ERROR, self.Severity.ERROR):
                logger.debug("TensorRT: %s", msg)
                self._errors.append(msg)

        def reason(self) -> str:
            """The first error since the last reason, in one line: those after it follow from it."""
            first, self._errors = next(iter(self._errors), ""), []
            return first.strip().partition("\n")[0] or "it does not say why"

    return Log()


def _watch(tensorrt: ModuleType, progress: Progress) -> Any:
    class Watch(tensorrt.IProgressMonitor):
        """Makes one number of phases within phases, of which some overlap."""

        def __init__(self) -> None:
            super().__init__()
            self.stopped = False
            self._part = 0.0
            self._phases: dict[str, tuple[float, float]] = {}  # name -> what is done of all, and what a step adds

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            done, whole = self._phases.get(parent_phase, (0.0, 1.0))
            self._phases[phase_name] = done, whole / max(num_steps, 1)

        def step_complete(self, phase_name: str, step: int) -> bool:
            done, step_share = self._phases.get(phase_name, (self._part, 0.0))
            self._phases[phase_name] = done + step_share, step_share
            self._part = max(self._part, min(done + step_share, 1.0))
            self.stopped = self.stopped or not progress(self._part)
            return not self.stopped

        def phase_finish(self, phase_name: str) -> None:
            self._phases.pop(phase_name, None)

    return Watch()


def _known(capability: str, tensorrt: ModuleType) -> Any:
    try:
        return tensorrt.ComputeCapability.__members__[f"SM{capability.replace('.', '')}"]
    except KeyError:
        advice = "pip install 'portrait-puppet[tensorrt-data-centre]'"
        raise RunnerUnavailable(f"TensorRT for RTX knows no compute capability {capability}: {advice}") from None


def _file(key: Key, folder: Path) -> Path:
    return folder / f"{key.network[:16]}.plan"


def _checksum(plan: Plan) -> str:
    return hashlib.sha256(plan.engine + plan.kernels).hexdigest()
