"""The devices of v4l2loopback, Linux' virtual cameras: which there are, who holds them, and how to free a stuck one."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SYSFS = Path("/sys/class/video4linux")
DEVICES = Path("/dev")
PROCESSES = Path("/proc")

# From linux/videodev2.h
VIDIOC_QUERYCAP, VIDIOC_STREAMON, VIDIOC_STREAMOFF = 0x80685600, 0x40045612, 0x40045613
CAP_VIDEO_OUTPUT = 0x2
BUF_TYPE_VIDEO_OUTPUT = 2


def nodes() -> list[Path]:
    """Their device files, by number."""
    entries = SYSFS.glob("video*/max_openers")  # no other driver's devices have this
    return sorted(
        (DEVICES / entry.parent.name for entry in entries), key=lambda node: int(node.name.removeprefix("video"))
    )


def takes_pictures(node: Path) -> bool:
    """Whether it says so. With exclusive_caps it stops to when a program sends to it."""
    answer = bytearray(104)  # struct v4l2_capability
    with suppress(OSError):
        _control(node, (VIDIOC_QUERYCAP, answer))
    (capabilities,) = struct.unpack_from("I", answer, 84)
    return bool(capabilities & CAP_VIDEO_OUTPUT)


def holders(node: Path) -> Iterator[str]:
    """The programs that have it open, as far as this user may know."""
    for process in PROCESSES.glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            if any(Path(os.readlink(link)) == node for link in (process / "fd").iterdir()):
                yield f"{(process / 'comm').read_text().strip()} (process {process.name})"


def free(node: Path) -> None:
    """Make it take pictures again after a program that sent to it has ended; while one still does, it must not be.

    With exclusive_caps, version 0.12 notices only the end of programs that called VIDIOC_STREAMON, which pyvirtualcam
    does not: without this, a camera could be started once only (letmaik/pyvirtualcam#61, v4l2loopback#470).
    """
    if not takes_pictures(node):
        kind = bytearray(struct.pack("i", BUF_TYPE_VIDEO_OUTPUT))
        with suppress(OSError):  # another version, stuck in another way
            _control(node, (VIDIOC_STREAMON, kind), (VIDIOC_STREAMOFF, kind))


def _control(node: Path, *requests: tuple[int, bytearray]) -> None:
    if sys.platform != "linux":
        return
    import fcntl

    with node.open("r+b", buffering=0) as device:
        for number, argument in requests:
            fcntl.ioctl(device, number, argument)
