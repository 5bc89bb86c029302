"""Parting the person of a portrait from the background, and painting what the person hides."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.facemesh import OVAL
from puppet.mediapipe_parts import SelfieSegmentation
from puppet.tracking import quiet_stderr
from puppet.types import Floats, Image, Landmarks

Matte = NDArray[np.uint8]  # (H, W): 255 person, 0 background

FINEST_PX = 2048  # longer side at which edges are worked out; larger pictures get them enlarged
FILLED_PX = 512  # longer side at which what the person hides is made up; at 1024 it takes three times as long
INPAINT_RADIUS_PX = 1  # with 3 it looks no better, is farther from the truth by LPIPS, and takes three times as long
SOFTENED_PX = (4, 8, 16, 32)  # standard deviations of the blur at twice to four times that depth behind the person
MOST_GRAIN = 3.0  # grey levels; more is texture, and no grain
STACK = 2.45  # radius of cv2.stackBlur for a standard deviation of 1
CUT_PX = 400  # longer side of the picture in which the outline is cut: the segmentation knows 256 px, no more
SURE = 0.95  # what the segmentation takes for a person (or, under 0.05, for none) is not to be doubted
EDGE = 0.03  # half the width of the soft edge, in face widths
FRINGE = 0.03  # matte around the edge, where stray hair must leave the background but hardly move with the head
GUIDE_NOISE = 0.03 * 255  # contrast under which the picture has no edge to follow


def person_matte(image: Image, face: Landmarks) -> Matte:
    """(H, W) uint8: 255 in the person to whom `face` belongs, 0 in the background, a soft edge along the picture's.

    Around the edge runs a fringe of faint matte, under which the background is painted anew.
    """
    height_px, width_px = image.shape[:2]
    if max(height_px, width_px) > FINEST_PX:
        scale = FINEST_PX / max(height_px, width_px)
        small = person_matte(_reduced(image, scale), replace(face, points=face.points * np.float32(scale)))
        return cv2.resize(small, (width_px, height_px), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    face_px = float(np.ptp(face.points[:, 0]))
    oval = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(oval, face.points[list(OVAL), :2].round().astype(np.int32), (1,))
    likely = np.maximum(_likely_person(image, face), oval.astype(np.float32))
    shape = _filled(_connected(_cut(image, likely), oval), hole_px=face_px / 2).astype(np.float32)
    edge_px = max(2, round(face_px * EDGE))
    soft = cv2.ximgproc.guidedFilter(guide=image, src=shape, radius=edge_px, eps=GUIDE_NOISE**2)
    steep = np.maximum(np.clip((soft - 0.1) / 0.6, 0, 1), cv2.erode(shape, _disc(edge_px)))
    near = cv2.dilate(shape, _disc(round(1.5 * edge_px)))
    matte: Matte = (np.maximum(steep, FRINGE) * near * 255).round().astype(np.uint8)
    return matte


def _cut(image: Image, likely: Floats) -> NDArray[np.bool_]:
    """Where the segmentation doubts, colours decide.

    Rother et al., "GrabCut" (2004): mixtures of the sure pixels' colours on either side, and a cut along edges.
    """
    height_px, width_px = likely.shape
    scale = min(1.0, CUT_PX / max(height_px, width_px))
    picture = _reduced(image, scale)
    small = cv2.resize(likely, picture.shape[1::-1], interpolation=cv2.INTER_AREA)
    marks = np.where(small > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    marks[small > SURE] = cv2.GC_FGD
    marks[small < 1 - SURE] = cv2.GC_BGD
    if (marks == cv2.GC_FGD).any() and (marks == cv2.GC_BGD).any():
        cv2.setRNGSeed(0)  # the mixtures start from random clusters
        cv2.grabCut(picture, marks, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 2, cv2.GC_INIT_WITH_MASK)
    person = ((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)).astype(np.float32)
    cut: NDArray[np.bool_] = cv2.resize(person, (width_px, height_px), interpolation=cv2.INTER_LINEAR) > 0.5
    return cut


def still_background(image: Image, matte: Matte) -> Image:
    """(H, W, 3) uint8: `image` with its person painted away; `image` itself wherever `matte` is 0.

    Lines that end at the person are drawn on behind it: Bertalmio et al., "Navier-Stokes, Fluid Dynamics, and Image and
    Video Inpainting" (2001). The deeper behind, the less they are to be trusted, and the softer they become.
    """
    shadow_px = max(2, round(max(matte.shape) / 400))  # a trace of the person reaches beyond the matte
    hidden: Matte = cv2.dilate((matte > 0).astype(np.uint8), _disc(shadow_px)).astype(np.uint8)
    filled = _drawn_on(image, hidden).astype(np.float32)
    if not hidden.all():
        noise = np.abs(image.astype(np.float32) - cv2.GaussianBlur(image, (0, 0), 1.5))[hidden == 0]
        deviation = float(np.percentile(noise, 10)) / 0.126  # as of normal noise: the quietest tenth sees no texture
        grain = np.random.default_rng(0).normal(0, min(deviation, MOST_GRAIN), (*matte.shape, 1))
        filled += grain.astype(np.float32)
    return np.where((matte == 0)[..., None], image, filled.clip(0, 255).astype(np.uint8))


def _drawn_on(image: Image, hidden: Matte) -> Image:
    """`image` with what is `hidden` (1) made up from around it; all of the mean colour where too little is known."""
    height_px, width_px = hidden.shape
    small = _reduced(image, min(1.0, FILLED_PX / max(height_px, width_px)))
    share = cv2.resize(hidden.astype(np.float32), small.shape[1::-1], interpolation=cv2.INTER_AREA)
    hole = (share > 0).astype(np.uint8)
    if hole.all():
        return np.broadcast_to(image.mean(axis=(0, 1)), image.shape).astype(np.uint8)
    filled = _inpainted(small, hole)
    depth_px = cv2.distanceTransform(hole, cv2.DIST_L2, 5)
    for sigma_px in SOFTENED_PX:
        deep = (depth_px / (2 * sigma_px) - 1).clip(0, 1)[..., None]
        side = 2 * round(STACK * sigma_px) + 1
        filled += deep * (cv2.stackBlur(filled, (side, side)) - filled)
    return cv2.resize(filled, (width_px, height_px), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def _inpainted(image: Image, hole: Matte) -> Floats:
    """(H, W, 3): `image` with its `hole` (1) filled, brightness by lines and colour by means.

    Each channel drawn on by itself would give lines fringes of colours that are nowhere around.
    """
    parts = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    known = (hole == 0).astype(np.float32)[..., None]
    parts[..., 0] = cv2.inpaint(np.ascontiguousarray(parts[..., 0]), hole, INPAINT_RADIUS_PX, cv2.INPAINT_NS)
    parts[..., 1:] = _spread(parts[..., 1:].astype(np.float32), known).round()
    return np.where(known, image, cv2.cvtColor(parts, cv2.COLOR_YCrCb2RGB)).astype(np.float32)


def _spread(means: Floats, known: Floats) -> Floats:
    """`means` (H, W, C) where they are `known` (H, W, 1) 0..1, continued by those of ever larger cells.

    Pull and push: Gortler et al., "The Lumigraph" (1996), section 3.4.
    """
    height_px, width_px = known.shape[:2]
    if known.all() or height_px == width_px == 1:
        return means
    half = (width_px + 1) // 2, (height_px + 1) // 2
    share = cv2.resize(known, half, interpolation=cv2.INTER_AREA)[..., None]
    sums = cv2.resize(means * known, half, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(
        _spread(sums / np.maximum(share, 1e-6), np.minimum(4 * share, 1)),
        (width_px, height_px),
        interpolation=cv2.INTER_LINEAR,
    )
    return np.asarray(coarse + known * (means - coarse), np.float32)


def _likely_person(image: Image, face: Landmarks) -> Floats:
    """How likely each pixel is a person's, (H, W), 0..1: the mean of looks at all, at the bust and at the head."""
    height_px, width_px = image.shape[:2]
    corners = np.stack([face.points[:, :2].min(axis=0), face.points[:, :2].max(axis=0)])
    centre, side_px = corners.mean(axis=0), float(np.ptp(corners, axis=0).max())
    total = np.zeros((height_px, width_px), np.float32)
    weights = np.full((height_px, width_px), 1e-6, np.float32)
    with quiet_stderr(), SelfieSegmentation(model_selection=0) as segmentation:
        for reach_px in (math.inf, 1.8 * side_px, 1.3 * side_px):
            left, top = (int(max(0, each - reach_px)) for each in centre)
            right, bottom = (
                int(min(size, each + reach_px)) for size, each in zip((width_px, height_px), centre, strict=True)
            )
            view = np.s_[top:bottom, left:right]
            plain = segmentation.process(np.ascontiguousarray(image[view])).segmentation_mask
            mirrored = segmentation.process(np.ascontiguousarray(image[view][:, ::-1])).segmentation_mask
            weight = np.outer(
                _window(bottom - top, fades_in=top > 0, fades_out=bottom < height_px),
                _window(right - left, fades_in=left > 0, fades_out=right < width_px),
            )
            total[view] += weight * (plain + mirrored[:, ::-1]) / 2
            weights[view] += weight
    likely: Floats = total / weights
    return likely


