"""Further pictures of a portrait's person, laid over the portrait, and what they reveal behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.headpose import STABLE, Similarity, fit_similarity
from puppet.matting import person_matte, still_background
from puppet.tracking import face_width_px
from puppet.types import Floats, Image, Landmarks, Portrait

# Two pictures of one size in which the head is about as large, at about the same place and about as upright have one
# framing: what lies at one place in both is the same thing, and they are not moved over one another.
FRAMED_SHIFT, FRAMED_SCALE, FRAMED_ROLL = 0.7, 1.4, np.radians(40)  # face widths; either way
ALIKE: Final = 0.75  # share of hair and clothes of one colour, from which on they are the same ones
SAME_LIGHT: Final = 20.0  # grey levels between the means of faces; a head that turns in one light makes up to 14
# What stands behind is the same if it differs by fewer grey levels, where there is so much of it to be seen.
STILL_BACKGROUND, LEAST_BACKGROUND = 6.0, 0.02


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A further picture of a portrait's person, laid over the portrait: of its size, with the head at its place."""

    image: Image  # (H, W, 3) uint8 RGB
    landmarks: Landmarks
    matte: NDArray[np.uint8]  # (H, W) as a portrait's; 255 throughout if only the face is to be taken
    background: Image  # (H, W, 3): the person in-painted away
    whole: bool  # hair, clothes and framing are the portrait's, too


@dataclass(frozen=True, slots=True, eq=False)
class Album(Portrait):
    """A portrait with further pictures; an engine that knows nothing of these takes it for the portrait alone."""

    views: tuple[View, ...] = ()


def album_of(portrait: Portrait, pictures: Sequence[tuple[Image, Landmarks]], *, key: str) -> Album:
    """Lay pictures of the same person, each with its face, over the portrait."""
    views = tuple(_laid(image, face, portrait) for image, face in pictures)
    background = _revealed(portrait, views)
    own = {field.name: getattr(portrait, field.name) for field in fields(Portrait)}
    return Album(**own | {"background": background, "key": key}, views=views)


def _laid(image: Image, face: Landmarks, portrait: Portrait) -> View:
    """A picture over the portrait; where it has another framing, it is turned, scaled and shifted to cover it."""
    height_px, width_px = portrait.image.shape[:2]
    scale = width_px / image.shape[1]
    if abs(scale * image.shape[0] - height_px) <= 1:  # of one shape: brought to one size first
        fitted = Similarity(scale, np.eye(2), np.full(2, 0.5 * scale - 0.5))
        there = _moved(face, fitted, portrait)
        if _framed_alike(there, portrait.landmarks):
            if image.shape != portrait.image.shape:
                how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
                image = np.asarray(cv2.resize(image, (width_px, height_px), interpolation=how), np.uint8)
            matte = person_matte(image, there)
            alike = _same_scene(image, matte, portrait) or _alike(image, there, matte, portrait)
            if alike and _same_light(image, there, portrait):
                return View(image, there, matte, still_background(image, matte), whole=True)
            face = there
    lay = fit_similarity(*(each.points[STABLE, :2].astype(np.float64) for each in (face, portrait.landmarks)))
    if lay.scale < 0.7:  # without the detail that the portrait's size cannot hold
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 / lay.scale), np.uint8)
    matrix = np.column_stack([lay.scale * lay.rotation, lay.shift])
    laid = cv2.warpAffine(
        image, matrix, (width_px, height_px), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    ).astype(np.uint8)
    return View(laid, _moved(face, lay, portrait), np.full(laid.shape[:2], 255, np.uint8), laid, whole=False)


def _moved(face: Landmarks, by: Similarity, portrait: Portrait) -> Landmarks:
    flat = by(face.points[:, :2].astype(np.float64))
    points = np.column_stack([flat, by.scale * face.points[:, 2]]).astype(np.float32)
    height_px, width_px = portrait.image.shape[:2]
    return replace(face, points=points, width_px=width_px, height_px=height_px)


