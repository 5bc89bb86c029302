"""The puppet as a camera for video calls: a sink whose pictures a process of their own shows at a steady rate."""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from puppet import v4l2
from puppet.framing import Framing, place
from puppet.preflight import Preflight, preflight
from puppet.shared_frames import SharedFrames
from puppet.types import Closing, Frame, PuppetError
from puppet.workers import Worker

__all__ = ["Framing", "Status", "VirtualCamera", "VirtualCameraUnavailable"]

logger = logging.getLogger(__name__)

WIDTH_PX, HEIGHT_PX = 1280, 720  # fixed: programs for calls do not bear a change
RETRY_FIRST_S, RETRY_LAST_S = 0.5, 8.0
COMMAND = "virtual-camera-sender"  # of the command line, unlisted
ROOT = Path(__file__).parents[1]  # where `python -m puppet` finds this very program, installed or not
START_TIMEOUT_S = 20.0  # a packed program on a slow disk, watched by a virus scanner
STOP_TIMEOUT_S = 1.5
NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # of a console, on Windows


@dataclass(frozen=True, slots=True)
class Status:
    """How the virtual camera is."""

    device: str = ""  # as other programs call it; empty while there is none
    fps: float = 0.0  # sent in the last second
    error: str = ""  # one sentence, while it does not work


class BackOff:
    """When to try again: after half a second, then ever more seldom."""

    def __init__(self) -> None:
        self.succeeded()

    def succeeded(self) -> None:
        self._delay_s, self._due_s = RETRY_FIRST_S, -math.inf

    def failed(self) -> None:
        self._due_s = time.monotonic() + self._delay_s
        self._delay_s = min(2 * self._delay_s, RETRY_LAST_S)

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._due_s


class VirtualCameraUnavailable(PuppetError, OSError):
    """There is no virtual camera that could be used; `check` says why not and what to do."""

    def __init__(self, check: Preflight) -> None:
        super().__init__(f"{check.problem} {check.advice}".strip())
        self.check = check


class VirtualCamera(Closing):
    """Shows what it is sent as a camera of 1280x720 at 30 frames per second, whatever the rate of `send`.

    framing, mirror: how pictures sit in it; assign others at any time. Mirroring is off because programs for calls
        mirror what they show to the user himself.
    Until the first frame, after two seconds without any, and at the end, even of a crash, it shows a splash. A camera
    that fails is opened again, and its process started again, with growing pauses; `status` says so meanwhile.
    Making one takes about a second. Raises VirtualCameraUnavailable.
    """

    def __init__(self, *, device: str | None = None, framing: Framing | None = None, mirror: bool = False) -> None:
        check = preflight(device)
        if not check.ok:
            raise VirtualCameraUnavailable(check)
        self.framing = framing or Framing()
        self.mirror = mirror
        self._frames = SharedFrames(width_px=WIDTH_PX, height_px=HEIGHT_PX)
        self._back_off = BackOff()
        self._open = True
        # Elsewhere the name is the camera's only one, or the back-ends know better which will do.
        self._device = check.device if sys.platform == "linux" else device
        self._start()
        heard = self._heard.wait(START_TIMEOUT_S)
        if not self._status.device:
            late = "its process ended" if heard else f"its process said nothing for {START_TIMEOUT_S:g} s"
            reason = self._status.error or late
            self.close()
            raise VirtualCameraUnavailable(
                Preflight(
                    problem=f"The virtual camera cannot be opened: {reason.rstrip('.')}.",
                    advice="Close whatever else may send to it, and try again.",
                )
            )

    @property
    def status(self) -> Status:
        """How it is now. From any thread."""
        code = self._process.poll()
        if code is not None and self._open:
            return Status(error=f"The virtual camera's process ended with code {code}.")
        return self._status

    def send(self, frame: Frame) -> None:
        """Show this from the next thirtieth of a second on; (h, w, 3) RGB or (h, w, 4) RGBA of any size."""
        if not self._open:
            raise VirtualCameraUnavailable(Preflight(problem="The virtual camera is closed and takes no more frames."))
        if self._process.poll() is not None:
            self._revive()
        with self._frames.writing() as picture:
            place(frame.image, self.framing, mirror=self.mirror, out=picture)

    def close(self) -> None:
        """Show the splash a last time and let go of the camera, within two seconds; once nobody sends any more."""
        if self._open:
            self._open = False
            self._stop()
            self._frames.close()
            self._status = Status()

    def _start(self) -> None:
        if sys.platform == "linux" and self._device:
            v4l2.free(Path(self._device))  # whoever sent to it has ended, as preflight saw, or was ours
        self._status = Status()
        self._heard = threading.Event()
        command = [*_program(), COMMAND, "--memory", self._frames.token]
        self._process = subprocess.Popen(
            [*command, "--device", self._device] if self._device else command,
            bufsize=0,  # a thread that waits in a buffered stream can upset the interpreter's end
            stdin=subprocess.PIPE,  # its end is the sign to end, and comes whatever happens to us
            stdout=subprocess.PIPE,
            cwd=ROOT,
            pass_fds=self._frames.inherited,
            creationflags=NO_WINDOW,
        )
        assert self._process.stdout is not None
        heard = self._heard
        self._listener = Worker("virtual camera", self._process.stdout, self._hear, ended=lambda error: heard.set())
        self._listener.start()

    def _hear(self, line: bytes) -> bool:
        """In the listener's thread: take note of a report, and announce trouble when it begins."""
        status = Status(**json.loads(line))
        if self._status.device and status.error:
            logger.warning("The virtual camera fails, and is opened again as soon as it can be: %s.", status.error)
        if status.fps:  # it has worked for a second
            self._back_off.succeeded()
        self._status = status
        self._heard.set()
        return True

    def _revive(self) -> None:
        """Start the process again, which ended by itself, unless that was just tried."""
        if self._back_off.due:
            self._back_off.failed()
            logger.warning("%s It is started again.", self.status.error)
            self._stop()
            self._start()

    def _stop(self) -> None:
        """End the process, by force if it must be, and the thread that listens to it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            logger.warning("The virtual camera's process hangs and was ended by force.")
            self._process.kill()
            self._process.wait()
        self._listener.join()
        self._process.stdout.close()


def _program() -> list[str]:
    """What starts this program, to be followed by its arguments: packed, it is its own interpreter."""
    return [sys.executable] if getattr(sys, "frozen", False) else [sys.executable, "-m", "puppet"]
