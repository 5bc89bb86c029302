"""What a training step sees: batches of prepared pairs, augmented, with landmarks drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from engines.geometry import COARSE_PX, SIDE_PX, head_motion, seen_by_network
from engines.response import head_change, turned_from
from engines.training.clips import Clip
from engines.training.pairs import Pairs
from puppet import facemesh
from puppet.headpose import fit_similarity
from puppet.identity import CHIP_PX, upright
from puppet.types import Floats, Image

LANDMARK_NOISE_PX = 0.35  # the tracker's own jitter, at 256²
LEAST_PART = 54  # of 64: the closest look that is taken
_PLACES = ("head", "motion", "upright", "around", "change")  # of a batch: what is no picture
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


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One pair."""

    layers: NDArray[np.uint8]  # (256, 256, 17): its pictures and drawings in the order of Batch
    motions: Floats  # (64, 64, 10): head_motion, Pairs.motion, then Batch.around
    upright: Floats  # (2, 3): identity.upright of the target
    change: Floats  # (6,): response.head_change
    person: int = 0


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
            yield augmented(sample(pairs, index, person=self._person[clip], random=random), random)


def sample(pairs: Pairs, index: int, *, person: int = 0, random: np.random.Generator | None = None) -> Sample:
    """The pair `index` as it is; `random` adds landmark noise."""
    portrait, target = pairs.pairs[index]
    points: list[Floats] = [pairs.points[frame] for frame in (portrait, target)]
    if random is not None:
        points = [each + random.normal(0, LANDMARK_NOISE_PX, each.shape).astype(np.float32) for each in points]
    pictures = (pairs.frames[portrait], pairs.warped[index])
    seen = [seen_by_network(*each) for each in zip(pictures, points, strict=True)]
    layers = np.dstack([*seen, pairs.frames[target]])
    skull = list(facemesh.SKULL)
    head = fit_similarity(*(each[skull].astype(float) for each in points))
    turned = turned_from(head, points[0])
    around = _covering(turned, pairs.matte(portrait)) * _beside(points[1])
    motions = np.dstack([head_motion(*points), pairs.motion[index], turned, around])
    return Sample(layers, motions, upright(points[1]).astype(np.float32), head_change(head, points[0]), person)


def _covering(places: Floats, matte: NDArray[np.uint8]) -> Floats:
    """(64, 64) 0..1: how much of the person lies at `places` (64, 64, 2) px."""
    there = cv2.remap(matte, places, np.empty((0, 0), np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return (there / 255).astype(np.float32)


def _beside(points: Floats) -> NDArray[np.bool_]:
    """(64, 64): where the face of landmarks (478, 3) is not."""
    face = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    cv2.fillPoly(face, [points[list(facemesh.OVAL), :2].round().astype(np.int32)], (1,))
    beside: NDArray[np.bool_] = face.reshape(COARSE_PX, -1, COARSE_PX, SIDE_PX // COARSE_PX).max(axis=(1, 3)) == 0
    return beside


_PICTURES = (slice(0, 3), slice(7, 10), slice(14, 17))  # portrait, warped, target
_LAYERS = (3, 6, 7, 10, 13, 14)  # where the next of the layers begins


def augmented(original: Sample, random: np.random.Generator) -> Sample:
    """Looked at more closely, mirrored, tinted, faded or painted over; all pictures of the pair alike."""
    placed = _closer(original, random) if random.random() < 0.7 else original
    if random.random() < 0.5:
        placed = mirrored(placed)
    pair = np.array(placed.layers)
    pictures = np.concatenate([pair[..., part] for part in _PICTURES])  # (768, 256, 3)
    kind = random.random()
    if kind < 0.08:
        pictures = cv2.cvtColor(cv2.cvtColor(pictures, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    elif kind < 0.2:
        pictures = _painted(pictures, random)
    if random.random() < 0.7:
        ramp = np.linspace(0, 1, 256)[:, None] ** random.uniform(0.7, 1.5)
        table = random.uniform(0.8, 1.1) * random.uniform(0.9, 1.1, 3) * ramp
        pictures = np.dstack(
            [cv2.LUT(pictures[..., c], np.clip(table[:, c] * 255, 0, 255).astype(np.uint8)) for c in range(3)]
        )
    for part, picture in zip(_PICTURES, np.split(pictures, 3), strict=True):
        pair[..., part] = picture
    return replace(placed, layers=pair)


def mirrored(original: Sample) -> Sample:
    """Left and right exchanged."""
    motions = original.motions[:, ::-1] * np.array([-1, 1, -1, 1, -1, 1, 1, -1, 1, 1], np.float32)
    motions += _placed(SIDE_PX - 1, 0)
    turn, shift = original.upright[:, :2], original.upright[:, 2]
    flip = np.array([-1, 1], np.float32)  # of the square that dlib's network sees, too
    shift = flip * (turn @ [SIDE_PX - 1, 0] + shift) + [CHIP_PX - 1, 0]
    there = np.column_stack([flip[:, None] * turn * flip, shift]).astype(np.float32)
    change = original.change * np.tile(flip, 3)
    return replace(original, layers=original.layers[:, ::-1], motions=motions, upright=there, change=change)


def _closer(pair: Sample, random: np.random.Generator) -> Sample:
    """A part of the square, enlarged: no place in it is to be learnt by heart."""
    side = int(random.integers(LEAST_PART, COARSE_PX))  # of the coarse grid, so that both are cut alike
    left, top = random.integers(0, COARSE_PX - side + 1, 2)
    fine = SIDE_PX // COARSE_PX
    layers = pair.layers[fine * top : fine * (top + side), fine * left : fine * (left + side)]
    motions = pair.motions[top : top + side, left : left + side] - _placed(fine * left - 0.5, fine * top - 0.5)
    lengths = np.array([1, 1, 0, 0, 1, 1, 0, 1, 1, 0], np.float32) * (COARSE_PX / side - 1) + 1
    # One by one: with all channels together, OpenCV rounds some of them otherwise.
    parts = [cv2.resize(part, (SIDE_PX, SIDE_PX)) for part in np.split(layers, _LAYERS, axis=2)]
    motions = cv2.resize(motions, (COARSE_PX, COARSE_PX), interpolation=cv2.INTER_LINEAR) * lengths - _placed(0.5, 0.5)
    turn, shift = pair.upright[:, :2], pair.upright[:, 2]
    smaller = side / COARSE_PX
    shift = shift + turn @ (fine * np.array([left, top]) + (smaller - 1) / 2)  # pixels are resized about their edges
    there = np.column_stack([smaller * turn, shift]).astype(np.float32)
    return replace(pair, layers=np.dstack(parts), motions=np.asarray(motions, np.float32), upright=there)


def _placed(right_px: float, down_px: float) -> Floats:
    """(10,): a shift of those of a sample's motions that are places."""
    return np.array([0, 0, 0, 0, 0, 0, 0, right_px, down_px, 0], np.float32)


def _painted(pictures: Image, random: np.random.Generator) -> Image:
    """Strokes instead of pores: edge-preserving smoothing, then a canvas's tint."""
    apart = np.split(pictures, len(_PICTURES))
    smooth = np.concatenate([cv2.bilateralFilter(cv2.medianBlur(each, 3), 7, 45, 5) for each in apart])
    warm = smooth * np.array([1.0, random.uniform(0.85, 1), random.uniform(0.6, 1)])
    return np.asarray(warm, np.uint8)


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