def _window(length_px: int, *, fades_in: bool, fades_out: bool) -> Floats:
    """Weights along a view's side: 1, falling to 0 over the last fifth before an end that is not the picture's."""
    ramp = np.minimum(1, np.linspace(0, 5, length_px, dtype=np.float32))
    one = np.ones(length_px, np.float32)
    return (ramp if fades_in else one) * (ramp[::-1] if fades_out else one)


def _connected(person: NDArray[np.bool_], oval: Matte) -> NDArray[np.bool_]:
    """The part of `person` that hangs together with the face's oval."""
    _, labels = cv2.connectedComponents(person.astype(np.uint8))
    within = np.bincount(labels[(oval > 0) & person], minlength=2)
    same: NDArray[np.bool_] = labels == within.argmax()
    return same


def _filled(person: NDArray[np.bool_], *, hole_px: float) -> NDArray[np.bool_]:
    """`person` without holes smaller than a square of `hole_px`; a bay at the picture's edge is no hole."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats((~person).astype(np.uint8), connectivity=4)
    hole = statistics[:, cv2.CC_STAT_AREA] < hole_px**2
    hole[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = False
    filled: NDArray[np.bool_] = person | hole[labels]
    return filled


def _reduced(image: Image, scale: float) -> Image:
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)


def _disc(radius_px: int) -> Matte:
    disc: Matte = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1)).astype(np.uint8)
    return disc
