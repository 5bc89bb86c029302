"""Whether a computer paints fast enough for an engine to be chosen unasked: measured once a week, and remembered."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import Final

import cv2
import numpy as np
from platformdirs import user_cache_path

from puppet import canonical, facemesh
from puppet.types import BLENDSHAPE_COUNT, LANDMARK_COUNT, Landmarks, Portrait

logger = logging.getLogger(__name__)

BUDGET_MS: Final = {1: 16.0, 2: 24.0}  # by cores, of 40 ms at 25 fps: tracking and showing want the rest of so few
WHOLE_BUDGET_MS: Final = 40.0
KEPT_S: Final = 7 * 24 * 3600
WARM_UP, TRIALS = 3, 7
FACE_SHARE = 0.4  # of the trial picture's side
MESH_COUNT = len(canonical.VERTICES)


def budget_ms(*, live: bool) -> float:
    """What painting one frame may take here; into a file, where nobody waits for it, as long as it is not seen live."""
    return BUDGET_MS.get(os.cpu_count() or 1, WHOLE_BUDGET_MS) if live else WHOLE_BUDGET_MS


def remembered(subject: str, measure: Callable[[], float], *, folder: Path | None = None) -> float:
    """What `measure` gave for `subject` during the last week on this computer, or gives now; ms."""
    folder = folder or _folder()
    file = folder / sha256(f"{subject} {os.cpu_count()}".encode()).hexdigest()[:16]
    try:
        if time.time() - file.stat().st_mtime < KEPT_S:
            return float(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        pass  # not measured yet, or damaged: measured anew
    pace_ms = measure()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{pace_ms:.2f}", encoding="ascii")
    except OSError as error:
        logger.info("the pace could not be kept: %s", error)
    return pace_ms


def forget() -> None:
    """Measure anew from now on: something has made this computer faster."""
    rmtree(_folder(), ignore_errors=True)


def _folder() -> Path:
    return user_cache_path("puppet") / "pace"


def trial_portrait(side_px: int) -> Portrait:
    """The canonical face on a picture of noise, (side_px, side_px): painting it takes as long as painting any other."""
    mesh = np.concatenate([canonical.VERTICES, np.zeros((LANDMARK_COUNT - MESH_COUNT, 3))])
    for lids, iris in zip(zip(facemesh.LID_UPPER, facemesh.LID_LOWER, strict=True), facemesh.IRIS, strict=True):
        mesh[list(iris)] = mesh[[index for lid in lids for index in lid]].mean(axis=0)
    points = (mesh * (FACE_SHARE * side_px / np.ptp(mesh[:, 0])) + [side_px / 2, side_px / 2, 0]).astype(np.float32)
    noise = np.random.default_rng(0).integers(0, 256, (side_px, side_px, 3), np.uint8)
    image = np.asarray(cv2.GaussianBlur(noise, (0, 0), 3), np.uint8)
    matte = np.zeros((side_px, side_px), np.uint8)
    cv2.fillConvexPoly(matte, cv2.convexHull(np.rint(points[:, :2]).astype(np.int32)), 255)
    face = Landmarks(points, np.zeros(BLENDSHAPE_COUNT, np.float32), np.eye(4, dtype=np.float32), side_px, side_px)
    return Portrait(image, face, matte, image[::-1].copy(), key="trial")


def median_ms(work: Callable[[], float]) -> float:
    """The median of what `work`, which gives seconds, took once it was warm."""
    return 1000 * float(np.median([work() for _ in range(WARM_UP + TRIALS)][WARM_UP:]))
