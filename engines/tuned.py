"""The generator tuned to one portrait: a small file of what tuning changed, and the engine that paints with it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from engines import weights
from engines.canvas import SIDES_PX
from engines.neural import DEFAULT, NeuralEngine
from puppet.settings import cache_dir
from puppet.types import PuppetError

KIND: Final = "puppet-tuned-1"
MADE: Final = "one that puppet finetune made"
CONSTANT: Final = "generator.P.weight"  # 0 once tuned: psi is the bias alone, of this one person
GRAPHS: Final = ("embed", "repaint", "repaint-fp16", *(f"frame-{side_px}" for side_px in SIDES_PX))
MOST_UNFOLDED: Final = 8  # of 12 MB each


class TunedError(PuppetError, ValueError):
    """A tuned file cannot be used; the text says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """What tuning made of the weights, for which picture."""

    tensors: Mapping[str, NDArray[np.float16]]  # those of the weights that changed, by their names there
    weights: str  # sha256 of the file of weights it started from
    portrait: str  # sha256 of the picture's file
    lpips_before: float  # of pictures that were kept back
    lpips_after: float

    def save(self, path: Path) -> None:
        """Write a file of some 6 MB whole, or leave what was there and raise TunedError."""
        about = {
            "kind": KIND,
            "weights": self.weights,
            "portrait": self.portrait,
            "lpips_before": f"{self.lpips_before:.5f}",
            "lpips_after": f"{self.lpips_after:.5f}",
        }
        try:
            _place(path, save(dict(self.tensors), about))
        except OSError as error:
            raise TunedError(f"{path} could not be written ({error.strerror}); choose another place.") from error

    @classmethod
    def load(cls, path: Path, *, portrait: Path, base: Path = DEFAULT) -> Tuned:
        """Raises TunedError unless `path` was tuned to the picture `portrait` from the weights `base`."""
        again = f"make it anew with: puppet finetune {portrait} {path}"
        try:
            with safe_open(path, "numpy") as file:
                about = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except (OSError, SafetensorError) as error:
            raise TunedError(f"{path} cannot be read as a tuned file ({error}); give {MADE}.") from error
        if about.get("kind") != KIND:
            raise TunedError(f"{path} is no tuned file; give {MADE}.")
        if about["portrait"] != digest(portrait):
            raise TunedError(f"{path} was tuned to another picture than {portrait}; give that one, or {again}")
        if about["weights"] != digest(base):
            raise TunedError(f"{path} was tuned from other weights than this program has now; {again}")
        figures = float(about["lpips_before"]), float(about["lpips_after"])
        return cls(tensors, about["weights"], about["portrait"], *figures)


class TunedEngine(NeuralEngine):
    """The neural engine with a tuned file; meant for the portrait of that file only."""

    def __init__(self, tuned: Path, *, portrait: Path, runner_name: str = "auto", base: Path = DEFAULT) -> None:
        """`portrait` is the picture's file. Raises TunedError, and what `NeuralEngine` raises."""
        super().__init__(unfolded(Tuned.load(tuned, portrait=portrait, base=base), base), runner_name=runner_name)


def unfolded(tuned: Tuned, base: Path, *, folder: Path | None = None) -> Path:
    """Whole weights with their graphs, as every runner takes them, in a cache folder; the path of the weights."""
    folder = folder or cache_dir() / "tuned"
    content = bytearray(base.read_bytes())
    places = weights.offsets(base)
    for name in (CONSTANT, *tuned.tensors):
        start, stop = places.get(name, (0, 0))
        numbers = bytes(stop - start) if name == CONSTANT else tuned.tensors[name].tobytes()
        if name not in places or len(numbers) != stop - start:
            raise TunedError(f"A tuned file's {name} does not fit the weights {base}; make it anew.")
        content[start:stop] = numbers
    place = folder / hashlib.sha256(content).hexdigest()[:16] / base.name
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _place(place, bytes(content))
        for graph in (base.with_name(f"{name}.onnx") for name in GRAPHS):
            if graph.exists():
                weights.check_shipped(graph)
                _place(place.with_name(graph.name), graph.read_bytes())
        os.utime(place.parent)
        for old in sorted(folder.iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)[MOST_UNFOLDED:]:
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise TunedError(f"{folder} cannot be written ({error.strerror}), where tuned weights are kept.") from error
    return place


def digest(path: Path) -> str:
    """sha256 of a file. Raises TunedError if there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TunedError(f"{path} cannot be read ({error.strerror}); check its name.") from error


def _place(path: Path, content: bytes) -> None:
    """Have the file hold the content; it is left alone where it does, since a runner may have it open."""
    if path.exists() and path.read_bytes() == content:
        return
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
