"""The training loop: one for every model, on CPU or GPU, that can be stopped and resumed at any time."""

from __future__ import annotations

import json
import logging
import math
import os
import pickle
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from engines import geometry
from engines.rig import Rig
from engines.training import losses, pairs
from engines.training.adversary import DISCRIMINATORS, Adversary
from engines.training.clips import Clip, DataError
from engines.training.data import Batch, Mixture, collate, loader
from engines.training.losses import Weights
from engines.training.models import MODELS, WarpFed, placed
from engines.training.rigged import digest
from engines.training.sample import sample
from engines.training.sheet import contact_sheet
from engines.warp import WarpEngine
from engines.weights import NETWORK_VERSION
from puppet.portrait import PREPARATION
from puppet.types import PuppetError

logger = logging.getLogger(__name__)

RIG_RATE = 1e-3  # learning rate of a rig, which is small and normalised
VALIDATION_PAIRS = 4  # per clip
UNREADABLE = (OSError, EOFError, RuntimeError, KeyError, ValueError, pickle.UnpicklingError)  # what a checkpoint may be


class CheckpointError(PuppetError, ValueError):
    """A checkpoint cannot be read, is of another model or could not be written."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that a run depends on but its data; travels with the checkpoint."""

    model: str = "ours"
    steps: int = 20_000
    batch: int = 8
    learning_rate: float = 2e-4
    discriminator: str = "paper"  # of adversary.DISCRIMINATORS
    discriminator_rate: float = 2e-4  # the paper's
    warm_up: int = 100  # steps; without it the loss explodes
    final_rate: float = 0.05  # of the learning rate, reached along a cosine
    clip_norm: float = 1.0
    ema: float = 0.999
    weights: Weights = field(default_factory=Weights)
    bf16: bool = True
    workers: int = 0
    seed: int = 0
    checkpoint_s: float = 120
    evaluate_s: float = 600

    def rate(self, step: int) -> float:
        """What the learning rates are multiplied with at a step."""
        done = min(step / self.steps, 1)
        cosine = self.final_rate + (1 - self.final_rate) * (1 + math.cos(math.pi * done)) / 2
        return min(1, (step + 1) / self.warm_up) * cosine

    def precision(self, device: torch.device) -> AbstractContextManager[Any]:
        """In which the networks run forwards."""
        return torch.autocast(device.type, torch.bfloat16) if self.bf16 else nullcontext()


class Learner(Protocol):
    """What `train` trains."""

    step: int
    best: float  # of the first of the figures that `evaluate` gives; the lower, the better

    def learn(self, batch: Batch) -> dict[str, float]: ...

    def evaluate(self, batches: Sequence[Batch]) -> tuple[dict[str, float], list[Tensor]]: ...

    def save(self, path: Path) -> None: ...

    def resume(self, path: Path) -> None: ...

    def export(self, path: Path) -> None: ...


class Trainer:
    """A model in training, and all that a checkpoint holds."""

    def __init__(self, config: Config, *, people: int, device: torch.device, rig: Rig | None = None) -> None:
        """`rig` made the warped pictures: a model of ours holds it, so that both are one file."""
        torch.manual_seed(config.seed)
        self.config, self.device, self.step, self.best = config, device, 0, math.inf
        self.model = placed(MODELS[config.model](), device)
        if rig is not None and isinstance(self.model, WarpFed):
            self.model.rig.load_state_dict(rig.state_dict())
        self.average = placed(MODELS[config.model](), device).eval().requires_grad_(False)
        self.average.load_state_dict(self.model.state_dict())
        self.optimiser = torch.optim.Adam(self.model.parameters(), config.learning_rate, betas=(0.5, 0.999))
        self.content = losses.Content(config.weights, device=device)
        self.adversary: Adversary | None = None
        if config.weights.adversarial:
            discriminator = DISCRIMINATORS[config.discriminator](people)
            self.adversary = Adversary(discriminator, device=device, rate=config.discriminator_rate)

    def learn(self, batch: Batch) -> dict[str, float]:
        """One step; the losses by name."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * self.config.rate(self.step)
        with self.config.precision(self.device):
            painted, e, flow = self.model(batch)
            found = self.content(painted, flow, batch)
            if self.adversary is not None:
                found |= self.adversary.judged(batch, painted, e, self.config.weights)
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(found.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimiser.step()
        self.step += 1
        self._follow()
        report = {name: loss.item() for name, loss in found.items()}
        if self.adversary is not None:
            for _ in range(2):  # per step of the generator, as in the paper
                precision = self.config.precision(self.device)
                report["discriminator"] = self.adversary.learn(batch, painted.detach(), precision)
        return report

    @torch.inference_mode()
    def evaluate(self, batches: Sequence[Batch]) -> tuple[dict[str, float], list[Tensor]]:
        """(LPIPS-AlexNet of the averaged model and of the warp engine, the painted pictures)."""
        pictures, ours, before, alexnet = [], [], [], self.content.alexnet
        for batch in batches:
            with self.config.precision(self.device):
                painted = self.average(batch)[0].float().clamp(0, 1)
            ours.append(alexnet.lpips(painted, batch.target))
            before.append(alexnet.lpips(batch.warped, batch.target))
            pictures.append(painted)
        return {"lpips": torch.cat(ours).mean().item(), "lpips-warp": torch.cat(before).mean().item()}, pictures

    def save(self, path: Path) -> None:
        """Write a checkpoint; what was there before stays whole until the new one is."""
        state = {
            "config": asdict(self.config),
            "step": self.step,
            "best": self.best,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        if self.adversary is not None:
            state |= self.adversary.state()
        write_whole(path, lambda partial: torch.save(state, partial))

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; its discriminator is optional, so that the adversarial stage can start from one."""
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            if state["config"]["weights"] == asdict(self.config.weights):
                self.optimiser.load_state_dict(state["optimiser"])
                self.step, self.best = state["step"], state["best"]
            if self.adversary is not None and "discriminator" in state:
                self.adversary.restore(state)
        except UNREADABLE as error:
            raise CheckpointError(
                f"{path} is not a checkpoint of the model {self.config.model!r}; choose another folder or remove it."
            ) from error

    def export(self, path: Path) -> None:
        """The averaged weights as fp16 safetensors, with what they depend on as metadata."""
        tensors = {name: value.half().contiguous().cpu() for name, value in self.average.state_dict().items()}
        metadata = {
            "model": self.config.model,
            "network": str(NETWORK_VERSION),
            "geometry": str(geometry.VERSION),
            "step": str(self.step),
            "config": json.dumps(asdict(self.config)),
        }
        write_whole(path, lambda partial: save_file(tensors, partial, metadata=metadata))

    @torch.no_grad()
    def _follow(self) -> None:
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for average, value in zip(self.average.parameters(), self.model.parameters(), strict=True):
            average.lerp_(value, 1 - keep)
        for average, value in zip(self.average.buffers(), self.model.buffers(), strict=True):
            average.copy_(value)  # a mean of spectral normalisation's unit vectors is no unit vector


