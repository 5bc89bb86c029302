"""What a training step sees: batches of prepared pairs, augmented, with landmarks drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from engines.training.augmentation import augmented
from engines.training.bend import Bend
from engines.training.clips import Clip
from engines.training.pairs import Pairs
from engines.training.sample import Sample, sample

_PLACES = ("head", "motion", "upright", "around", "change")  # of a batch: what is no picture
BENT = 0.7  # of the pairs
GENERATED_WEIGHT = 0.5  # of clips whose name starts with "ai": other generators made them


@dataclass(frozen=True, slots=True)
class Batch:
    """B pairs as tensors, (B, C, 256, 256) in 0..1."""

    portrait: Tensor
    portrait_raster: Tensor
    portrait_openings: Tensor  # C = 1
    warped: Tensor
    raster: Tensor
    openings: Tensor  # C = 1
    target: Tensor
    head: Tensor  # (B, 4, 64, 64): geometry.head_motion
    motion: Tensor  # (B, 3, 64, 64): Pairs.motion
    upright: Tensor  # (B, 2, 3): identity.upright of the target
    around: Tensor  # (B, 3, 64, 64): response.turned_from, and 1 where the person is, beside the face
    change: Tensor  # (B, 6): response.head_change
    person: Tensor  # (B,) int64: which training identity

    def to(self, device: torch.device) -> Self:
        """On `device`, pictures as floats."""
        moved = {field.name: getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)}
        places = {name: moved.pop(name).float() for name in _PLACES}
        person = moved.pop("person")
        pictures = {
            name: value.float().div_(255).contiguous(memory_format=torch.channels_last) for name, value in moved.items()
        }
        return type(self)(**pictures, **places, person=person)


class Mixture(IterableDataset[Sample]):
    """An endless stream of single pairs: clips by weight, then any of their pairs, augmented."""

    def __init__(self, clips: Sequence[Clip], folders: Sequence[Path], *, seed: int) -> None:
        super().__init__()
        self._folders, self._seed = list(folders), seed
        people = sorted({clip.identity for clip in clips})
        self.people = len(people)
        self._person = [people.index(clip.identity) for clip in clips]
        share = np.array([GENERATED_WEIGHT if clip.name.startswith("ai__") else 1.0 for clip in clips])
        # A person with n clips counts like sqrt(n) persons.
        share /= np.sqrt(np.bincount(self._person)[self._person])
        self._share = share / share.sum()

    def reseed(self, seed: int) -> None:
        """Another stream, so that a resumed training does not see the same pairs again."""
        self._seed = seed

    def __iter__(self) -> Iterator[Sample]:
        worker = torch.utils.data.get_worker_info()
        random = np.random.default_rng([self._seed, worker.id if worker else 0])
        loaded = [Pairs.load(folder) for folder in self._folders]
        while True:
            clip = int(random.choice(len(loaded), p=self._share))
            pairs = loaded[clip]
            index = int(random.integers(len(pairs.pairs)))
            bend = Bend(random) if random.random() < BENT else None
            pair = sample(pairs, index, person=self._person[clip], random=random, bend=bend)
            yield augmented(pair, random)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack pairs; pictures are still uint8."""
    layers = torch.from_numpy(np.stack([each.layers for each in samples])).permute(0, 3, 1, 2)
    motions = torch.from_numpy(np.stack([each.motions for each in samples])).permute(0, 3, 1, 2)
    head, motion, around = motions.split([4, 3, 3], dim=1)
    change = torch.from_numpy(np.stack([each.change for each in samples]))
    places = torch.from_numpy(np.stack([each.upright for each in samples]))
    person = torch.tensor([each.person for each in samples])
    pictures = layers.split([3, 3, 1, 3, 3, 1, 3], dim=1)
    return Batch(*pictures, head=head, motion=motion, upright=places, around=around, change=change, person=person)


def loader(mixture: Mixture, *, batch: int, workers: int) -> Iterator[Batch]:
    """Endless batches; with `workers` = 0 they are made in this thread."""
    return iter(
        DataLoader(mixture, batch, num_workers=workers, collate_fn=collate, pin_memory=torch.cuda.is_available())
    )