def _framed_alike(one: Landmarks, other: Landmarks) -> bool:
    a, b = (each.points[STABLE, :2].astype(np.float64) for each in (one, other))
    lay = fit_similarity(a, b)
    shift = np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)) / face_width_px(other)
    roll = np.arctan2(lay.rotation[1, 0], lay.rotation[0, 0])
    near = shift < FRAMED_SHIFT and abs(np.log(lay.scale)) < np.log(FRAMED_SCALE) and abs(roll) < FRAMED_ROLL
    return bool(near)


def _same_scene(image: Image, matte: NDArray[np.uint8], portrait: Portrait) -> bool:
    """Whether the same stands still behind the person as in the portrait."""
    both = cv2.erode(((matte == 0) & (portrait.matte == 0)).astype(np.uint8), _margin(portrait)) > 0
    enough = both.mean() > LEAST_BACKGROUND
    return bool(enough and np.median(cv2.absdiff(image, portrait.image).max(axis=2)[both]) < STILL_BACKGROUND)


def _same_light(image: Image, face: Landmarks, portrait: Portrait) -> bool:
    """Whether the face has the portrait's colours."""
    means = []
    for picture, landmarks in ((image, face), (portrait.image, portrait.landmarks)):
        mask = np.zeros(picture.shape[:2], np.uint8)
        cv2.fillConvexPoly(mask, _outline(landmarks), (255,))
        means.append(np.array(cv2.mean(picture, mask)[:3]))
    return bool(np.abs(means[0] - means[1]).max() < SAME_LIGHT)


def _outline(face: Landmarks) -> NDArray[np.int32]:
    return np.asarray(cv2.convexHull(np.rint(face.points[:, :2]).astype(np.int32)), np.int32)


def _margin(portrait: Portrait) -> NDArray[np.uint8]:
    """A disc as large as what mattes err by."""
    side_px = 2 * max(2, round(max(portrait.matte.shape) / 100)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side_px, side_px)), np.uint8)


def _alike(image: Image, face: Landmarks, matte: NDArray[np.uint8], portrait: Portrait) -> bool:
    """Whether hair and clothes have the portrait's colours: by how much their histograms have in common."""
    ours = _colours(image, face, matte)
    theirs = _colours(portrait.image, portrait.landmarks, portrait.matte)
    return float(np.minimum(ours, theirs).sum()) >= ALIKE


def _colours(image: Image, face: Landmarks, matte: NDArray[np.uint8]) -> Floats:
    """Shares of 8 x 8 x 8 colours in the person around the face, blurred to neighbours: (8, 8, 8)."""
    around = (matte > 200).astype(np.uint8)
    cv2.fillConvexPoly(around, _outline(face), (0,))
    smooth = cv2.GaussianBlur(image, (0, 0), max(1.0, 0.02 * face_width_px(face)))
    histogram = cv2.calcHist([smooth], [0, 1, 2], around, [8, 8, 8], [0, 256] * 3)
    for axis in range(3):
        histogram = np.apply_along_axis(np.convolve, axis, histogram, [0.25, 0.5, 0.25], "same")
    shares: Floats = (histogram / max(float(histogram.sum()), 1e-6)).astype(np.float32)
    return shares


def _revealed(portrait: Portrait, views: Sequence[View]) -> Image:
    """The portrait's background with what other pictures of one framing show behind its person; else in-painted."""
    rows = np.flatnonzero((portrait.matte > 0).any(axis=1))
    shown = [
        (view.image, cv2.erode((view.matte == 0).astype(np.uint8), _margin(portrait)) > 0)
        for view in views
        if view.whole and _same_scene(view.image, view.matte, portrait)
    ]
    if not shown or not len(rows):
        return portrait.background
    image, matte = portrait.image.copy(), portrait.matte.copy()
    for start in range(rows[0], rows[-1] + 1, 64):  # in strips, since all pictures at once may be too much
        strip = np.s_[start : start + 64]
        free = np.stack([part[strip] for _, part in shown])
        seen = free.any(axis=0) & (matte[strip] > 0)
        pictures = np.stack([each[strip][seen] for each, _ in shown]).astype(np.float32)
        pictures[~free[:, seen]] = np.nan
        image[strip][seen] = np.rint(np.nanmedian(pictures, axis=0)).astype(np.uint8)
        matte[strip][seen] = 0
    return still_background(image, matte)
