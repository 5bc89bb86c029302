"""Training pairs: a portrait, another frame of the same shot, and the warp engine's way from one to the other.

Made once per clip and kept as plain arrays, so that training reads them at the speed of the disk.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.geometry import Crop
from engines.rig import Rig
from engines.training.clips import Clip, Track, read, seed_of, shots, track
from engines.training.metrics import eye_opening, mouth_opening
from engines.training.rigged import rigged
from engines.warp import WarpEngine
from puppet.matting import person_matte, still_background
from puppet.types import Floats, Image, Landmarks, Portrait

logger = logging.getLogger(__name__)

PORTRAITS_PER_CLIP = 20  # few are learnt by heart
TARGETS_PER_PORTRAIT = 4
DROWSY = 0.2  # of a shot's frames, with the eyes least open: no portraits
EXTREME = 0.12  # of its frames count as those with the mouth most open, or the eyes most shut
SHORTEST_SHOT = 8  # frames
AGREEMENT_PX = 2.0
FARTHEST_PX = 40.0


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """All of one clip's pairs; arrays are memory-mapped. Pictures are (·, 256, 256, 3) uint8 RGB."""

    frames: NDArray[np.uint8]  # (F, …) every frame that is a portrait or a target, cut to the portrait's square
    points: Floats  # (F, 478, 3) px of the square
    pairs: NDArray[np.int32]  # (P, 2) indices into frames: portrait, target
    warped: NDArray[np.uint8]  # (P, …) the warp engine's picture
    motion: NDArray[
        np.float16
    ]  # (P, 64, 64, 3): where the target finds itself in `warped` (x, y in px), and 1 if it does
    mattes: NDArray[np.uint8]  # (R, 256, 256) of the frames that are portraits, in their order

    def matte(self, portrait: int) -> NDArray[np.uint8]:
        """(256, 256) of the frame of that index."""
        return self.mattes[np.searchsorted(np.unique(self.pairs[:, 0]), portrait)]

    @classmethod
    def load(cls, folder: Path) -> Pairs:
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in cls.__slots__))


def prepare(clip: Clip, *, tracks: Path, cache: Path, rig: Rig | None = None) -> Path | None:
    """Make the clip's pairs, unless they are there, and give their folder; None if no face can be followed in it."""
    folder = cache / clip.name
    if folder.exists():
        return folder
    found = track(clip, tracks)
    chosen = _choose(clip, found)
    if not chosen:
        logger.warning("%s: no face to train with", clip.path)
        return None
    partial = cache / f"{clip.name}.{os.getpid()}"
    partial.mkdir(parents=True, exist_ok=True)
    arrays = _make(read(clip), found, chosen, rig)
    for name, array in zip(Pairs.__slots__, arrays, strict=True):
        np.save(partial / f"{name}.npy", array)
    try:
        os.replace(partial, folder)
    except OSError:  # another process was faster
        shutil.rmtree(partial)
    return folder


def _choose(clip: Clip, found: Track) -> dict[int, list[int]]:
    """Portrait frame -> target frames, of the same shot; the first portrait is the first frame that can be one."""
    random = np.random.default_rng(seed_of(clip))
    usable = [np.array([index for index in shot if found.valid[index]]) for shot in shots(clip, len(found.valid))]
    usable = [shot for shot in usable if len(shot) >= SHORTEST_SHOT]
    lengths = np.array([len(shot) for shot in usable])
    chosen = {}
    for number in range(PORTRAITS_PER_CLIP if usable else 0):
        shot = usable[int(random.choice(len(usable), p=lengths / lengths.sum())) if number else 0]
        eyes = eye_opening(found.points[shot]).mean(axis=1)
        portrait = int(random.choice(shot[eyes >= np.percentile(eyes, 100 * DROWSY)]) if number else shot[0])
        chosen[portrait] = sorted(_targets(shot[shot != portrait], found.points, random))
    return dict(sorted(chosen.items()))


def _targets(others: NDArray[np.int64], points: Floats, random: np.random.Generator) -> set[int]:
    """One with the mouth open, one with the eyes shut, and any."""
    mouth, eyes = mouth_opening(points[others]), eye_opening(points[others]).mean(axis=1)
    shouting = others[mouth >= np.percentile(mouth, 100 * (1 - EXTREME))]
    blinking = others[eyes <= np.percentile(eyes, 100 * EXTREME)]
    rest = random.choice(others, min(TARGETS_PER_PORTRAIT, len(others)) - 2, replace=False)
    return {int(index) for index in (random.choice(shouting), random.choice(blinking), *rest)}


def _make(
    frames: list[Image], found: Track, chosen: dict[int, list[int]], rig: Rig | None
) -> tuple[NDArray[np.generic], ...]:
    pictures: list[Image] = []
    points: list[Floats] = []
    pairs: list[tuple[int, int]] = []
    warped: list[Image] = []
    motion: list[NDArray[np.float16]] = []
    mattes: list[NDArray[np.uint8]] = []
    height_px, width_px = frames[0].shape[:2]
    with WarpEngine() as engine:
        for portrait, targets in chosen.items():
            crop = Crop.around(found.points[portrait], width_px=width_px, height_px=height_px)
            start = len(pictures)
            pictures += [crop.cut(frames[index]) for index in (portrait, *targets)]
            points += [crop.to_square(found.points[index]) for index in (portrait, *targets)]
            face = Landmarks(
                points[start], found.blendshapes[portrait], found.pose[portrait], *pictures[start].shape[1::-1]
            )
            mattes.append(person_matte(pictures[start], face))
            background = still_background(pictures[start], mattes[-1])
            embedding = rigged(engine.embed(Portrait(pictures[start], face, mattes[-1], background, key="")), rig)
            for target in range(start + 1, len(pictures)):
                pairs.append((start, target))
                warped.append(engine.paint(embedding, points[target]))
                motion.append(optical_flow(pictures[target], warped[-1]))
    where = np.array(pairs, np.int32)
    return np.stack(pictures), np.stack(points), where, np.stack(warped), np.stack(motion), np.stack(mattes)


def optical_flow(target: Image, warped: Image) -> NDArray[np.float16]:
    """(64, 64, 3): x, y in px from `target` into `warped`, and 1 where the way back agrees. DIS, Kroeger et al. 2016.

    What a generator's flow should be wherever the warped picture holds what the target shows. Told so directly, it
    learns from far fewer pictures than from their differences alone.
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (target, warped)]
    there, back = search.calc(grey[0], grey[1], None), search.calc(grey[1], grey[0], None)
    here = np.stack(np.meshgrid(*(np.arange(side, dtype=np.float32) for side in grey[0].shape[::-1])), axis=2)
    returned = there + cv2.remap(back, here + there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    agrees = (np.abs(returned).sum(axis=2) < AGREEMENT_PX) & (np.abs(there).max(axis=2) < FARTHEST_PX)
    both = np.dstack([there, agrees.astype(np.float32)])
    return cv2.resize(both, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float16)
