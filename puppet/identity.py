"""Whose face it is: dlib's face-recognition network (King 2017; a ResNet of 29 convolutions) in plain numpy.

Its weights are bundled, in 8 bits: what tells pictures of different people apart must not need a compiler to install.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from safetensors.numpy import load_file

from puppet.headpose import fit_similarity
from puppet.settings import asset
from puppet.types import Floats, Image, Landmarks

SAME_PERSON: Final = 0.6  # descriptors of one person lie nearer; dlib's own threshold

CHIP_PX: Final = 150  # side of the picture that the network sees
PADDING: Final = 0.25  # around the face, of its size, on each side
MEAN_RGB: Final = np.array([122.782, 117.001, 104.298], np.float32)

# Outer and inner corner of the eye at the picture's right, then of the other, and the nose's base: where they lie in
# an average face's square (0..1), which the padding surrounds.
_POINTS: Final = (263, 362, 33, 133, 2)
_PLACES: Final = np.array(
    [
        (0.8595674595992, 0.2134981538014),
        (0.6460604764104, 0.2289674387677),
        (0.1205750620789, 0.2137274526848),
        (0.3340850613712, 0.2290642403242),
        (0.4901123135679, 0.6277975316475),
    ]
)
# The residual blocks in their order: width, and whether the first of them halves the picture.
BLOCKS: Final = (
    "conv32_1", "conv32_2", "conv32_3",
    "conv64_down", "conv64_1", "conv64_2", "conv64_3",
    "conv128_down", "conv128_1", "conv128_2",
    "conv256_down", "conv256_1", "conv256_2", "conv256_down_out",
)  # fmt: skip


def describe(image: Image, face: Landmarks) -> Floats:
    """128 numbers, (128,) float32, that say whose `face` of the (H, W, 3) uint8 RGB `image` it is."""
    x = (_chip(image, face).astype(np.float32) - MEAN_RGB) / 256
    x = _largest(np.maximum(_convolved(x, "conv32_down", stride=2), 0))
    for block in BLOCKS:
        x = _residual(x, block)
    descriptor: Floats = x.mean(axis=(0, 1)) @ tensors()["fc"]
    return descriptor


def distance(a: Floats, b: Floats) -> float:
    """Between two descriptors: about 0.4 for one person, 0.85 for two."""
    return float(np.linalg.norm(a - b))


def upright(points: Floats) -> NDArray[np.float64]:
    """(2, 3): takes px of a picture to px of the square that the network sees of the face at `points` (478, 3) px."""
    places = (PADDING + _PLACES) / (1 + 2 * PADDING) * CHIP_PX
    lay = fit_similarity(points[list(_POINTS), :2].astype(np.float64), places)
    return np.column_stack([lay.scale * lay.rotation, lay.shift])


def _chip(image: Image, face: Landmarks) -> Image:
    """The face upright in a square, as the network learned to see faces."""
    matrix = upright(face.points)
    scale = np.hypot(*matrix[:, 0])
    if scale < 0.5:  # without the detail that the square cannot hold
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 / scale), np.uint8)
    return np.asarray(cv2.warpAffine(image, matrix, (CHIP_PX, CHIP_PX), flags=cv2.INTER_LINEAR), np.uint8)


def _residual(x: Floats, block: str) -> Floats:
    """(h, w, c) through two convolutions, added to what came in; smaller and narrower parts count as padded with 0."""
    halves = "down" in block
    inner = np.maximum(_convolved(x, f"{block}/conv1", stride=2 if halves else 1), 0)
    inner = _convolved(inner, f"{block}/conv2", stride=1)
    if halves:
        rows, columns = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
        x = x[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2, -1).mean(axis=(1, 3))
    total = np.zeros(np.maximum(x.shape, inner.shape), np.float32)
    for part in (x, inner):
        total[: part.shape[0], : part.shape[1], : part.shape[2]] += part
    return np.maximum(total, 0)


def _convolved(x: Floats, layer: str, *, stride: int) -> Floats:
    """(h, w, c) through the filters of a layer and its batch normalisation; only stride 1 pads."""
    filters = tensors()[f"{layer}.filters"]  # (k, k, c, d)
    side = filters.shape[0]
    if stride == 1:
        x = np.pad(x, ((side // 2,) * 2, (side // 2,) * 2, (0, 0)))
    windows = sliding_window_view(x, (side, side), axis=(0, 1))[::stride, ::stride]  # type: ignore[call-overload]
    y = np.tensordot(windows, filters, axes=([3, 4, 2], [0, 1, 2]))
    return np.asarray(y * tensors()[f"{layer}.gain"] + tensors()[f"{layer}.offset"], np.float32)


def _largest(x: Floats) -> Floats:
    """The greatest of 3 x 3, every second place: (h, w, c) to about half of that."""
    windows = sliding_window_view(x, (3, 3), axis=(0, 1))[::2, ::2]  # type: ignore[call-overload]
    return np.asarray(windows.max(axis=(3, 4)), np.float32)


@cache
def tensors() -> dict[str, NDArray[np.float32]]:
    """The weights: what is kept in 8 bits comes with the step and the least value that turn it into numbers."""
    stored = load_file(asset("face_identity.safetensors"))
    found = {}
    for name, tensor in stored.items():
        if tensor.dtype == np.uint8:
            step, least = stored[f"{name}.range"]
            found[name] = tensor.astype(np.float32) * step + least
        elif not name.endswith(".range"):
            found[name] = tensor
    return found
