"""Training of the realism score's critic: the true frames against what our finished generator paints."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from engines import geometry, weights
from engines.critic import Critic
from engines.neural import DEFAULT
from engines.training.adversary import Adversary
from engines.training.data import Batch
from engines.training.loop import UNREADABLE, CheckpointError, Config, write_whole
from engines.training.models import WarpFed, placed

LEARNING_RATE: Final = 3e-4  # nothing has to keep up with it
NEWTON_STEPS: Final = 50


class CriticTrainer:
    """Called and used as `loop.Trainer`; what paints is frozen."""

    def __init__(self, config: Config, *, people: int, device: torch.device, painter: Path = DEFAULT) -> None:
        """`painter` is the file of our generator's weights."""
        torch.manual_seed(config.seed)
        self.config, self.device, self.step, self.best = config, device, 0, math.inf
        self.gain = 1.0
        model = WarpFed()
        model.load_state_dict(
            {name: torch.from_numpy(array) for name, array in weights.load(painter, model="ours").items()}
        )
        self.painter = placed(model, device).eval().requires_grad_(False)
        self.adversary = Adversary(Critic(people), device=device, rate=LEARNING_RATE)

    def learn(self, batch: Batch) -> dict[str, float]:
        """One step; the hinge loss."""
        for group in self.adversary.optimiser.param_groups:
            group["lr"] = LEARNING_RATE * self.config.rate(self.step)
        loss = self.adversary.learn(batch, self._paint(batch), self.config.precision(self.device))
        self.step += 1
        return {"discriminator": loss}

    @torch.inference_mode()
    def evaluate(self, batches: Sequence[Batch]) -> tuple[dict[str, float], list[Tensor]]:
        """(Log loss and accuracy of telling a target from what was painted of it, the pictures); calibrates anew."""
        critic = self.adversary.discriminator.eval()
        pictures = [self._paint(batch) for batch in batches]
        real, painted = (
            torch.cat([critic(each, batch.raster)[0] for each, batch in zip(seen, batches, strict=True)]).cpu().numpy()
            for seen in ([batch.target for batch in batches], pictures)
        )
        critic.train()
        self.gain = calibrated(real - painted)
        figures = {
            "log-loss": float(np.log1p(np.exp(-self.gain * (real - painted))).mean()),
            "accuracy": float((real > painted).mean()),
            "realism": float((1 / (1 + np.exp(self.gain * (real - painted)))).mean()),
        }
        return figures, pictures

    def save(self, path: Path) -> None:
        """As `loop.Trainer.save`."""
        state = {"config": asdict(self.config), "step": self.step, "best": self.best} | self.adversary.state()
        write_whole(path, lambda partial: torch.save(state, partial))

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint."""
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            self.adversary.restore(state)
            self.step, self.best = state["step"], state["best"]
        except UNREADABLE as error:
            raise CheckpointError(f"{path} is not a checkpoint of a critic; choose another folder.") from error

    def export(self, path: Path) -> None:
        """The critic as `engines.realism` reads it: fp16 safetensors that know nobody, with their calibration."""
        metadata = {
            "model": "critic",
            "network": str(weights.CRITIC_VERSION),
            "geometry": str(geometry.VERSION),
            "step": str(self.step),
            "gain": str(self.gain),
            "config": json.dumps(asdict(self.config)),
        }
        found = self.adversary.discriminator.state_dict().items()
        tensors = {name: value.half().contiguous().cpu() for name, value in found if not name.startswith("W.")}
        write_whole(path, lambda partial: save_file(tensors, partial, metadata=metadata))

    @torch.no_grad()
    def _paint(self, batch: Batch) -> Tensor:
        """(B, 3, 256, 256), in the steps of a byte, by which the critic would else know a painted picture."""
        with self.config.precision(self.device):
            painted, _, _ = self.painter(batch)
        return painted.float().clamp(0, 1).mul(255).round().div(255)


def calibrated(lead: NDArray[np.float32]) -> float:
    """The gain for which 1 / (1 + exp(gain * lead)) is the chance that a painted picture is taken for the true one.

    lead: by how much the score of each true picture is above that of the painted one beside it. Logistic regression by
    Newton's method, with Platt's target (Platt 1999, section 2.2), so that it is finite where all leads are positive.
    """
    spread = float(np.abs(lead).mean()) or 1.0
    scaled, target = lead.astype(np.float64) / spread, (len(lead) + 1) / (len(lead) + 2)
    gain = 0.0
    for _ in range(NEWTON_STEPS):
        chances = 1 / (1 + np.exp(-gain * scaled))
        slope = (scaled * (target - chances)).mean()
        gain += slope / ((scaled**2 * chances * (1 - chances)).mean() + 1e-9)
    return gain / spread
