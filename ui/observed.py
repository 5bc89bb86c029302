"""A source that can be looked at while it drives the portrait, and that outlives the loss of its camera."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from puppet.types import Closing, Frame, Landmarks

if TYPE_CHECKING:
    from puppet.live import Source

logger = logging.getLogger(__name__)

RETRY_S: Final = 2.0
RATE_FRAMES: Final = 45
LIGHT_EVERY: Final = 10  # pictures
LIGHT_STEP_PX: Final = 16
LIGHT_SHARE: Final = 0.2  # of each new sample in the mean
NO_PICTURE_S: Final = 1.5


class Observed(Closing):
    """Hands on what `source` yields, once, in the camera's thread; the rest may be asked for from any thread.

    When the camera fails for good, it is silent, so that the portrait idles, and every two seconds `reopen` is called
    to get another source; both may raise CameraError.
    """

    def __init__(self, source: Source, *, reopen: Callable[[], Source]) -> None:
        self.newest: Frame | None = None  # the last picture; None if the source has none
        self.light: float | None = None  # mean brightness of late, 0..255
        self.trouble = ""  # what the camera's failure said, while that lasts
        self._source = source
        self._reopen = reopen
        self._closed = threading.Event()
        self._times_ns: deque[int] = deque(maxlen=RATE_FRAMES)
        self._began_ns = time.monotonic_ns()

    @property
    def fps(self) -> float | None:
        """Of late; None as long as too few items came."""
        times_ns = list(self._times_ns)
        if len(times_ns) < RATE_FRAMES:
            return None
        return (len(times_ns) - 1) * 1e9 / max(1, times_ns[-1] - times_ns[0])

    @property
    def is_silent(self) -> bool:
        """Whether nothing has come for a while, though the source has not failed."""
        last_ns = self._times_ns[-1] if self._times_ns else self._began_ns
        return (time.monotonic_ns() - last_ns) * 1e-9 > NO_PICTURE_S

    def __iter__(self) -> Iterator[Frame | Landmarks | None]:
        from puppet.video import CameraError

        while not self._closed.is_set():
            try:
                for item in self._source:
                    self._note(item)
                    yield item
            except CameraError as error:
                logger.warning("%s", error)
                self.trouble = str(error)
            else:
                return
            self._source.close()
            while self.trouble and not self._closed.wait(RETRY_S):
                try:
                    self._source = self._reopen()
                except CameraError as error:
                    self.trouble = str(error)
                else:
                    self.trouble = ""
                    self._times_ns.clear()
            if self._closed.is_set():
                self._source.close()  # it was opened while we were being closed

    def close(self) -> None:
        self._closed.set()
        self._source.close()

    def _note(self, item: Frame | Landmarks | None) -> None:
        self._times_ns.append(time.monotonic_ns())
        if not isinstance(item, Frame):
            return
        self.newest = item
        if item.index % LIGHT_EVERY == 0:
            light = float(np.mean(item.image[::LIGHT_STEP_PX, ::LIGHT_STEP_PX]))
            self.light = light if self.light is None else self.light + LIGHT_SHARE * (light - self.light)
