"""Training pairs of one person: each picture of an album, warped to the landmarks of the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines.neural import sights
from engines.training.pairs import Pairs, optical_flow
from engines.training.rigged import rig_of, rigged
from engines.warp import WarpEngine
from puppet.frames import differences
from puppet.matting import person_matte, still_background
from puppet.types import Floats, Image, Landmarks, Portrait

SOURCES: Final = 7  # that each picture is made from, the nearest ones
HELD_BACK: Final = 0.25  # of the pictures, to be judged by
JUDGED_SOURCES: Final = 3  # of each of these


@dataclass(frozen=True, slots=True, eq=False)
class OwnPairs:
    """The pairs, and the indices of those to train with on trial, and to judge by."""

    pairs: Pairs
    trained: list[int]
    judged: list[int]
    pictures: int  # true ones: the first of the pairs' frames
    posed: tuple[int, ...] = ()  # of those whose target is none of them: what is painted must look like the first
    face: Landmarks | None = None  # in the first, for that

    @property
    def held_back(self) -> int:
        """How many pictures are targets to judge by, and not to train with."""
        trained, judged = (self.pairs.pairs[indices, 1] for indices in (self.trained, self.judged))
        return len(np.setdiff1d(judged, trained))


def own_pairs(portrait: Portrait, *, base: Path) -> OwnPairs:
    """Of an album of two pictures or more, with the rig in the weights `base`; takes half a second for each of them."""
    rig = rig_of(base)
    with WarpEngine() as warp:
        seen = sights(warp.embed(portrait), warp)
        points = np.stack([each for _, each in seen])
        apart = np.stack([differences(points, each) for each in points])  # (target, source)
        np.fill_diagonal(apart, np.inf)
        nearest = np.argsort(apart, axis=1)[:, : min(SOURCES, len(seen) - 1)]  # of each target
        wanted: list[tuple[int, int]] = []
        warped: list[Image] = []
        mattes = []
        for source, (square, face) in enumerate(seen):
            targets = np.flatnonzero((nearest == source).any(axis=1)).tolist()
            if targets:
                embedding = rigged(warp.embed(as_portrait(square, face, like=portrait.landmarks)), rig)
                mattes.append(embedding.portrait.matte)
            for target in targets:
                wanted.append((source, target))
                warped.append(warp.paint(embedding, points[target]))
    pairs = Pairs(
        frames=np.stack([square for square, _ in seen]),
        points=points,
        pairs=np.array(wanted, np.int32),
        warped=np.stack(warped),
        motion=np.stack(
            [optical_flow(seen[target][0], each) for (_, target), each in zip(wanted, warped, strict=True)]
        ),
        mattes=np.stack(mattes),
    )
    return _divided(pairs, apart)


def as_portrait(square: Image, points: Floats, *, like: Landmarks) -> Portrait:
    """A square of a picture, with the landmarks (478, 3) px in it of the face `like`."""
    face = replace(like, points=points, width_px=square.shape[1], height_px=square.shape[0])
    matte = person_matte(square, face)
    return Portrait(square, face, matte, still_background(square, matte), key="")


def _divided(pairs: Pairs, apart: NDArray[np.float64]) -> OwnPairs:
    """Pictures are kept back evenly, since those of a video come in its order; never the portrait itself."""
    count = len(pairs.points)
    held = np.linspace(1, count - 1, max(1, round(HELD_BACK * count)) + 2)[1:-1].round().astype(int)
    sources, targets = pairs.pairs.T
    distances = apart[targets, sources]
    judged = [
        int(index)
        for target in held
        for index in sorted(np.flatnonzero(targets == target), key=distances.__getitem__)[:JUDGED_SOURCES]
    ]
    return OwnPairs(pairs, np.flatnonzero(~np.isin(targets, held)).tolist(), judged, pictures=count)
