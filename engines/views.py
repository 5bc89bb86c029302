"""Further pictures of a portrait's person: from which to paint a frame, so that the least of it has to be made up.

The picture in which the face is nearest to where it is to go, in pose and expression, is the one that is warped: an
open mouth brings its own teeth, a turned head its cheek. When another comes to be nearest, it fades in. Pictures with
other hair, clothes or light lend their face alone, in the portrait's own colours.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.flow import face_size
from puppet import facemesh
from puppet.frames import differences
from puppet.headpose import head_size
from puppet.types import Floats, Image, PortraitEmbedding

SHIFT_WEIGHT = 0.3  # how much the place in the picture counts: hair and shoulders follow a shifted head only roughly
BORROWED = 0.05  # head units: by how much nearer a face of other light must be
STAY = 0.85  # of the distance of the picture in use, below which another takes its place
FADE_NS = 160_000_000  # how long that takes
CUT_NS = 300_000_000  # frames that are farther apart do not follow one another: nothing fades
OPEN = 8  # pictures that are kept ready for painting

COVER = 0.96  # of the face's outline, within which a borrowed face lies
FEATHER = 0.05  # soft edge of it, of the face's size
TONE = 0.12  # of the face's size: shades finer than that are the picture's own
GAIN = 2.5  # a borrowed face is made so much brighter or darker at most


class Nearest:
    """How much of each of K pictures to show, frame by frame: one of them, or two while one fades into the other."""

    def __init__(self, count: int) -> None:
        self._shares = np.zeros(count)
        self._chosen: int | None = None  # before the first frame, which is a cut

    def __call__(self, distances: NDArray[np.float64], step: float) -> NDArray[np.float64]:
        """(K,) shares that add up to 1, for distances (K,) of which inf is never chosen.

        `step` is how much of a fade the time since the last frame makes, inf for a cut.
        """
        nearest = int(distances.argmin())
        if self._chosen is None or math.isinf(step) or distances[nearest] < STAY * distances[self._chosen]:
            self._chosen = nearest
        others = 1 - self._shares[self._chosen]
        rest = max(0.0, others - step)
        self._shares *= rest / others if others > 0 else 0
        self._shares[self._chosen] = 1 - rest
        return self._shares.copy()


class Views:
    """Paints an embedding of several pictures; `open_view` makes what paints one of them from landmarks (478, 3)."""

    def __init__(self, embedding: PortraitEmbedding, open_view: Callable[[int], Callable[[Floats], Image]]) -> None:
        tensors = embedding.tensors
        self._points = np.concatenate([embedding.portrait.landmarks.points[None], tensors["views.points"]])
        self._whole = np.concatenate([[True], tensors["views.whole"] > 0])
        self._open_view = open_view
        self._open: OrderedDict[int, Callable[[Floats], Image]] = OrderedDict()
        self._body, self._face = Nearest(len(self._points)), Nearest(len(self._points))
        self._last_ns: int | None = None
        self.shares = np.zeros(len(self._points))  # of the pictures in the last painted face; they add up to 1

    def paint(self, target: Floats, time_ns: int | None) -> Image:
        """Landmarks (478, 3) px of the portrait to the whole picture, as `WarpEngine.paint`."""
        shift = np.linalg.norm((self._points - target)[:, :468, :2], axis=2).mean(axis=1) / head_size(target)
        distances = differences(self._points, target) + SHIFT_WEIGHT * shift + BORROWED * ~self._whole
        step = self._step(time_ns)
        painted: dict[int, Image] = {}
        body = self._body(np.where(self._whole, distances, np.inf), step)
        face = self.shares = self._face(distances, step)
        picture = self._mixed(body, target, painted)
        if (face == body).all():
            return picture
        return _blended(picture, self._mixed(face, target, painted), cover_of(target, picture.shape))

    def _step(self, time_ns: int | None) -> float:
        """How much of a fade has gone by since the last frame."""
        last_ns, self._last_ns = self._last_ns, time_ns
        if time_ns is None or last_ns is None or not 0 < time_ns - last_ns < CUT_NS:
            return math.inf
        return (time_ns - last_ns) / FADE_NS

    def _mixed(self, shares: NDArray[np.float64], target: Floats, painted: dict[int, Image]) -> Image:
        shown = [int(index) for index in np.flatnonzero(shares > 0.01)]
        for index in shown:
            if index not in painted:
                painted[index] = self._painter(index)(target)
        first, *others = sorted(shown, key=lambda index: -shares[index])
        picture, total = painted[first], shares[first]
        for index in others:
            total += shares[index]
            picture = _blended(picture, painted[index], np.float32(shares[index] / total))
        return picture

    def _painter(self, index: int) -> Callable[[Floats], Image]:
        if index not in self._open:
            self._open[index] = self._open_view(index)
            if len(self._open) > OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(index)
        return self._open[index]


def pictures_in(embedding: PortraitEmbedding) -> int:
    """Of how many pictures the embedding is made."""
    return 1 + len(embedding.tensors.get("views.points", ()))


def cover_of(points: Floats, shape: tuple[int, ...]) -> Floats:
    """(H, W) 0..1: the face within its outline, with a soft edge, for landmarks (478, 3) px."""
    outline = points[list(facemesh.OVAL), :2]
    middle = outline.mean(axis=0)
    hull = cv2.convexHull((middle + COVER * (outline - middle)).astype(np.float32))
    mask = np.zeros(shape[:2], np.float32)
    cv2.fillConvexPoly(mask, np.rint(hull * 16).astype(np.int32), (1.0,), cv2.LINE_8, shift=4)
    soft_px = max(FEATHER * face_size(points), 1.0)
    return np.clip(2 * cv2.GaussianBlur(mask, (0, 0), soft_px) - 1, 0, 1)  # all of it inside the outline


def in_tone(image: Image, points: Floats, wanted: Image) -> Image:
    """`image` (H, W, 3) with the broad colours of `wanted` (H, W, 3), in which the same face lies at the same place.

    Only within the face, at landmarks `points` (478, 3); finer shades stay.
    """
    face = np.zeros(image.shape[:2], np.float32)
    cv2.fillConvexPoly(face, cv2.convexHull(np.rint(points[:468, :2]).astype(np.int32)), (1.0,))
    sigma_px = max(TONE * face_size(points), 1.0)
    near = np.maximum(cv2.GaussianBlur(face, (0, 0), sigma_px), 1e-3)[..., None]
    ours, theirs = (cv2.GaussianBlur(each * face[..., None], (0, 0), sigma_px) / near for each in (image, wanted))
    gain = np.clip((theirs + 1) / (ours + 1), 1 / GAIN, GAIN)
    return np.asarray(np.clip(np.rint(image * gain), 0, 255), np.uint8)


def _blended(picture: Image, other: Image, share: Floats | np.float32) -> Image:
    """`share`, one or (H, W), of `other` and the rest of `picture`, (H, W, 3) or (H, W, 4) each; a fresh array."""
    ours, theirs, share = picture.astype(np.float32), other.astype(np.float32), np.asarray(share)[..., None]
    if picture.shape[2] == 3:
        return np.asarray(np.rint(ours + share * (theirs - ours)), np.uint8)
    alpha = ours[..., 3:] + share * (theirs - ours)[..., 3:]
    share = share * theirs[..., 3:] / np.maximum(alpha, 1)  # what is clear has no colour
    return np.asarray(np.rint(np.dstack([ours[..., :3] + share * (theirs - ours)[..., :3], alpha])), np.uint8)
