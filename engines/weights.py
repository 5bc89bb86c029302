"""The networks' weights: where they lie, and that they are the ones this program was made for."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from engines import geometry
from puppet.types import PuppetError

FOLDER: Final = Path(__file__).parent / "assets"
NETWORK_VERSION: Final = 1  # raised whenever engines.network changes what weights mean
SHA256: Final[dict[str, str]] = {}  # shipped name -> checksum; "NAME" lies in FOLDER/NAME.safetensors


class WeightsError(PuppetError, ValueError):
    """A file holds no weights, or those of another network."""


def load(path: Path, *, model: str) -> dict[str, NDArray[np.float32]]:
    """Name -> float32 array of the weights in `path`, which must be of `model` and of this program's versions."""
    expected = {"model": model, "network": str(NETWORK_VERSION), "geometry": str(geometry.VERSION)}
    known = SHA256.get(path.stem) if path.parent == FOLDER else None
    try:
        if known is not None and hashlib.sha256(path.read_bytes()).hexdigest() != known:
            raise WeightsError(f"The weights {path} are damaged (their checksum differs); install the program again.")
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            found = {name: metadata.get(name) for name in expected}
            if found != expected:
                raise WeightsError(f"The weights {path} are for {found}, but {expected} is needed; train them anew.")
            return {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"The weights {path} cannot be read ({error}); give a file made by training.") from error
