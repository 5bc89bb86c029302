"""Puppet with a stand-in for the drivers of virtual cameras: run as a program, it takes the same arguments.

The stand-in, by the name of the back-end in $FAKE_BACKEND, notes in the folder $FAKE_FOLDER what it is sent: a line in
`log` for each frame, its least and greatest byte of the first plane; the newest frame's bytes in `frame`. It does not
open while the folder has a file `missing`, and fails while it has one named `broken`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyvirtualcam.camera import BACKENDS, register_backend

from puppet.__main__ import main

FOLDER = Path(os.environ["FAKE_FOLDER"])


class FakeCamera:
    """As pyvirtualcam.Backend documents it."""

    def __init__(self, *, width: int, height: int, fps: float, fourcc: int, device: str | None, **_: Any) -> None:
        assert (width, height, fps) == (1280, 720, 30)
        if (FOLDER / "missing").exists():
            raise RuntimeError("There is\nno such camera")
        self._pixels = width * height
        self._fourcc = fourcc
        self._device = device or "Fake Camera"
        self._log = (FOLDER / "log").open("a")

    def send(self, frame: NDArray[np.uint8]) -> None:
        if (FOLDER / "broken").exists():
            raise RuntimeError("The cable is out")
        (FOLDER / "frame.new").write_bytes(frame.tobytes())
        os.replace(FOLDER / "frame.new", FOLDER / "frame")
        plane = frame[: self._pixels]
        self._log.write(f"{plane.min()} {plane.max()}\n")
        self._log.flush()

    def close(self) -> None:
        self._log.close()

    def device(self) -> str:
        return self._device

    def native_fourcc(self) -> int:
        return self._fourcc


if __name__ == "__main__":
    BACKENDS.clear()
    register_backend(os.environ["FAKE_BACKEND"], FakeCamera)
    sys.exit(main())
