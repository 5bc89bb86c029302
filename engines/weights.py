"""The networks' weights: where they lie, and that they are the ones this program was made for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from engines import geometry
from puppet.types import PuppetError

FOLDER: Final = Path(__file__).parent / "assets"
NETWORK_VERSION: Final = 3  # raised whenever engines.network changes what weights mean
CRITIC_VERSION: Final = 1  # the same of engines.critic
SHA256: Final[dict[str, str]] = {  # of the files shipped in FOLDER
    "critic.safetensors": "b63796a6835e6fe5447f5d163f4d0f50655ca02dedf9369f60fc26f468b3dda4",
    "embed.onnx": "0a1f3b3d3a38aee04152843a76e15523f6e301c186461210c3a3df79fb13aae2",
    "frame-1024.onnx": "6c01d1707a751ab09bac4d0d87f5a02ac00e5a13bf1547c0aef9a1d23d71f39c",
    "frame-512.onnx": "3d4bcd7d1a1981f0131271299b0c53fff6dd558cfb77bff2335d0a205721e998",
    "judge.onnx": "93b949f7178fcf66334aa5d85d58da0f12e88b68199b8ffd5b7030747956e236",
    "ours.safetensors": "f25bb5be7354be53122dd8201ea4f3e5d55e924003930c94b66446d0c8fdf812",
    "repaint-fp16.onnx": "3c3c4483ebe5fb4c858e50938c81e9351c9cf570ebdba86e8984f3232aad8439",
    "repaint.onnx": "e693f326a3ac7280328b8abea2c560af6b48796b8ab7fd658812964c2dc2a4ad",
}


class WeightsError(PuppetError, ValueError):
    """A file holds no weights, or those of another network."""


def load(path: Path, *, model: str) -> dict[str, NDArray[np.float32]]:
    """Name -> float32 array of the weights in `path`, which must be of `model` and of this program's versions."""
    check(path, model=model)
    with safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}


def check(path: Path, *, model: str) -> dict[str, str]:
    """The metadata of `path`; WeightsError unless it holds weights of `model` and of this program's versions."""
    version = CRITIC_VERSION if model == "critic" else NETWORK_VERSION
    expected = {"model": model, "network": str(version), "geometry": str(geometry.VERSION)}
    try:
        check_shipped(path)
        with safe_open(path, "numpy") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"The weights {path} cannot be read ({error}); give a file made by training.") from error
    found = {name: metadata.get(name) for name in expected}
    if found != expected:
        raise WeightsError(f"The weights {path} are for {found}, but {expected} is needed; train them anew.")
    return metadata


def holds(path: Path, *, model: str) -> bool:
    """Whether `path` holds weights of `model`, of this program's versions."""
    try:
        check(path, model=model)
    except WeightsError:
        return False
    return True


def check_shipped(path: Path) -> None:
    """Raise WeightsError if `path` is a file that came with the program, but is not as it came."""
    known = SHA256.get(path.name) if path.parent == FOLDER else None
    if known is not None and hashlib.sha256(path.read_bytes()).hexdigest() != known:
        raise WeightsError(f"{path} is damaged (its checksum differs); install the program again.")


def offsets(path: Path) -> dict[str, tuple[int, int]]:
    """Name -> where in the file its numbers are. https://github.com/huggingface/safetensors, "Format"."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return {name: tuple(8 + length + offset for offset in entry["data_offsets"]) for name, entry in header.items()}
