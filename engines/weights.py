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
NETWORK_VERSION: Final = 1  # raised whenever engines.network changes what weights mean
CRITIC_VERSION: Final = 1  # the same of engines.critic
SHA256: Final[dict[str, str]] = {  # of the files shipped in FOLDER
    "critic.safetensors": "ca031e7aa5d701e602fe0ddcc97980e1bdf3e766622811e6458ba2365f97640d",
    "embed.onnx": "853f42a3c1a5592b967bc3213ac9da78747253d4e4ab1dc4612d1ef8ecf69d83",
    "frame-1024.onnx": "6db9641bb668dc4bf6e44ba98e57fad463b699a6b9d631ebb447a4340ff19697",
    "frame-512.onnx": "77980b43af37a8eaa4cec3aa5799d52583316cd1b19e961543e40440d021bf5e",
    "judge.onnx": "02c823709f2c6bdea0a933fb58da08e1f8c752e6cbbba8ca6bd0c8fcaa24fcfe",
    "ours.safetensors": "4c06e4e3e391e6b767cdc38213e031b9d6bb17eadb3c058a69934d82b40b093c",
    "repaint-fp16.onnx": "df764fcbe7d2bd9dc11c1ffe9bf96aa90ab873af9ba5dec3fdc47358c5049eb2",
    "repaint.onnx": "69d1db5759086016c0207420d6bdbb286b8da1d0c11bfae21bb26450a21e564f",
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


def is_critic(path: Path) -> bool:
    """Whether `path` holds weights of the realism score's critic, of this program's versions."""
    try:
        check(path, model="critic")
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
