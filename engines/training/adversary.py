"""A discriminator in training: what the generator must do to please it, and how it learns to tell (section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from engines.critic import Critic
from engines.network import Discriminator
from engines.training import losses
from engines.training.data import Batch
from engines.training.losses import Weights

CLIP_NORM: Final = 5.0


def _normalised_critic(people: int) -> Critic:
    """The critic, held back by spectral normalisation: a generator in training must be able to follow."""
    critic = Critic(people)
    for layer in critic.modules():
        if isinstance(layer, nn.Conv2d):
            spectral_norm(layer)
    return critic


DISCRIMINATORS: Final[dict[str, Callable[[int], nn.Module]]] = {"paper": Discriminator, "critic": _normalised_critic}


class Adversary:
    """A discriminator, its optimiser, and both sides' losses."""

    def __init__(self, discriminator: nn.Module, *, device: torch.device, rate: float) -> None:
        self.discriminator = discriminator.to(device).to(memory_format=torch.channels_last)
        self.optimiser = torch.optim.Adam(self.discriminator.parameters(), rate, betas=(0.5, 0.999))

    def judged(self, batch: Batch, painted: Tensor, e: Tensor, weights: Weights) -> dict[str, Tensor]:
        """The generator's weighted losses by name, for what it painted of `batch` with the embedding `e`."""
        self.discriminator.requires_grad_(False)
        score, features = self.discriminator(painted, batch.raster, batch.person)
        with torch.no_grad():
            _, real = self.discriminator(batch.target, batch.raster, batch.person)
        self.discriminator.requires_grad_(True)
        found = {
            "adversarial": -weights.adversarial * score.mean(),
            "matching": weights.matching * losses.feature_matching(real, features),
        }
        if weights.match:
            found["match"] = weights.match * losses.embedding_match(e, self.discriminator.W(batch.person))
        return found

    def learn(self, batch: Batch, painted: Tensor, precision: AbstractContextManager[Any]) -> float:
        """One step of telling the targets of `batch` from `painted`; the hinge loss."""
        with precision:
            real, _ = self.discriminator(batch.target, batch.raster, batch.person)
            false, _ = self.discriminator(painted, batch.raster, batch.person)
            loss = losses.discriminator_hinge(real.float(), false.float())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.discriminator.parameters(), CLIP_NORM)
        self.optimiser.step()
        return loss.item()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "discriminator_optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimiser.load_state_dict(state["discriminator_optimiser"])
