"""Measures the window from outside, on a screen of its own (Xvfb's), with a clip as the camera:

    PYTHONPATH=. python docs/measure_window.py --minutes 30

The clip's frames come at 30 a second. The window is started twice, with folders of its own; the second start is
measured. In a corner of the portrait it paints, as a barcode, when the frame on show was captured; reading that from
the screen's memory 500 times a second, which disturbs nobody, tells what is really seen, and how old it is, up to 2 ms
too much. The limits are those of a finished product; the exit code says whether all are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from puppet.__main__ import THREADS

os.environ.update(THREADS)  # as the program itself does, before numpy is imported

import numpy as np

CELL_PX = 4
MARK = np.array([1, 0, 1, 1, 0, 0, 1, 0], np.uint8)  # where the barcode begins
UNIT_NS = 100_000  # of the times in it
BITS = 40
CELLS = len(MARK) + BITS + 1 + 8  # then: whether the portrait is alive, and a checksum
GLANCE_S = 0.002  # between looks at the screen
SCREEN = "1600x1200x24"
BEAT_MS = 10  # of a timer in the window
STARTING_S = 60.0  # at most
LIMITS = {"start_s": 3.0, "age_p95_ms": 45.0, "growth_mb": 20.0, "block_ms": 50.0, "exit_s": 2.0}
LEAST_FPS = 29.0
FIRST_S = 20.0  # of the first start, in which every portrait of the library is prepared
CAMERA = 640, 480, 30  # px and fps


def barcode(time_ns: int, *, alive: bool) -> np.ndarray:
    """(CELL_PX, CELLS * CELL_PX) uint8, black and white."""
    value = time_ns // UNIT_NS % (1 << BITS)
    bits = [value >> place & 1 for place in range(BITS)]
    checksum = sum(value.to_bytes(8)) + alive & 0xFF
    cells = np.array([*MARK, *bits, alive, *(checksum >> place & 1 for place in range(8))], np.uint8)
    return np.kron(cells * 255, np.ones((CELL_PX, CELL_PX), np.uint8)).astype(np.uint8)


def read_barcode(row: np.ndarray) -> tuple[int, bool] | None:
    """The time and whether it is alive, from the middle of the barcode's cells; None if there is no whole one."""
    cells = row > 127
    value = sum(int(bit) << place for place, bit in enumerate(cells[len(MARK) : len(MARK) + BITS]))
    alive = bool(cells[len(MARK) + BITS])
    checksum = sum(int(bit) << place for place, bit in enumerate(cells[-8:]))
    if (cells[: len(MARK)] != MARK).any() or sum(value.to_bytes(8)) + alive & 0xFF != checksum:
        return None
    return value * UNIT_NS, alive


def show_window(clip: str) -> int:
    """In the process that is measured: `puppet run` with the barcode; says where that is, and what is left after it."""
    from PySide6.QtCore import QPoint, QTimer
    from PySide6.QtGui import QImage, QPainter, QPaintEvent

    import ui.window
    from puppet.__main__ import main
    from ui.stage import Stage

    class Marked(Stage):
        place: tuple[int, int] | None = None
        beat: QTimer | None = None
        last_beat_s = longest_s = 0.0

        def note_beat(self) -> None:
            now_s = time.monotonic()
            Marked.longest_s = max(Marked.longest_s, now_s - self.last_beat_s)
            self.last_beat_s = now_s

        def paintEvent(self, event: QPaintEvent) -> None:  # Qt's name
            super().paintEvent(event)
            if self.newest is None:
                return
            code = barcode(self.newest.time_ns, alive=self.newest.index > 0)
            painter = QPainter(self)
            painter.drawImage(
                0, 0, QImage(code.data, code.shape[1], CELL_PX, code.shape[1], QImage.Format.Format_Grayscale8)
            )
            painter.end()
            if self.beat is None and self.newest.index > 0:  # from now on, the event loop must come round quickly
                self.beat, self.last_beat_s = QTimer(self), time.monotonic()
                self.beat.timeout.connect(self.note_beat)
                self.beat.start(BEAT_MS)
            corner = self.mapToGlobal(QPoint(0, 0))
            if self.newest.index > 0 and self.place != (corner.x(), corner.y()):  # before, the window takes its form
                self.place = corner.x(), corner.y()
                print(json.dumps({"place": self.place}), flush=True)

    ui.window.Stage = Marked
    code = main(["run", "--camera", clip])
    threads = [each.name for each in threading.enumerate() if each.name.startswith("puppet")]
    print(json.dumps({"threads": threads, "block_ms": 1000 * Marked.longest_s}), flush=True)
    return code


@dataclass
class Sight:
    """What was seen on the screen: once for each frame, when (s since the start) and how old it was."""

    first_s: float = float("nan")
    seen_s: list[float] = field(default_factory=list)
    ages_ms: list[float] = field(default_factory=list)

    def fps(self, begin_s: float, end_s: float) -> float:
        seen = [each for each in self.seen_s if begin_s <= each < end_s]
        return (len(seen) - 1) / (seen[-1] - seen[0]) if len(seen) > 1 else 0.0


