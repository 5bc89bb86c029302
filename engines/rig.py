"""The network that makes a portrait's rig, which `engines.response` explains: it looks at each portrait once."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.response import CELLS, CHANGES

UNIT_PX: Final = 4  # what the last layer calls 1
GROUPS: Final = 8  # of channels that are normalised together
DROPPED: Final = 0.1  # of the channels in training


class Rig(nn.Module):
    """Portrait, raster and openings -> (B, 2 * CHANGES, CELLS, CELLS): how far each place goes, px of the square.

    For each of `response.head_change`'s numbers, x and y per unit. The last layer starts at zero: all go with the head.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        wide = 4 * width
        self.look = nn.Sequential(
            *_layer(9, width, stride=2),  # (32, 64, 64)
            *_layer(width, 2 * width, stride=2),
            *_layer(2 * width, wide, stride=2),  # (128, 16, 16)
            *_layer(wide, wide),
            nn.Dropout2d(DROPPED),
            *_layer(wide, wide),
        )
        self.overview = nn.Sequential(*_layer(wide, wide, stride=2), *_layer(wide, wide, stride=2))
        self.follow = nn.Sequential(*_layer(2 * wide, wide), *_layer(wide, wide))
        self.last = nn.Conv2d(wide, 2 * CHANGES, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.register_buffer("along", torch.linspace(-1, 1, 8 * CELLS), persistent=False)

    def forward(self, portrait: Tensor, raster: Tensor, openings: Tensor) -> Tensor:
        seen = F.avg_pool2d(torch.cat([portrait, raster, openings], dim=1), 2) - 0.5  # (B, 7, 128, 128)
        x = self.along.expand(len(seen), 1, len(self.along), -1)
        near = self.look(torch.cat([seen, x, x.transpose(2, 3)], dim=1))
        far = self.overview(near).mean(dim=(2, 3), keepdim=True).expand_as(near)
        return UNIT_PX * self.last(self.follow(torch.cat([near, far], dim=1)))


def _layer(inner: int, outer: int, *, stride: int = 1) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inner, outer, 3, stride, 1), nn.GroupNorm(GROUPS, outer), nn.LeakyReLU(0.2)
