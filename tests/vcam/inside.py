"""Runs in the emulated machine, as root: sends through a real v4l2loopback, reads back through V4L2, reports.

    inside.py MODULE.ko

The last line that it prints is the report, in JSON, after REPORT.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet import virtual_camera
from puppet.preflight import preflight
from puppet.sender import splash
from puppet.types import Frame, Image
from puppet.virtual_camera import VirtualCamera

DEVICE = "/dev/video10"
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (250, 180, 120))
GREYS = range(20, 240, 2)
EVERY = 32  # of the columns is looked at, and every row: whole pictures take too long here
PATIENCE_S = 90.0

virtual_camera.START_TIMEOUT_S = PATIENCE_S  # the machine is some thirty times slower than a real one


def main(module: str) -> None:
    report: dict[str, Any] = {"before": preflight().problem}
    options = ("devices=2", "video_nr=10,11", "exclusive_caps=1,1", "card_label=Puppet,Other")
    subprocess.run(["insmod", module, *options], check=True)
    report["loaded"] = preflight().device
    with VirtualCamera() as camera:
        report["device"] = camera.status.device
        report["held"] = preflight(DEVICE).problem
        report["free"] = preflight().device
        report["format"] = Path("/sys/class/video4linux/video10/format").read_text().strip()
        reader = cv2.VideoCapture(DEVICE, cv2.CAP_V4L2)
        # The driver's own ring is not locked: it overwrites what a viewer as slow as this one is about to read. So the
        # ring is made as long as it can be, and what comes is copied as it is, at once.
        reader.set(cv2.CAP_PROP_BUFFERSIZE, 8)
        reader.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        try:
            report["size"] = [int(reader.get(place)) for place in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
            report["splash_error"] = error_until(reader, splash())
            report |= colours(camera, reader)
            report |= numbers(camera, reader)
            report["fps"] = camera.status.fps
            report["silence_error"] = error_until(reader, splash())
        finally:
            reader.release()
    report["after"] = preflight().device
    with VirtualCamera() as camera:
        report["again"] = camera.status.device
        reader = cv2.VideoCapture(DEVICE, cv2.CAP_V4L2)
        assert reader.read()[0]
        camera._process.kill()
        camera._process.wait()
        camera.send(Frame(np.zeros((720, 1280, 3), np.uint8), 0, 0))
        camera._heard.wait(PATIENCE_S)
        report["after_crash"] = camera.status.device
        reader.release()
    sys.stdout.write("REPORT " + json.dumps(report) + "\n")


def planes(reader: cv2.VideoCapture) -> NDArray[np.uint8]:
    """The next picture as it comes: I420, (1080, 1280)."""
    got, content = reader.read()
    assert got
    return np.asarray(content, np.uint8).reshape(1080, 1280)


def pictures(reader: cv2.VideoCapture) -> Iterator[Image]:
    """What comes, as RGB; every 32nd column."""
    while True:
        yield np.asarray(cv2.cvtColor(planes(reader), cv2.COLOR_YUV2RGB_I420)[:, ::EVERY], np.uint8)


def difference(image: Image, other: Image) -> float:
    return float(np.abs(image.astype(np.int16) - other).mean())


def error_until(reader: cv2.VideoCapture, wanted: Image) -> float:
    """The mean difference, of 255, to the wanted picture once one that resembles it comes."""
    wanted = wanted[:, ::EVERY]
    deadline_s = time.monotonic() + PATIENCE_S
    error = 255.0
    for image in pictures(reader):
        error = difference(image, wanted)
        if error < 3 or time.monotonic() > deadline_s:
            break
    return error


def colours(camera: VirtualCamera, reader: cv2.VideoCapture) -> dict[str, Any]:
    """Stripes, as they are read back; sent all the while."""
    stripes = np.repeat(np.array(COLOURS, np.uint8), 120, axis=0)[:, None].repeat(1280, axis=1)
    deadline_s = time.monotonic() + PATIENCE_S
    for image in pictures(reader):
        camera.send(Frame(stripes, 0, 0))
        error = difference(image, stripes[:, ::EVERY])
        if error < 3 or time.monotonic() > deadline_s:
            return {"colour_error": error, "colours": image[60::120, 20].tolist()}
    raise AssertionError


def numbers(camera: VirtualCamera, reader: cv2.VideoCapture) -> dict[str, Any]:
    """Pictures of one grey each, ever brighter: a torn one would have two greys, and one out of turn be darker."""
    frames = [Frame(np.full((9, 16, 3), grey, np.uint8), grey, 0) for grey in GREYS]
    lumas = [round(16 + grey * 219 / 255) for grey in GREYS]
    camera.send(frames[0])
    while np.abs(planes(reader)[:720, ::EVERY].astype(int) - lumas[0]).max() > 1:
        camera.send(frames[0])
    seen: list[int] = []
    torn = 0
    started_s = time.monotonic()
    for frame in frames[1:]:
        camera.send(frame)
        for _ in range(2):
            luma = planes(reader)[:720, ::EVERY]
            torn += int(np.ptp(luma)) > 0
            seen.append(int(luma[0, 0]))
    return {
        "read": len(seen),
        "read_fps": round(len(seen) / (time.monotonic() - started_s), 1),
        "torn": torn,
        "greys": len(set(seen)),
        "out_of_order": sum(later < earlier for earlier, later in pairwise(seen)),
        "wrong": sum(min(abs(luma - sent) for sent in lumas) > 1 for luma in seen),
    }


if __name__ == "__main__":
    main(sys.argv[1])
