"""A tracker that is loaded while others work: it sees nobody until it is, and becomes quick a little later."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from puppet.tracking import FaceTracker, load_follower
from puppet.types import Closing, Frame, Landmarks
from puppet.workers import Call

if TYPE_CHECKING:
    from puppet.follower import Follower

THREADS = 2  # that follow the face: what paints waits for it
LOADING_S = 1.0  # what closing waits for what is just being loaded


class LazyTracker(Closing):
    """Loads a FaceTracker at its first frame, as recorded motion needs none; then what follows a face faster."""

    def __init__(self) -> None:
        self._tracker: Call[FaceTracker] | None = None
        self._follower: Call[Follower | None] | None = None
        self._quick = False

    @property
    def loading(self) -> bool:
        """Whether it is at that, which slows others down."""
        return self._tracker is not None and not self._quick

    def __call__(self, frame: Frame) -> Landmarks | None:
        if self._tracker is None:
            self._tracker = Call("tracker's loading", _load_tracker, discard=lambda tracker: tracker.close())
        if not self._tracker.wait(0):
            return None
        tracker = self._tracker.result()
        if self._follower is None:
            self._follower = Call("follower's loading", _load_follower, discard=lambda follower: None)
        elif not self._quick and self._follower.wait(0):
            self._quick = True
            tracker.follow_with(self._follower.result())
        return tracker(frame)

    def close(self) -> None:
        """Only where no call is under way."""
        for call in (self._tracker, self._follower):
            if call is not None:
                call.wait(LOADING_S)
                call.abandon()


def _load_follower() -> Follower | None:
    return load_follower(threads=min(THREADS, os.cpu_count() or 1))


def _load_tracker() -> FaceTracker:
    return FaceTracker(follower=False)
