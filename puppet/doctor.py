"""Looks at everything that the program leans on, and says for each whether it is well, why not, and what to do.

Libraries are imported only where they are checked: the doctor must live where they do not load.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from puppet import __version__
from puppet.settings import asset, cache_dir, config_dir, sample_portraits
from puppet.types import Engine, PuppetError

TRIAL_SIZE_PX = 256
CHECKSUMS = "SHA256SUMS"  # of all bundled files, as sha256sum writes it
REINSTALL = "Install the program again."
START = "Start the program with start.py, which installs what is missing."
LIBRARIES = ("numpy", "cv2", "mediapipe", "av", "PIL", "PySide6.QtWidgets")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    name: str
    ok: bool
    detail: str  # what was found, or the reason why it is not well
    advice: str = ""  # what to do; empty when all is well
    vital: bool = True  # False: the main job, a portrait that moves, works without it


def examine(backends: Iterable[str], load: Callable[[str], Engine]) -> Iterator[Finding]:
    """Check one thing after the other; `load` makes the engine of a name in `backends`."""
    yield Finding("puppet", True, __version__)
    yield Finding("python", True, f"{platform.python_version()} on {platform.platform()}")
    yield from map(_library, LIBRARIES)
    yield _bundled_files()
    yield _writable("cache folder", cache_dir())
    yield _writable("settings folder", config_dir())
    yield from (_backend(name, load) for name in backends)
    yield _main_job(load)
    yield _cameras()
    yield _virtual_camera()


def _library(name: str) -> Finding:
    package = name.partition(".")[0]
    try:
        importlib.import_module(name)
    except ImportError as error:  # missing, or a system library that it needs is
        return Finding(package, False, str(error), START)
    version = getattr(sys.modules[package], "__version__", None) or importlib.metadata.version(package)
    return Finding(package, True, str(version))


def _bundled_files() -> Finding:
    try:
        entries = [line.split(maxsplit=1) for line in asset(CHECKSUMS).read_text(encoding="utf-8").splitlines()]
        wrong = [name for sha256, name in entries if hashlib.sha256(asset(name).read_bytes()).hexdigest() != sha256]
    except OSError as error:
        return Finding("bundled files", False, f"{error.filename}: {error.strerror}", REINSTALL)
    if wrong:
        return Finding("bundled files", False, f"changed: {', '.join(wrong)}", REINSTALL)
    return Finding("bundled files", True, f"{len(entries)} files, all as delivered")


def _writable(name: str, folder: Path) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Finding(name, False, f"{folder}: {error.strerror}", "Allow writing there, or free space.", vital=False)
    return Finding(name, True, str(folder))


def _backend(name: str, load: Callable[[str], Engine]) -> Finding:
    try:
        load(name).close()
    except PuppetError as error:
        return Finding(f"engine {name}", False, str(error), "The program uses another engine.", vital=False)
    return Finding(f"engine {name}", True, "loads")


def _main_job(load: Callable[[str], Engine]) -> Finding:
    """Really do it: a bundled portrait, following a bundled face."""
    name = "a portrait moves"
    try:
        from puppet.motion import Retargeter, neutral_of
        from puppet.portrait import embed
        from puppet.recording import Recording

        faces = [face for face in Recording.load(asset("sample.motion")) if face is not None]
        retarget = Retargeter(calibration=neutral_of(faces[:1]))
        motion = retarget(faces[-1], index=0, time_ns=0)
        with load("auto") as engine:
            embedding = embed(sample_portraits()[0], engine, long_side_px=TRIAL_SIZE_PX)
            engine.animate(embedding, motion)
    except (ImportError, PuppetError) as error:
        return Finding(name, False, str(error), "Mend what FAILED above, or install the program again.")
    return Finding(name, True, f"painted with the engine {engine.name}")


def _cameras() -> Finding:
    try:
        from puppet.camera import cameras
    except ImportError as error:
        return Finding("cameras", False, str(error), START, vital=False)
    found = cameras()
    if not found:
        return Finding("cameras", False, "none found", "Plug one in, or use --camera with a video file.", vital=False)
    return Finding("cameras", True, ", ".join(f"{info.device}: {info.name}" for info in found))


def _virtual_camera() -> Finding:
    """Opening one is the only sure test."""
    name = "virtual camera"
    try:
        from puppet.virtual_camera import VirtualCamera, VirtualCameraUnavailable
    except ImportError as error:
        return Finding(name, False, str(error), START, vital=False)
    try:
        with VirtualCamera() as camera:
            return Finding(name, True, camera.status.device)
    except VirtualCameraUnavailable as error:
        return Finding(name, False, error.check.problem, error.check.advice, vital=False)
