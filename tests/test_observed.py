"""The observed source: it hands everything on, and comes back from every loss of its camera."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest

from puppet.camera import CameraError
from puppet.types import Frame
from puppet.workers import Call
from ui.observed import Observed

LOSSES = 10
PATIENCE_S = 10.0


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
    monkeypatch.setattr("ui.observed.RETRY_S", 0.0)
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
    pictures = list(islice(observed, 3 * (LOSSES + 1)))
    observed.close()
    assert all(isinstance(picture, Frame) for picture in pictures)
    assert tries == 2 * LOSSES
    assert observed.trouble == ""
    assert all(camera.closed for camera in cameras)


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
    lost = threading.Event()
    monkeypatch.setattr("ui.observed.logger.warning", lambda text, error: lost.set())

    def close() -> bool:
        assert lost.wait(PATIENCE_S)
        observed.close()
        return True

    closing = Call("test", close, discard=lambda closed: None)
    assert len(list(observed)) == 3
    assert observed.trouble == "The plug fell out."
    assert closing.wait(PATIENCE_S)
    assert closing.result()
