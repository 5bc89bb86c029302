"""The generator in training on one person's pictures: whose psi is a constant, and most of what is learnt is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from engines import weights as stored
from engines.geometry import seen_by_network
from engines.training import losses
from engines.training.data import Batch, collate
from engines.training.loop import Config
from engines.training.models import WarpFed, placed
from engines.training.own import OwnPairs
from engines.training.sample import sample
from puppet import identity

PSI_RATE: Final = 10  # times the learning rate: psi is one vector instead of millions of weights
SHARE: Final = 0.75  # of what was learnt; see Tuner.mixed
ALONE_SHARE: Final = 0.5  # the same of a single picture, which tells less


@dataclass(frozen=True, slots=True)
class Figures:
    """Differences from the pictures kept back."""

    lpips: float
    openings: float
    unlikeness: float = 0.0  # identity.distance of the face in OwnPairs.posed from the picture's; 0 without such pairs


class OwnPsi(nn.Module):
    """In P's place: the same psi (…,) whatever the embedding; called as the part of P that it is kept as."""

    def __init__(self, psi: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(psi)

    def forward(self, e: Tensor) -> Tensor:
        return self.bias.expand(len(e), -1)


class Tuner:
    """Our generator with the psi of one person, in training on the pairs `drawn` of that person's."""

    def __init__(
        self, own: OwnPairs, drawn: Sequence[int], *, base: Path, config: Config, device: torch.device
    ) -> None:
        torch.manual_seed(config.seed)
        self._own, self._drawn, self._config, self._device = own, drawn, config, device
        self._random = np.random.default_rng(config.seed)
        self._share = SHARE if own.pictures > 1 else ALONE_SHARE
        self.step = 0
        self.model = placed(_personal(own, base), device)
        self._start = {name: value.clone() for name, value in self.model.state_dict().items()}
        self._content = losses.Content(config.weights, device=device)
        psi = self.model.generator.P.bias
        others = [parameter for parameter in self.model.parameters() if parameter is not psi]
        groups = [{"params": [psi], "lr": PSI_RATE * config.learning_rate}, {"params": others}]
        self._optimiser = torch.optim.Adam(groups, config.learning_rate)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimiser, config.rate)
        judged = [sample(own.pairs, index) for index in own.judged]
        starts = range(0, len(judged), config.batch)
        self._judged = [collate(judged[start : start + config.batch]).to(device) for start in starts]

    def learn(self) -> None:
        """One step."""
        config = self._config
        with config.precision(self._device):
            batch = self._batch()
            painted, _, flow = self.model(batch)
            found = self._content(painted, flow, batch)
        self._optimiser.zero_grad(set_to_none=True)
        torch.stack(list(found.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm)
        self._optimiser.step()
        self._schedule.step()
        self.step += 1

    @torch.inference_mode()
    def judge(self) -> Figures:
        """How far what is kept of it is from the pictures kept back."""
        distances, openings, mixed, alexnet = [], [], self.mixed(), self._content.alexnet
        only_openings = losses.Weights(pixels=0, openings=1, whole=0, crop=0)
        for batch in self._judged:
            with self._config.precision(self._device):
                painted = functional_call(self.model, mixed, batch)[0].float().clamp(0, 1)
            distances.append(alexnet.lpips(painted, batch.target))
            error = losses.reconstruction(
                painted, batch.target, batch.openings, alexnet=alexnet, vgg=None, weights=only_openings
            )
            openings.append(error["openings"].item())
        return Figures(torch.cat(distances).mean().item(), float(np.mean(openings)), self._unlikeness(mixed))

    def state(self) -> dict[str, Tensor]:
        """A copy of what changes, by the names in a file of weights."""
        return {name: value.half().cpu() for name, value in self.mixed().items()}

    @torch.no_grad()
    def mixed(self) -> dict[str, Tensor]:
        """A share of the way from where it started: as near to the person, and it follows the eyes as everybody's did.

        Wortsman et al., "Robust fine-tuning of zero-shot models" (2022), section 3.
        """
        return {name: self._start[name].lerp(value, self._share) for name, value in self.model.state_dict().items()}

    def _unlikeness(self, mixed: dict[str, Tensor]) -> float:
        pairs, face = self._own.pairs, self._own.face
        if face is None:
            return 0.0
        wanted = identity.describe(pairs.frames[0], face)
        found = []
        for index in self._own.posed:
            batch = collate([sample(pairs, index)]).to(self._device)
            with self._config.precision(self._device):
                painted = functional_call(self.model, mixed, batch)[0][0].float().clamp(0, 1)
            picture = (255 * painted).permute(1, 2, 0).round().byte().cpu().numpy()
            there = replace(face, points=pairs.points[pairs.pairs[index, 1]])
            found.append(identity.distance(identity.describe(picture, there), wanted))
        return float(np.mean(found))

    def _batch(self) -> Batch:
        random = self._random
        chosen = random.choice(self._drawn, self._config.batch)
        return collate([sample(self._own.pairs, int(index), random=random) for index in chosen]).to(self._device)


def _personal(own: OwnPairs, base: Path) -> WarpFed:
    """The model with the psi of the person, and without the parts that this replaces."""
    model = WarpFed()
    arrays = stored.load(base, model="ours")
    try:
        model.load_state_dict({name: torch.from_numpy(arrays[name]) for name in model.state_dict()})
    except (KeyError, RuntimeError) as error:
        raise stored.WeightsError(f"The weights {base} do not fit the network; train them anew.") from error
    true = slice(own.pictures)
    seen = np.stack(
        [seen_by_network(*each) for each in zip(own.pairs.frames[true], own.pairs.points[true], strict=True)]
    )
    parts = torch.from_numpy(seen).permute(0, 3, 1, 2).float().div_(255).split([3, 3, 1], dim=1)
    with torch.no_grad():
        psi = model.generator.P(model.encoder(*parts)[0]).mean(dim=0)
    model.encoder.blocks, model.encoder.whitened, model.rig = nn.Identity(), nn.Identity(), nn.Identity()
    model.generator.P = OwnPsi(psi)
    return model
