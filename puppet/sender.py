"""The virtual camera's own process: shows the newest shared picture at a steady rate, and a splash when none comes.

A process apart, so that a stall or crash of the program leaves no frozen user in a call; so that a crash in a driver
does not take the program along; and because pyvirtualcam is under the GPL: no other module imports it. `virtual_camera`
starts it, by way of the command line. It says how it is on stdout, a Status in JSON a line, and ends when stdin does.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont
from pyvirtualcam import Camera, PixelFormat
from pyvirtualcam.camera import BACKENDS

from puppet import v4l2
from puppet.framing import GROUND
from puppet.shared_frames import SharedFrames
from puppet.types import Image
from puppet.virtual_camera import HEIGHT_PX, WIDTH_PX, BackOff, Status
from puppet.workers import Worker

FPS = 30
SPLASH_AFTER_S = 2.0  # of silence; a shorter one is a dip, in which the last picture stays
FAREWELL_FRAMES = 10  # of splash: what comes last stays in the viewers' buffers


def run(*, memory: str, device: str | None) -> None:
    """Send until stdin ends. `memory` is the token of the SharedFrames; without a device, the first free one serves."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches us too; the program ends us in its turn
    cv2.setNumThreads(1)  # the other cores are the program's
    parent_gone = threading.Event()
    parent = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    Worker("parent", parent, lambda line: True, ended=lambda error: parent_gone.set()).start()
    frames = SharedFrames(width_px=WIDTH_PX, height_px=HEIGHT_PX, token=memory)
    output = Output(device, _reporter())
    picture = nothing = splash()
    seen, seen_s = frames.count, -math.inf
    due_s = time.perf_counter()
    farewell = FAREWELL_FRAMES
    while farewell:
        if parent_gone.is_set():
            farewell -= 1
            picture = nothing
        elif frames.count != seen:
            seen, seen_s = frames.count, time.perf_counter()
            copy = frames.read(np.copy)
            picture = picture if copy is None else copy
        elif time.perf_counter() - seen_s > SPLASH_AFTER_S:
            picture = nothing
        output.send(picture)
        due_s = max(due_s + 1 / FPS, time.perf_counter())  # what could not be sent in time is not made up for
        time.sleep(max(0.0, due_s - time.perf_counter()))
    output.close()


class Output:
    """A camera of pyvirtualcam that is opened again whenever it fails. `report` gets every news, and the rate."""

    def __init__(self, device: str | None, report: Callable[[Status], None]) -> None:
        self._wanted = device
        self._report = report
        self._camera: Camera | None = None
        self._convert: Callable[[Image], NDArray[np.uint8]] = np.asarray
        self._back_off = BackOff()
        self._status = Status()
        self._counted, self._counted_s = 0, 0.0

    def send(self, image: Image) -> None:
        """Show (720, 1280, 3) RGB, if it can be shown."""
        try:
            if self._camera is None and self._back_off.due:
                self._camera, self._convert = open_camera(self._wanted)
            if self._camera is not None:
                self._camera.send(self._convert(image))
                self._back_off.succeeded()
                self._count(self._camera.device)
        except (OSError, RuntimeError, ValueError) as error:  # the kinds that back-ends raise
            self._back_off.failed()
            self.close()
            self._tell(Status(error=" ".join(str(error).split())))

    def close(self) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            device = camera.device
            camera.close()
            if sys.platform == "linux":
                v4l2.free(Path(device))

    def _count(self, device: str) -> None:
        """Take note of a frame that was sent: the first one is news, and every second the rate."""
        now_s = time.perf_counter()
        if self._status.device != device:
            self._counted, self._counted_s = 0, now_s
            self._tell(Status(device))
            return
        self._counted += 1
        if now_s - self._counted_s >= 1:
            self._tell(Status(device, fps=round(self._counted / (now_s - self._counted_s), 2)))
            self._counted, self._counted_s = 0, now_s

    def _tell(self, status: Status) -> None:
        if status != self._status:
            self._status = status
            self._report(status)


def open_camera(device: str | None) -> tuple[Camera, Callable[[Image], NDArray[np.uint8]]]:
    """The first back-end that has a camera for us, and what turns RGB into the format that it passes on as it is.

    Raises RuntimeError with the back-ends' reasons.
    """
    native = {
        "v4l2loopback": (PixelFormat.I420, to_i420),
        "obs": (PixelFormat.NV12, to_nv12) if sys.platform == "win32" else (PixelFormat.UYVY, to_uyvy),
        "unitycapture": (PixelFormat.RGBA, to_rgba),
    }
    reasons = []
    for backend in BACKENDS:
        fmt, convert = native.get(backend, (PixelFormat.RGB, np.asarray))
        try:
            return Camera(WIDTH_PX, HEIGHT_PX, FPS, fmt=fmt, device=device, backend=backend), convert
        except RuntimeError as error:
            reasons.append(str(error))
    raise RuntimeError("; ".join(reasons))


def to_i420(image: Image) -> NDArray[np.uint8]:
    """The planes Y, U and V, the latter two at half size; BT.601 in limited range, here as in the others."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), np.uint8).reshape(-1)


def to_nv12(image: Image) -> NDArray[np.uint8]:
    """The plane Y, then U and V in turn at half size."""
    planes = to_i420(image)
    chroma = planes[image.shape[0] * image.shape[1] :]
    chroma[:] = chroma.reshape(2, -1).T.flatten()
    return planes


def to_uyvy(image: Image) -> NDArray[np.uint8]:
    """U, Y, V, Y for every two pixels of a row."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_UYVY), np.uint8).reshape(-1)


def to_rgba(image: Image) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), np.uint8)


def splash() -> Image:
    """The program's name on plain ground, (720, 1280, 3) RGB."""
    picture = Pictures.new("RGB", (WIDTH_PX, HEIGHT_PX), GROUND)
    font = ImageFont.load_default(96)
    ImageDraw.Draw(picture).text((WIDTH_PX / 2, HEIGHT_PX / 2), "Puppet", (222, 222, 226), font, anchor="mm")
    return np.array(picture)


def _reporter() -> Callable[[Status], None]:
    """Writes to what was stdout, which from now on is stderr: a back-end that prints must not disturb."""
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def report(status: Status) -> None:
        try:
            stream.write(json.dumps(asdict(status)) + "\n")
        except OSError:  # nobody listens any more: stdin will end in a moment
            return

    return report
