"""Every source of pictures: the cameras of this computer, video files, and either of them played as live.

BGR becomes RGB here and nowhere else.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import av.device
import cv2
import numpy as np

from puppet.pipeline import run_with_timeout
from puppet.types import Closing, Frame, Image, Landmarks
from puppet.video import CameraError, VideoFile, VideoUnreadable

__all__ = ["CameraError", "CameraInfo", "CameraNotFound", "Paced", "VideoFile", "VideoUnreadable", "Webcam", "cameras"]

logger = logging.getLogger(__name__)
cv2.setLogLevel(2)  # errors only: its warnings of absent devices would surround our own sentence

OPEN_TIMEOUT_S = 10.0
RETRY_DELAYS_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)  # what an unplugged camera gets to come back: some 16 s
FAILED_READS = 5  # in a row mean that the camera is gone
MEASURED_FRAMES = 60
BACKENDS = {"linux": cv2.CAP_V4L2, "win32": cv2.CAP_DSHOW, "darwin": cv2.CAP_AVFOUNDATION}
SYSFS = Path("/sys/class/video4linux")
VIRTUAL_NAMES = ("virtual camera", "virtualcam", "obs-camera", "video capture (virtual)", "puppet")
PROBED_DEVICES = 6

HOPELESS_NS = 150_000_000  # later than this, waiting for the file beats skipping ever more of it


class CameraNotFound(CameraError, LookupError):
    """There is no such camera, or nothing can be had from it."""


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """A camera that can be opened: `Webcam(info.device)`."""

    device: int
    name: str


def cameras() -> list[CameraInfo]:
    """The cameras of this computer, leaving out virtual ones (our own, OBS's, v4l2loopback's)."""
    if sys.platform == "linux":
        found = _linux_cameras()
    elif sys.platform == "win32":
        # OpenCV counts the devices that DirectShow lists, in the same order.
        devices = [info for info in av.device.enumerate_input_devices("dshow") if "video" in info.media_types]
        found = [CameraInfo(number, info.description) for number, info in enumerate(devices)]
    else:
        found = [CameraInfo(number, f"Camera {number}") for number in range(PROBED_DEVICES) if _exists(number)]
    return [info for info in found if not any(name in info.name.lower() for name in VIRTUAL_NAMES)]


def _linux_cameras() -> list[CameraInfo]:
    found = []
    for entry in SYSFS.glob("video*"):
        # A camera has several nodes, of which number 0 gives the pictures; loopback devices belong to no hardware.
        if (entry / "index").read_text().strip() == "0" and "virtual" not in entry.resolve().parts:
            found.append(CameraInfo(int(entry.name.removeprefix("video")), (entry / "name").read_text().strip()))
    return sorted(found, key=lambda info: info.device)


def _exists(device: int) -> bool:
    capture = cv2.VideoCapture(device, BACKENDS.get(sys.platform, cv2.CAP_ANY))
    try:
        return capture.isOpened()
    finally:
        capture.release()


class Webcam(Closing):
    """A camera of this computer, by number, by device path, or by its name in `cameras()`.

    Asks for the given size and rate; `width_px`, `height_px` and, once some frames came, `fps` say what it gives.
    A camera that vanishes while iterating is awaited for some 16 s, with a warning, and carries on when it is back;
    then CameraError. Iterate in one thread at a time; `close` may come from another. Raises CameraNotFound.
    """

    def __init__(self, device: int | str, *, width_px: int = 640, height_px: int = 480, fps: int = 30) -> None:
        self.device = device
        self.fps = Fraction(fps)
        self._wanted = [
            *(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
            *(cv2.CAP_PROP_FRAME_WIDTH, width_px),
            *(cv2.CAP_PROP_FRAME_HEIGHT, height_px),
            *(cv2.CAP_PROP_FPS, fps),
        ]
        self._closed = threading.Event()
        self._reading = threading.Lock()  # around every use of the capture: two threads at once would crash in OpenCV
        self._capture = self._connect()

    def _connect(self) -> cv2.VideoCapture:
        """Open the device and wait for its first picture, at most OPEN_TIMEOUT_S: a driver can hang in either."""
        device = _device(self.device)

        def op() -> tuple[cv2.VideoCapture, Image | None]:
            backend = BACKENDS.get(sys.platform, cv2.CAP_ANY)
            capture = cv2.VideoCapture(device, backend, self._wanted)
            if not capture.isOpened():  # some drivers refuse to open rather than serve what they can
                capture = cv2.VideoCapture(device, backend)
            return capture, _read(capture)

        try:
            capture, image = run_with_timeout(op, timeout_s=OPEN_TIMEOUT_S, discard=lambda opened: opened[0].release())
        except TimeoutError:
            raise CameraNotFound(
                f"The camera {self.device} does not answer; close other programs that use it, or plug it in anew."
            ) from None
        if image is None:
            capture.release()
            raise CameraNotFound(
                f"The camera {self.device} gives no picture; see that it is plugged in and not used by another program."
            )
        self.height_px, self.width_px = image.shape[:2]
        return capture

    def __iter__(self) -> Iterator[Frame]:
        index, failed_reads = 0, 0
        times_ns: deque[int] = deque(maxlen=MEASURED_FRAMES)
        while True:
            with self._reading:
                if self._closed.is_set():
                    self._capture.release()
                    return
                image = _read(self._capture)
            time_ns = time.monotonic_ns()
            if image is not None:
                if times_ns:
                    self.fps = Fraction(len(times_ns) * 1_000_000_000, time_ns - times_ns[0]).limit_denominator(1000)
                times_ns.append(time_ns)
                yield Frame(image, index, time_ns)
                index, failed_reads = index + 1, 0
            elif failed_reads < FAILED_READS:
                failed_reads += 1
            else:
                self._reconnect()
                index += 1  # the gap shows that something is missing here
                times_ns.clear()

    def _reconnect(self) -> None:
        logger.warning("The camera %s disappeared; waiting for it to come back.", self.device)
        with self._reading:
            self._capture.release()
        for delay_s in RETRY_DELAYS_S:
            if self._closed.wait(delay_s):
                return
            try:
                capture = self._connect()
            except CameraNotFound:
                continue
            with self._reading:
                self._capture = capture
            logger.warning("The camera %s is back.", self.device)
            return
        raise CameraError(f"The camera {self.device} disappeared and did not come back; plug it in and start again.")

    def close(self) -> None:
        """End the iteration and free the device; if a read hangs in the driver, as soon as it returns."""
        self._closed.set()
        if self._reading.acquire(timeout=1.0):
            self._capture.release()
            self._reading.release()


def _read(capture: cv2.VideoCapture) -> Image | None:
    read, bgr = capture.read()
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8) if read else None


def _device(device: int | str) -> int | str:
    if isinstance(device, int) or Path(device).exists():
        return device
    known = cameras()
    for info in known:
        if info.name == device:
            return info.device
    names = ", ".join(info.name for info in known) or "none"
    raise CameraNotFound(f"There is no camera {device}; found: {names}.")


T = TypeVar("T", bound=Frame | Landmarks | None)
T_co = TypeVar("T_co", bound=Frame | Landmarks | None, covariant=True)


class _Played(Protocol[T_co]):
    @property
    def fps(self) -> Fraction: ...

    @property
    def width_px(self) -> int: ...

    @property
    def height_px(self) -> int: ...

    def __iter__(self) -> Iterator[T_co]: ...


class Paced(Closing, Generic[T]):
    """Plays a VideoFile or a Recording as a live camera: at its fps, with the clock's times, over and over.

    Indices count what was due; what cannot be delivered in time is skipped, which shows as a gap.
    """

    def __init__(self, camera: _Played[T], *, loop: bool = True) -> None:
        self.fps, self.width_px, self.height_px = camera.fps, camera.width_px, camera.height_px
        self._camera = camera
        self._loop = loop
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[T]:
        period_ns = int(1_000_000_000 / self.fps)
        due_ns = None
        index = 0
        while True:
            for item in self._camera:
                now_ns = time.monotonic_ns()
                if due_ns is None or now_ns - due_ns > HOPELESS_NS:
                    due_ns = now_ns
                if self._closed.wait(max(0, due_ns - now_ns) / 1e9):
                    return
                if now_ns - due_ns < period_ns:
                    yield _stamped(item, index)
                due_ns += period_ns
                index += 1
            if not self._loop:
                return

    def close(self) -> None:
        """End the iteration. The camera that is played stays the caller's."""
        self._closed.set()


def _stamped(item: T, index: int) -> T:
    if item is None:
        return item
    return dataclasses.replace(item, index=index, time_ns=time.monotonic_ns())
