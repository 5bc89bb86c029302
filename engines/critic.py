"""Our discriminator, light enough to ship: how real a picture of a face looks, which the app shows as a score."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.network import LightDown

N: Final = 224  # of the vectors V(x, y)


class Critic(nn.Module):
    """D(x, y, i) as `network.Discriminator`, at a fortieth of its work: pixel-unshuffled pictures, LightDown blocks.

    In training, it is told the person of every other picture only, so that it judges those of nobody in particular
    as well. With `people` = 0 it knows nobody.
    """

    def __init__(self, people: int = 0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            [
                nn.Conv2d(6 * 16, 64, 3, padding=1),  # (64, 64, 64)
                LightDown(64, 96),
                LightDown(96, 160),
                LightDown(160, N),
                LightDown(N, N),  # (224, 4, 4)
            ]
        )
        self.W = nn.Embedding(people, N) if people else None
        self.w0 = nn.Parameter(torch.randn(N) * 0.1)
        self.b = nn.Parameter(torch.zeros(()))
        if self.W is not None:
            nn.init.zeros_(self.W.weight)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=0.2)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, y: Tensor, i: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """((B,) scores, the feature maps of all blocks); x, y: (B, 3, 256, 256) in 0..1."""
        h = F.pixel_unshuffle(torch.cat([2 * x - 1, y], dim=1), 4)
        features = []
        for block in self.blocks:
            h = block(h)
            features.append(h)
        v = F.relu(h.mean(dim=(2, 3)))
        w = self.w0
        if i is not None and self.W is not None:
            known = (torch.rand(len(i), 1, device=i.device) < 0.5) if self.training else 1
            w = w + self.W(i) * known
        return (v * w).sum(dim=1) + self.b, features
