"""Keeps a slow computer above the frame rate at which faces look alive, by doing less per frame, and says so."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from puppet.types import Landmarks

logger = logging.getLogger(__name__)

LEAST_FPS: Final = 25.0
WINDOW_S: Final = 3.0  # over which the rate is measured, anew after each change
TRIAL_S: Final = 60.0  # until more is tried again; twice as long after each trial that failed
# What each level does, after "This computer is slow: ".
LEVELS: Final = ("", "the portrait is painted more simply", "the face is followed in every second picture")
PAINT_LESS, FOLLOW_LESS = 1, 2


class Economy:
    """Called for every painted frame; `level` is an index into LEVELS, each of which includes those before."""

    def __init__(self) -> None:
        self.level = 0
        self._frames: deque[tuple[int, int]] = deque()
        self._changed_ns: int | None = None
        self._trial_s = TRIAL_S

    def __call__(self, index: int, time_ns: int) -> int:
        """index: the camera's count of the frame; time_ns: when it was captured. Gives the level from now on."""
        if self._changed_ns is None:
            self._changed_ns = time_ns
        self._frames.append((index, time_ns))
        while time_ns - self._frames[0][1] > WINDOW_S * 1e9:
            self._frames.popleft()
        since_s = (time_ns - self._changed_ns) / 1e9
        if since_s > WINDOW_S and len(self._frames) > 1:
            painted_fps, camera_fps = self._rates()
            if painted_fps < LEAST_FPS <= camera_fps and self.level + 1 < len(LEVELS):
                if self._trial_s > TRIAL_S and since_s > self._trial_s:
                    self._trial_s = TRIAL_S  # the last trial went well for long; this is another trouble
                self._change(self.level + 1, time_ns)
            elif self.level and since_s > self._trial_s and painted_fps >= LEAST_FPS:
                self._trial_s *= 2
                self._change(self.level - 1, time_ns)
        return self.level

    def wait(self, time_ns: int) -> None:
        """Judge anew from this frame's time on: what slows the computer down just now is soon over."""
        self._frames.clear()
        self._changed_ns = time_ns

    def _rates(self) -> tuple[float, float]:
        (first, start_ns), (last, end_ns) = self._frames[0], self._frames[-1]
        span_s = max(end_ns - start_ns, 1) / 1e9
        return (len(self._frames) - 1) / span_s, (last - first) / span_s

    def _change(self, level: int, time_ns: int) -> None:
        worse = level > self.level
        self.level, self._changed_ns = level, time_ns
        self._frames.clear()
        if worse:
            logger.warning("This computer is slow: %s from now on.", LEVELS[level])
        else:
            logger.info("tries economy level %d again", level)


def foreseen(followed: Sequence[Landmarks], *, index: int, time_ns: int) -> Landmarks:
    """The face in a picture that is not looked at, as it was going in the last two (earlier first) that were."""
    former, last = followed
    ahead = min(1.0, (time_ns - last.time_ns) / max(1, last.time_ns - former.time_ns))
    points = last.points + ahead * (last.points - former.points)
    return replace(last, points=points.astype(last.points.dtype), index=index, time_ns=time_ns)
