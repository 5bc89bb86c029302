"""Whose face was painted, as a loss: dlib's network (`puppet.identity`) in torch, which gradients pass through."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from puppet import identity

_SIDE: Final = identity.CHIP_PX


class FaceDescriber(nn.Module):
    """`puppet.identity.describe` for a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.names = {}
        for name, array in identity.tensors().items():
            self.names[name] = name.replace(".", "_")
            axes = (3, 2, 0, 1) if array.ndim == 4 else range(array.ndim)
            self.register_buffer(self.names[name], torch.from_numpy(np.ascontiguousarray(array.transpose(*axes))))

    def forward(self, pictures: Tensor, upright: Tensor) -> Tensor:
        """Descriptors (B, 128) of the faces in (B, 3, H, W) of 0..1 that lie `identity.upright` (B, 2, 3)."""
        x = cut(pictures, upright)
        x = (255 * x - x.new_tensor(identity.MEAN_RGB)[:, None, None]) / 256
        x = F.max_pool2d(F.relu(self._convolved(x, "conv32_down", stride=2)), 3, 2)
        for block in identity.BLOCKS:
            x = self._residual(x, block)
        return x.mean(dim=(2, 3)) @ self._get("fc")

    def distance(self, painted: Tensor, true: Tensor, upright: Tensor) -> Tensor:
        """(B,): of the face that was painted from the true one in its place; about 0.85 between two people."""
        with torch.no_grad():
            wanted = self(true, upright)
        return (self(painted, upright) - wanted).square().sum(dim=1).add(1e-6).sqrt()

    def _residual(self, x: Tensor, block: str) -> Tensor:
        halves = "down" in block
        inner = F.relu(self._convolved(x, f"{block}/conv1", stride=2 if halves else 1))
        inner = self._convolved(inner, f"{block}/conv2", stride=1)
        if halves:
            x = F.avg_pool2d(x, 2)
        size = [max(pair) for pair in zip(x.shape[1:], inner.shape[1:], strict=True)]
        return F.relu(_padded(x, size) + _padded(inner, size))

    def _convolved(self, x: Tensor, layer: str, *, stride: int) -> Tensor:
        filters = self._get(f"{layer}.filters")
        y = F.conv2d(x, filters, stride=stride, padding=filters.shape[2] // 2 if stride == 1 else 0)
        return y * self._get(f"{layer}.gain")[:, None, None] + self._get(f"{layer}.offset")[:, None, None]

    def _get(self, name: str) -> Tensor:
        found: Tensor = self.get_buffer(self.names[name])
        return found


def cut(pictures: Tensor, upright: Tensor) -> Tensor:
    """The squares (B, 3, 150, 150) that dlib's network sees of (B, 3, H, W)."""
    turn, shift = upright.float().split([2, 1], dim=2)
    back = torch.linalg.inv(turn)
    places = torch.arange(_SIDE, device=pictures.device, dtype=torch.float32)
    y, x = torch.meshgrid(places, places, indexing="ij")
    at = back @ (torch.stack([x, y]).flatten(1) - shift)  # (B, 2, 150 * 150)
    ends = at.new_tensor([pictures.shape[3] - 1, pictures.shape[2] - 1])
    grid = (2 * at / ends[:, None] - 1).transpose(1, 2).unflatten(1, (_SIDE, _SIDE))
    return F.grid_sample(pictures.float(), grid, align_corners=True)


def _padded(x: Tensor, size: list[int]) -> Tensor:
    """(B, C, H, W) with zeros after its channels, rows and columns, up to `size`."""
    channels, rows, columns = (wanted - found for wanted, found in zip(size, x.shape[1:], strict=True))
    return F.pad(x, (0, columns, 0, rows, 0, channels))