def as_camera(clip: Path, out: Path) -> None:
    """Write the clip's frames to `out` at the size and the rate of an ordinary webcam."""
    import av

    width, height, fps = CAMERA
    with av.open(clip) as source, av.open(out, "w") as target:
        stream = target.add_stream("libx264", rate=fps, options={"crf": "16"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index, picture in enumerate(source.decode(video=0)):
            scaled = picture.reformat(width, height, "yuv420p")
            scaled.pts, scaled.time_base = index, Fraction(1, fps)
            target.mux(stream.encode(scaled))
        target.mux(stream.encode(None))


@contextmanager
def running(clip: str, home: Path) -> Iterator[tuple[subprocess.Popen[str], float]]:
    """The window in a process of its own, and when it began."""
    folders = {name: str(home) for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    command = [sys.executable, __file__, "--window", clip]
    began_s = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | folders) as process:
        try:
            yield process, began_s
        finally:
            process.kill()


@contextmanager
def screen() -> Iterator[np.ndarray]:
    """An X11 screen for whatever is started: its pixels (H, W, 4) uint8, BGRX, as they change."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["Xvfb", "-displayfd", "1", "-screen", "0", SCREEN, "-fbdir", folder, "-nolisten", "tcp"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
            assert server.stdout is not None
            try:
                os.environ["DISPLAY"] = f":{server.stdout.readline().strip()}"
                # An XWD file: a header of big-endian words, of which 4 and 5 are the size and 19 counts the colours,
                # 12 bytes each, between it and the pixels.
                image = Path(folder) / "Xvfb_screen0"
                header = np.fromfile(image, ">u4", 25)
                width, height, begin = int(header[4]), int(header[5]), int(header[0] + 12 * header[19])
                yield np.memmap(image, np.uint8, "r", begin, (height, width, 4))
            finally:
                server.terminate()


def codes(pixels: np.ndarray, place: tuple[int, int]) -> Iterator[tuple[float, int, bool]]:
    """When (monotonic s) which barcode was on the screen, without end."""
    x, y = (each + CELL_PX // 2 for each in place)
    row = pixels[y, x : x + CELLS * CELL_PX : CELL_PX, 1]
    while True:
        now_s = time.monotonic()
        code = read_barcode(np.array(row))
        if code is not None:
            yield now_s, *code
        time.sleep(GLANCE_S)


def watch(
    pixels: np.ndarray, process: subprocess.Popen[str], began_s: float, *, seconds: float
) -> tuple[Sight, dict[str, float]]:
    """Look at the screen until the portrait has lived for so long; also the memory after a minute, and at the end."""
    assert process.stdout is not None
    sight, memory, last_ns = Sight(), {}, 0
    for now_s, time_ns, alive in codes(pixels, tuple(json.loads(process.stdout.readline())["place"])):
        since_s = now_s - began_s
        if alive and time_ns != last_ns:
            last_ns = time_ns
            sight.first_s = since_s if not sight.seen_s else sight.first_s
            sight.seen_s.append(since_s)
            sight.ages_ms.append(1000 * now_s - time_ns / 1e6)
        elif not sight.seen_s and since_s > STARTING_S:
            sys.exit(f"No living portrait was on the screen within {STARTING_S:g} s.")
        if "minute" not in memory and sight.seen_s and since_s - sight.first_s > min(60, seconds / 2):
            memory["minute"] = resident_mb(process.pid)
        if sight.seen_s and since_s - sight.first_s > seconds:
            break
    memory["end"] = resident_mb(process.pid)
    return sight, memory


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def stolen_s() -> float:
    """The processor time that other virtual machines have taken from this one since it started."""
    return int(Path("/proc/stat").read_text().split()[8]) / os.sysconf("SC_CLK_TCK")


def stop(process: subprocess.Popen[str]) -> tuple[float, dict[str, Any]]:
    """Close the window: the seconds that it took, and what it says of itself then."""
    assert process.stdout is not None
    began_s = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.wait(30)
    lines = [json.loads(line) for line in process.stdout.read().splitlines()]
    return time.monotonic() - began_s, next(line for line in lines if "threads" in line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, metavar="M")
    parser.add_argument(
        "--clip", default=str(Path(__file__).parents[1] / "tests" / "data" / "turn.mp4"), metavar="FILE"
    )
    parser.add_argument("--window", metavar="FILE", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.window:
        sys.exit(show_window(args.window))
    seconds = 60 * args.minutes
    with tempfile.TemporaryDirectory() as home, screen() as pixels:
        camera = str(Path(home) / "camera.mp4")
        as_camera(Path(args.clip), Path(camera))
        with running(camera, Path(home)) as (process, began_s):
            first, _ = watch(pixels, process, began_s, seconds=FIRST_S)
            stop(process)
        stolen_before_s, measured_s = stolen_s(), time.monotonic()
        with running(camera, Path(home)) as (process, began_s):
            sight, memory = watch(pixels, process, began_s, seconds=seconds)
            exit_s, said = stop(process)
        stolen = (stolen_s() - stolen_before_s) / (time.monotonic() - measured_s) / (os.cpu_count() or 1)
    whole_s, part_s = sight.first_s + seconds, min(60, seconds / 2)
    figures = {
        "first_start_s": first.first_s,
        "start_s": sight.first_s,
        "fps": sight.fps(sight.first_s, whole_s),
        "fps_at_first": sight.fps(sight.first_s, sight.first_s + part_s),
        "fps_at_last": sight.fps(whole_s - part_s, whole_s),
        "age_p50_ms": float(np.percentile(sight.ages_ms, 50)),
        "age_p95_ms": float(np.percentile(sight.ages_ms, 95)),
        "minute_mb": memory["minute"],
        "growth_mb": memory["end"] - memory["minute"],
        "block_ms": said["block_ms"] - BEAT_MS,
        "exit_s": exit_s,
        "stolen_percent": 100 * stolen,  # on a virtual machine, what makes all of this worse
    }
    for name, value in figures.items():
        print(f"{name:15}{value:9.2f}{f'   at most {LIMITS[name]:g}' if name in LIMITS else ''}")
    print(f"threads left   {', '.join(said['threads']) or 'none'}")
    kept = all(figures[name] <= limit for name, limit in LIMITS.items())
    sys.exit(0 if kept and figures["fps"] >= LEAST_FPS and not said["threads"] else 1)


if __name__ == "__main__":
    main()
