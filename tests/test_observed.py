"""The observed source: it hands everything on, and comes back from every loss of its camera."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from puppet.camera import CameraError
from puppet.types import Frame
from ui.observed import Observed

LOSSES = 10


class Loose:
    """A camera whose plug falls out after each third picture."""

    def __init__(self, *, brightness: int = 100) -> None:
        self.closed = False
        self._image = np.full((48, 64, 3), brightness, np.uint8)

    def __iter__(self) -> Iterator[Frame]:
        for index in range(3):
            yield Frame(self._image, index, 0)
        raise CameraError("The plug fell out.")

    def close(self) -> None:
        self.closed = True


def test_every_loss_is_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.observed.RETRY_S", 0.1)
    cameras = [Loose() for _ in range(LOSSES + 1)]
    rest = iter(cameras[1:])
    tries = 0

    def reopen() -> Loose:
        nonlocal tries
        tries += 1
        if tries % 2:
            raise CameraError("There is no such camera.")
        return next(rest)

    observed = Observed(cameras[0], reopen=reopen)
    pictures = idle = 0
    troubles = set()
    for item in observed:
        pictures += item is not None
        idle += item is None
        troubles.add(observed.trouble)
        if pictures == 3 * (LOSSES + 1):
            break
    observed.close()
    assert all(camera.closed for camera in cameras)
    assert idle >= 2 * LOSSES  # the portrait idles all the while
    assert troubles == {"", "The plug fell out.", "There is no such camera."}


def test_light_is_measured() -> None:
    observed = Observed(Loose(brightness=30), reopen=Loose)
    items = iter(observed)
    assert next(items) is observed.newest
    assert observed.light == 30
    assert not observed.is_silent
    assert observed.fps is None


def test_closing_ends_it_while_the_camera_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.observed.RETRY_S", 60.0)
    observed = Observed(Loose(), reopen=Loose)
    for item in observed:
        if item is None:
            observed.close()
