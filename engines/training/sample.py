"""One training pair as a network sees it: its pictures with landmarks drawn, and what is known of its motion."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import flow
from engines.geometry import COARSE_PX, SIDE_PX, head_motion, seen_by_network
from engines.response import head_change, turned_from
from engines.training.bend import Bend
from engines.training.pairs import Pairs
from puppet import facemesh
from puppet.headpose import fit_similarity
from puppet.identity import upright
from puppet.types import Floats

LANDMARK_NOISE_PX = 0.35  # the tracker's own jitter, at 256²


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One pair."""

    layers: NDArray[np.uint8]  # (256, 256, 17): its pictures and drawings in the order of Batch
    motions: Floats  # (64, 64, 10): head_motion, Pairs.motion, then Batch.around
    upright: Floats  # (2, 3): identity.upright of the target
    change: Floats  # (6,): response.head_change
    person: int = 0


def sample(
    pairs: Pairs,
    index: int,
    *,
    person: int = 0,
    random: np.random.Generator | None = None,
    bend: Bend | None = None,
) -> Sample:
    """The pair `index` as it is, or bent; `random` adds landmark noise."""
    portrait, target = pairs.pairs[index]
    points: list[Floats] = [pairs.points[frame] for frame in (portrait, target)]
    pictures = [pairs.frames[portrait], pairs.warped[index], pairs.frames[target]]
    matte, motion = pairs.matte(portrait), pairs.motion[index]
    if random is not None:
        points = [each + random.normal(0, LANDMARK_NOISE_PX, each.shape).astype(np.float32) for each in points]
    if bend is not None:
        points = [bend.points(each) for each in points]
        *pictures, matte = (bend.picture(each) for each in (*pictures, matte))
        motion = bend.motion(motion)
    before, warped, after = pictures
    seen = [seen_by_network(*each) for each in zip((before, warped), points, strict=True)]
    skull = list(facemesh.SKULL)
    head = fit_similarity(*(each[skull].astype(float) for each in points))
    turned = turned_from(head, points[0])
    around = _covering(turned, matte) * _beside(points[1])
    motions = np.dstack([head_motion(*points), motion, turned, around])
    return Sample(
        np.dstack([*seen, after]), motions, upright(points[1]).astype(np.float32), head_change(head, points[0]), person
    )


def _covering(places: Floats, matte: NDArray[np.uint8]) -> Floats:
    """(64, 64) 0..1: how much of the person lies at `places` (64, 64, 2) px."""
    return (flow.sample(matte, places, border=cv2.BORDER_REPLICATE) / 255).astype(np.float32)


def _beside(points: Floats) -> NDArray[np.bool_]:
    """(64, 64): where the face of landmarks (478, 3) is not."""
    face = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    cv2.fillPoly(face, [points[list(facemesh.OVAL), :2].round().astype(np.int32)], (1,))
    beside: NDArray[np.bool_] = face.reshape(COARSE_PX, -1, COARSE_PX, SIDE_PX // COARSE_PX).max(axis=(1, 3)) == 0
    return beside