def train(
    training: Sequence[Clip],
    validation: Sequence[Clip],
    out: Path,
    *,
    config: Config,
    cache: Path,
    rig: Rig | None = None,
    start: Path | None = None,
    trained: Callable[..., Learner] = Trainer,
) -> None:
    """Train until `config.steps`, leaving checkpoint.pt, weights.safetensors (the best), sheets and logs in `out`.

    `cache` takes tracks and pairs, which are made with the `rig` if one is given. `start` is a checkpoint to begin from
    when `out` has none; an `out` that holds one goes on from there. `trained` makes what is trained, and is called like
    `Trainer`.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clips, folders = _prepared(training, cache, rig)
    _, judged = _prepared(validation, cache, rig)
    mixture = Mixture(clips, folders, seed=config.seed)
    trainer = trained(config, people=mixture.people, device=device)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists() or start is not None:
        trainer.resume(checkpoint if checkpoint.exists() else start or checkpoint)
    mixture.reseed(config.seed + trainer.step)
    batches = loader(mixture, batch=config.batch, workers=config.workers)
    references = [batch.to(device) for batch in _validation(judged)]
    began, first, saved, evaluated = time.monotonic(), trainer.step, time.monotonic(), -math.inf
    with SummaryWriter(out / "log") as log:
        while True:
            now, done = time.monotonic(), trainer.step >= config.steps
            if done or now - evaluated > config.evaluate_s:
                figures, pictures = trainer.evaluate(references)
                text = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
                logger.info("step %d: %s", trainer.step, text)
                for name, value in figures.items():
                    log.add_scalar(f"validation/{name}", value, trainer.step)
                contact_sheet(references, pictures, out / f"sheet-{trainer.step:06}.jpg")
                if (first_figure := next(iter(figures.values()))) < trainer.best:
                    trainer.best = first_figure
                    trainer.export(out / "weights.safetensors")
                evaluated = time.monotonic()
            if done or now - saved > config.checkpoint_s:
                trainer.save(checkpoint)
                saved = time.monotonic()
            if done:
                return
            report = trainer.learn(next(batches).to(device))
            if trainer.step % 25 == 0:
                pace = (time.monotonic() - began) / (trainer.step - first)
                text = " ".join(f"{name} {value:.3f}" for name, value in report.items())
                left_min = pace * (config.steps - trainer.step) / 60
                logger.info("step %d: %s; %.2f s a step, %.0f min left", trainer.step, text, pace, left_min)
                for name, value in report.items():
                    log.add_scalar(f"loss/{name}", value, trainer.step)


def _prepared(clips: Sequence[Clip], cache: Path, rig: Rig | None = None) -> tuple[list[Clip], list[Path]]:
    chosen = f"{pairs.PORTRAITS_PER_CLIP}x{pairs.TARGETS_PER_PORTRAIT}"
    versions = (geometry.VERSION, WarpEngine.version, PREPARATION, chosen, digest(rig)[:16] if rig else "plain")
    made = cache / "-".join(map(str, ("pairs", *versions)))  # they depend on all of these
    found = [(clip, pairs.prepare(clip, tracks=cache / "tracks", cache=made, rig=rig)) for clip in clips]
    usable = [(clip, folder) for clip, folder in found if folder is not None]
    if not usable:
        raise DataError("None of the clips shows a face that can be followed; give clips of one face each.")
    return [clip for clip, _ in usable], [folder for _, folder in usable]


def _validation(folders: Sequence[Path]) -> list[Batch]:
    """For each clip, pairs of its first portrait, spread evenly."""
    batches = []
    for folder in folders:
        held = pairs.Pairs.load(folder)
        first = [index for index, (portrait, _) in enumerate(held.pairs) if portrait == held.pairs[0, 0]]
        chosen = first[:: max(1, len(first) // VALIDATION_PAIRS)][:VALIDATION_PAIRS]
        batches.append(collate([sample(held, index) for index in chosen]))
    return batches


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole, or leave what was there and raise CheckpointError."""
    partial = path.with_suffix(f".{os.getpid()}")
    try:
        write(partial)
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"{path} could not be written ({error}); free some space and start again.") from error
