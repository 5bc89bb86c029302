"""Pseudo-pairs of a single picture: the portrait painted in motion, and warped back to where it came from.

The target is the picture itself, so that nothing painted is learnt as truth. The other way, at rest to in motion, the
generator is held to what it painted before: the one picture says nothing of that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from engines.neural import NeuralEngine, sights
from engines.training.own import OwnPairs, as_portrait
from engines.training.pairs import Pairs, optical_flow
from engines.training.rigged import rig_of, rigged
from engines.warp import WarpEngine
from puppet.motion import NEUTRAL_S, Retargeter, target_points
from puppet.recording import Recording
from puppet.settings import asset
from puppet.types import Controls, Floats, Landmarks, Portrait

MOTIONS: Final = 24
HELD_BACK: Final = 4  # of these every fourth, to be judged by
HEAD: Final = 1.5  # times as far as the bundled motion's head turns,
SHIFT: Final = 14 / 256  # and moved by up to so much of the square, px / px,
LOG_SCALE: Final = 0.08  # and made larger or smaller: the real ones come from further away


def pseudo_pairs(portrait: Portrait, *, base: Path) -> OwnPairs:
    """Of one picture, with the generator's weights `base`; takes some ten seconds.

    First come the pairs whose target is the picture, then as many whose source it is, in the same order.
    """
    rig = rig_of(base)
    with WarpEngine() as warp, NeuralEngine(base, runner_name="pytorch") as neural:
        [(square, rest)] = sights(warp.embed(portrait), warp)
        seen = as_portrait(square, rest, like=portrait.landmarks)
        targets = _targets(seen.landmarks)
        still, puppet = rigged(warp.embed(seen), rig), neural.embed(seen)
        painted = [neural.paint(puppet, target) for target in targets]
        away = [warp.paint(still, target) for target in targets]
        posed = [
            rigged(warp.embed(as_portrait(each, target, like=portrait.landmarks)), rig)
            for each, target in zip(painted, targets, strict=True)
        ]
        back = [warp.paint(each, rest) for each in posed]
    numbers = range(1, MOTIONS + 1)
    indices = [(number, 0) for number in numbers] + [(0, number) for number in numbers]
    frames, warped = [square, *painted], [*back, *away]
    pairs = Pairs(
        frames=np.stack(frames),
        points=np.stack([rest, *targets]),
        pairs=np.array(indices, np.int32),
        warped=np.stack(warped),
        motion=np.stack([optical_flow(frames[to], each) for (_, to), each in zip(indices, warped, strict=True)]),
        mattes=np.stack([each.portrait.matte for each in (still, *posed)]),
    )
    judged = list(range(HELD_BACK // 2, MOTIONS, HELD_BACK))
    aside = tuple(MOTIONS + index for index in judged)
    trained = [index for index in range(2 * MOTIONS) if index not in {*judged, *aside}]
    return OwnPairs(pairs, trained, judged, pictures=1, posed=aside, face=seen.landmarks)


def _targets(rest: Landmarks) -> list[Floats]:
    """Where the landmarks go, (478, 3) px each."""
    recording = Recording.load(asset("sample.motion"))
    retargeter = Retargeter(controls=Controls(head=HEAD))
    motions = [
        retargeter(face, index=index, time_ns=round(index * 1e9 / recording.fps))
        for index, face in enumerate(recording)
    ]
    first = round(NEUTRAL_S * recording.fps) + 1  # until then all rests
    chosen = np.linspace(first, len(motions) - 1, MOTIONS).round().astype(int)
    random = np.random.default_rng(0)
    middle = rest.points.mean(axis=0)
    targets = []
    for index in chosen:
        points = target_points(motions[index], rest)
        shift = np.append(random.uniform(-SHIFT, SHIFT, 2) * rest.width_px, 0)
        scale = np.exp(random.uniform(-LOG_SCALE, LOG_SCALE))
        targets.append(((points - middle) * scale + middle + shift).astype(np.float32))
    return targets
