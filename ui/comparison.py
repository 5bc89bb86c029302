"""Before and after, side by side: one portrait, moved by the same motion, painted by two engines."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Final

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from puppet.album import gather
from puppet.library import Entry
from puppet.motion import NEUTRAL_S
from puppet.settings import COARSE_PX
from puppet.thumbnails import sample_motions
from puppet.tracking import face_width_px
from puppet.types import Engine, Image, Landmarks, PortraitEmbedding, PuppetError
from ui import theme
from ui.backstage import Tuning
from ui.language import tr
from ui.preview import Preview

logger = logging.getLogger(__name__)

FPS: Final = 15  # at most
JUDGED_EVERY: Final = 12  # frames, since judging takes as long as painting one
REACH: Final = 2.4  # side of what is shown, in face widths: likeness is in the face
LEAST_PX: Final = 260


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """One frame of both."""

    before: Image  # a square around the face
    after: Image
    realism: tuple[float, float] | None  # means up to now, 0..1; None if the engines cannot tell


def moments(entry: Entry, tuned: Path, *, tuning: Tuning, until: Event) -> Iterator[Moment]:
    """A portrait, as it is painted now and with what was `tuned`. Raises PuppetError.

    The bundled motion plays over and over, at its own pace; frames for which there is no time are left out.
    """
    portrait = gather(entry.picture, entry.more, selection=entry.selection, long_side_px=COARSE_PX)
    with _former(entry, tuning) as before, tuning.load(entry.picture, tuned) as after:
        engines = before, after
        yield from _moved(engines, [engine.embed(portrait) for engine in engines], until)


def _former(entry: Entry, tuning: Tuning) -> Engine:
    try:
        return tuning.load(entry.picture, entry.tuned)
    except PuppetError as error:
        logger.warning("The comparison is with the portrait untuned: %s", error)
        return tuning.load(entry.picture, None)


def _moved(engines: Sequence[Engine], embeddings: Sequence[PortraitEmbedding], until: Event) -> Iterator[Moment]:
    frame_ns = sample_motions()[1].time_ns
    motions = [motion for motion in sample_motions() if motion.time_ns > NEUTRAL_S * 1e9]  # until then all rests
    around = _around(embeddings[0].portrait.landmarks)
    begun_ns = time.monotonic_ns()
    scores: list[list[float]] = []
    can_tell, count = True, 0
    while not until.is_set():
        start_ns = time.monotonic_ns()
        motion = motions[(start_ns - begun_ns) // frame_ns % len(motions)]
        before, after = (
            engine.animate(embedding, motion)[around] for engine, embedding in zip(engines, embeddings, strict=True)
        )
        if can_tell and count % JUDGED_EVERY == JUDGED_EVERY - 1:
            found = _realism(engines)
            can_tell = len(found) == len(engines)
            scores += [found] if can_tell else []
        count += 1
        mean = np.mean(scores, axis=0).tolist() if scores else None
        yield Moment(before, after, (mean[0], mean[1]) if mean else None)
        until.wait(max(0.0, 1 / FPS - (time.monotonic_ns() - start_ns) * 1e-9))


def _around(face: Landmarks) -> tuple[slice, slice]:
    """Rows and columns of the largest square around a face with little else in it."""
    size = np.array([face.height_px, face.width_px])
    side = min(*size, round(REACH * face_width_px(face)))
    centre = face.points[:, 1::-1].mean(axis=0)
    top, left = np.clip(centre - side / 2, 0, size - side).astype(int).tolist()
    return slice(top, top + side), slice(left, left + side)


def _realism(engines: Sequence[Engine]) -> list[float]:
    """Of what each painted last, as far as they can tell."""
    try:
        found = [engine.realism() for engine in engines]
    except PuppetError as error:
        logger.warning("The comparison goes without scores of realism: %s", error)
        return []
    return [score for score in found if score is not None]


class Comparison(QWidget):
    """Shows moments; both pictures are of one size."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.before, self.after = Preview(), Preview()
        self._scores = QLabel(), QLabel()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(theme.MARGIN_PX)
        for title, view, score in (
            (tr("As it was"), self.before, self._scores[0]),
            (tr("Tuned"), self.after, self._scores[1]),
        ):
            heading = QLabel(title)
            heading.setProperty("role", "heading")
            view.setMinimumSize(LEAST_PX, LEAST_PX)
            view.setAccessibleName(title)
            score.setProperty("role", "hint")
            score.setToolTip(
                tr("How likely a judge, which learnt to tell them apart, takes it for true: 50 % is undecided")
            )
            head = QHBoxLayout()
            head.addWidget(heading)
            head.addWidget(score, stretch=1, alignment=Qt.AlignmentFlag.AlignRight)
            column = QVBoxLayout()
            column.addLayout(head)
            column.addWidget(view, stretch=1)
            row.addLayout(column)

    def show_moment(self, moment: Moment) -> None:
        self.before.show_image(moment.before)
        self.after.show_image(moment.after)
        if moment.realism is not None:
            for label, score in zip(self._scores, moment.realism, strict=True):
                label.setText(tr("looks real: {percent} %").format(percent=f"{100 * score:.0f}"))
