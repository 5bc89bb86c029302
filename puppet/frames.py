"""The most different good frames of a video of one face: sharp, large enough, each in another pose or expression."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet import facemesh
from puppet.headpose import STABLE, head_size
from puppet.tracking import FaceTracker, face_width_px
from puppet.types import Floats, Image, Landmarks
from puppet.video import VideoFile

LOOKED_AT: Final = 300  # frames of a video; of a longer one every second, third …
SHARP: Final = 0.5  # of what is usual in the video
SMALLEST_FACE_PX: Final = 64
DIFFERENT: Final = 0.02  # faces' difference below which one more picture shows nothing new
_SHARPNESS_PX: Final = 96  # side at which faces are compared

_LIPS: Final = np.unique(np.concatenate(facemesh.LIP_ROWS_UPPER + facemesh.LIP_ROWS_LOWER + facemesh.LIP_CORNERS))
_EYES: Final = np.unique(np.concatenate(facemesh.LID_UPPER + facemesh.LID_LOWER + facemesh.IRIS))
_SKIN: Final = np.setdiff1d(np.arange(468), np.concatenate([_LIPS, _EYES]))
_UPPER: Final = np.concatenate([facemesh.LIP_INNER_UPPER[1:-1], *(lid[1:-1] for lid in facemesh.LID_UPPER)])
_LOWER: Final = np.concatenate([facemesh.LIP_INNER_LOWER[1:-1], *(lid[1:-1] for lid in facemesh.LID_LOWER)])
_SLITS: Final = (slice(0, 9), slice(9, 23))  # of these: mouth, eyes
LIPS_WEIGHT: Final = 0.5
EYES_WEIGHT: Final = 0.5
# Teeth and eyeballs that a picture hides cannot be had from it: what it lacks of this share of their opening counts.
SHOWN: Final = 0.6
HIDDEN_WEIGHTS: Final = (1.0, 4.0)  # of mouth and eyes


def differences(faces: Floats, target: Floats) -> NDArray[np.float64]:
    """(K,) how much must change of each of `faces` (K, 478, 3) until it looks as `target` (478, 3), in head units.

    Place, size and tilt in the picture do not count: what is left of turned heads and of expressions, when the stable
    points of either lie over one another, is what a warp has to make up. Lips and eyes count beyond their area, most
    of all where they are shut and have to be opened.
    """
    ours, goal = (each[..., 0] + 1j * each[..., 1] for each in (faces.astype(np.float64), target.astype(np.float64)))
    ours = ours - ours[:, STABLE].mean(axis=1, keepdims=True)
    goal = goal - goal[STABLE].mean()
    lay = (ours[:, STABLE].conj() @ goal[STABLE]) / np.square(np.abs(ours[:, STABLE])).sum(axis=1)  # turn and scale
    left = np.square(np.abs(goal - lay[:, None] * ours)) / head_size(target) ** 2
    skin, lips, eyes = (np.sqrt(left[:, part].mean(axis=1)) for part in (_SKIN, _LIPS, _EYES))
    total: NDArray[np.float64] = skin + LIPS_WEIGHT * lips + EYES_WEIGHT * eyes
    gaps = np.abs(ours[:, _LOWER] - ours[:, _UPPER]) * np.abs(lay)[:, None]
    hidden = np.maximum(SHOWN * np.abs(goal[_LOWER] - goal[_UPPER]) - gaps, 0) / head_size(target)
    for slit, weight in zip(_SLITS, HIDDEN_WEIGHTS, strict=True):
        total += weight * hidden[:, slit].mean(axis=1)
    return total


def different(faces: Sequence[Floats], start: Floats, *, most: int, least: float = 0.0) -> list[int]:
    """Indices of the `most` faces that differ most from `start` and from one another, the most different first.

    Each is the farthest from all before it (Gonzalez 1985), until none is farther than `least`.
    """
    if not faces:
        return []
    points = np.stack(faces)
    distance = differences(points, start)
    chosen: list[int] = []
    while len(chosen) < min(most, len(faces)) and distance.max() > least:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, differences(points, points[chosen[-1]]))
        distance[chosen] = -1.0
    return chosen


def different_frames(
    video: VideoFile, start: Floats, *, most: int, progress: Callable[[float], None] = lambda done: None
) -> Iterator[tuple[Image, Landmarks]]:
    """Up to `most` good frames of `video` with their faces, in its order, that differ from `start` (478, 3).

    progress: told what part of the video has been looked at; what it raises ends that.
    """
    count = video.frame_count or LOOKED_AT
    step = math.ceil(count / LOOKED_AT)
    found: list[tuple[Landmarks, float]] = []
    with FaceTracker() as track:
        for frame in video:
            progress(min(1.0, frame.index / count))
            face = track(frame) if frame.index % step == 0 else None
            if face is not None and face_width_px(face) >= SMALLEST_FACE_PX:
                found.append((face, _sharpness(frame.image, face)))
    if not found:
        return
    usual = float(np.median([sharpness for _, sharpness in found]))
    good = [face for face, sharpness in found if sharpness >= SHARP * usual]
    chosen = different([face.points for face in good], start, most=most, least=DIFFERENT)
    wanted = {good[index].index: good[index] for index in chosen}
    for frame in video:  # once more: all the frames together would not fit into memory
        if frame.index in wanted:
            yield frame.image, wanted[frame.index]


def _sharpness(image: Image, face: Landmarks) -> float:
    """Of a face, whatever its size: the mean square of its Laplacian at one size."""
    low, high = face.points[:, :2].min(axis=0), face.points[:, :2].max(axis=0)
    left, top = np.maximum(low, 0).astype(int)
    right, bottom = np.maximum(np.minimum(high, (face.width_px, face.height_px)).astype(int), (left + 1, top + 1))
    part = cv2.resize(image[top:bottom, left:right], (_SHARPNESS_PX, _SHARPNESS_PX), interpolation=cv2.INTER_AREA)
    return float(np.square(cv2.Laplacian(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), cv2.CV_32F)).mean())
