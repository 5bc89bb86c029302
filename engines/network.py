"""The networks of few-shot talking heads (Zakharov et al. 2019, arXiv 1905.08233), and our own, fed by a warp.

Symbols are the paper's: x a picture, y its landmarks drawn (`geometry.rasterise`), e an embedding of N numbers,
psi = P e the AdaIN parameters. Pictures go in as (B, C, 256, 256) in 0..1 and come out so.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

N = 512  # the paper's embedding
GRID_CELLS = 4  # of 4 px: over so many, along each side, a pattern counts as even
FLOW_UNIT_PX = 8  # what our generator's last layer calls 1; in px it would learn to move things far too slowly


class AdaIN(nn.Module):
    """Instance normalisation whose scale and shift are part of psi (Huang & Belongie 2017, eq. 8)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.psi_size = 2 * channels

    def forward(self, x: Tensor, psi: Tensor) -> Tensor:
        scale, shift = psi[:, :, None, None].chunk(2, dim=1)
        return F.instance_norm(x.float()).to(x.dtype) * (1 + scale) + shift  # half precision overflows in the variance


class Down(nn.Module):
    """Residual block, half the side; with instance normalisation in the paper's generator, without elsewhere."""

    def __init__(self, inner: int, outer: int, *, normed: bool = False, halve: bool = True) -> None:
        super().__init__()
        self.a = spectral_norm(nn.Conv2d(inner, outer, 3, padding=1))
        self.b = spectral_norm(nn.Conv2d(outer, outer, 3, padding=1))
        self.skip = spectral_norm(nn.Conv2d(inner, outer, 1)) if halve or inner != outer else nn.Identity()
        self.normed, self.halve = normed, halve

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(F.relu(F.instance_norm(x) if self.normed else x))
        h = self.b(F.relu(F.instance_norm(h) if self.normed else h)) + self.skip(x)
        return F.avg_pool2d(h, 2) if self.halve else h


class LightDown(nn.Module):
    """Residual block of our networks: the side is halved before the convolutions, a quarter of the paper's work."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(inner, outer, 3, padding=1)
        self.b = nn.Conv2d(outer, outer, 3, padding=1)
        self.skip = nn.Conv2d(inner, outer, 1) if inner != outer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, 2)
        return self.b(F.leaky_relu(self.a(F.leaky_relu(x, 0.2)), 0.2)) + self.skip(x)


class Modulated(nn.Module):
    """Residual block with AdaIN; `double` doubles the side first."""

    def __init__(self, inner: int, outer: int, *, double: bool = False) -> None:
        super().__init__()
        self.norm_a, self.norm_b = AdaIN(inner), AdaIN(outer)
        self.a = spectral_norm(nn.Conv2d(inner, outer, 3, padding=1))
        self.b = spectral_norm(nn.Conv2d(outer, outer, 3, padding=1))
        self.skip = spectral_norm(nn.Conv2d(inner, outer, 1)) if inner != outer else nn.Identity()
        self.doubles = double
        self.psi_size = self.norm_a.psi_size + self.norm_b.psi_size

    def forward(self, x: Tensor, psi: Tensor) -> Tensor:
        psi_a, psi_b = psi.split([self.norm_a.psi_size, self.norm_b.psi_size], dim=1)
        h = F.relu(self.norm_a(x, psi_a))
        if self.doubles:
            h, x = F.interpolate(h, scale_factor=2), F.interpolate(x, scale_factor=2)
        return self.b(F.relu(self.norm_b(self.a(h), psi_b))) + self.skip(x)


class LightModulated(nn.Module):
    """Residual block with AdaIN of our networks; `double` doubles the side as late as it can.

    Without spectral normalisation: ours is trained by reconstruction first, which that only slows.
    """

    def __init__(self, inner: int, outer: int, *, double: bool = False) -> None:
        super().__init__()
        self.norm_a, self.norm_b = AdaIN(inner), AdaIN(outer)
        self.a = nn.Conv2d(inner, outer, 3, padding=1)
        self.b = nn.Conv2d(outer, outer, 3, padding=1)
        self.skip = nn.Conv2d(inner, outer, 1) if inner != outer else nn.Identity()
        self.doubles = double
        self.psi_size = self.norm_a.psi_size + self.norm_b.psi_size

    def forward(self, x: Tensor, psi: Tensor) -> Tensor:
        psi_a, psi_b = psi.split([self.norm_a.psi_size, self.norm_b.psi_size], dim=1)
        h = self.a(F.relu(self.norm_a(x, psi_a)))
        h, x = F.relu(self.norm_b(h, psi_b)), self.skip(x)
        if self.doubles:
            h, x = F.interpolate(h, scale_factor=2), F.interpolate(x, scale_factor=2)
        return self.b(h) + x


class SelfAttention(nn.Module):
    """Every place looks at every other (Zhang et al. 2018, arXiv 1805.08318); starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = spectral_norm(nn.Conv2d(channels, channels // 8, 1))
        self.key = spectral_norm(nn.Conv2d(channels, channels // 8, 1))
        self.value = spectral_norm(nn.Conv2d(channels, channels, 1))
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (layer(x).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        seen = F.scaled_dot_product_attention(query, key, value, scale=1.0)  # (B, HW, C)
        return self.gamma * seen.transpose(1, 2).view_as(x) + x


class Embedder(nn.Module):
    """The paper's E(x, y): picture and landmarks -> (B, 512). The mean over a person's K pictures is ê."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            Down(6, 64),  # (64, 128, 128)
            Down(64, 128),
            Down(128, 256),  # (256, 32, 32)
            SelfAttention(256),
            Down(256, 512),
            Down(512, 512),
            Down(512, N),  # (512, 4, 4)
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return F.relu(self.blocks(torch.cat([x, y], dim=1)).sum(dim=(2, 3)))


class Generator(nn.Module):
    """The paper's G(y, ê): paints the person embedded as ê from landmarks alone."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(
            Down(3, 64),
            Down(64, 128, normed=True),
            Down(128, 256, normed=True),  # (256, 32, 32)
            SelfAttention(256),
            Down(256, 512, normed=True),  # (512, 16, 16)
        )
        self.middle = nn.ModuleList(Modulated(512, 512) for _ in range(5))
        self.up = nn.ModuleList(
            [
                Modulated(512, 256, double=True),
                Modulated(256, 128, double=True),  # (128, 64, 64)
                Modulated(128, 64, double=True),
                Modulated(64, 64, double=True),  # (64, 256, 256)
            ]
        )
        self.attention = SelfAttention(128)
        self.last_norm = AdaIN(64)
        self.last = spectral_norm(nn.Conv2d(64, 3, 3, padding=1))
        self.sizes = [block.psi_size for block in (*self.middle, *self.up, self.last_norm)]
        self.P = spectral_norm(nn.Linear(N, sum(self.sizes), bias=False))

    def forward(self, y: Tensor, e: Tensor) -> Tensor:
        *psi, psi_last = self.P(e).split(self.sizes, dim=1)
        h = self.down(y)
        for index, (block, part) in enumerate(zip((*self.middle, *self.up), psi, strict=True)):
            h = block(h, part)
            if index == len(self.middle) + 1:
                h = self.attention(h)
        return torch.sigmoid(self.last(F.relu(self.last_norm(h, psi_last))))


class Discriminator(nn.Module):
    """The paper's D(x, y, i) = V(x, y)ᵀ (W_i + w0) + b: how real, and how much person i, a picture looks.

    V is read off after every block for feature matching. Without `i` the score is that of nobody in particular.
    """

    def __init__(self, people: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            [
                Down(6, 64),
                Down(64, 128),
                Down(128, 256),
                SelfAttention(256),
                Down(256, 512),
                Down(512, 512),
                Down(512, N),
                Down(N, N, halve=False),  # (512, 4, 4)
            ]
        )
        self.W = nn.Embedding(people, N)
        self.w0 = nn.Parameter(torch.randn(N) * 0.02)
        self.b = nn.Parameter(torch.zeros(()))
        nn.init.normal_(self.W.weight, std=0.02)

    def forward(self, x: Tensor, y: Tensor, i: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """((B,) scores, the feature maps of all blocks)."""
        h = torch.cat([x, y], dim=1)
        features = []
        for block in self.blocks:
            h = block(h)
            features.append(h)
        v = F.relu(h.sum(dim=(2, 3)))
        w = self.w0 if i is None else self.w0 + self.W(i)
        return (v * w).sum(dim=1) + self.b, features


@dataclass(frozen=True, slots=True)
class Repair:
    """What our generator does to a warped picture."""

    flow: Tensor  # (B, 2, 64, 64): x and y in px of the square, from an output pixel to where it is taken from
    residual: Tensor  # (B, 3, 256, 256), added afterwards

    def apply(self, warped: Tensor) -> Tensor:
        """The repaired picture, not yet clipped to 0..1."""
        return resample(warped, self.flow) + self.residual


class Whitened(nn.Module):
    """(B, N) numbers as they differ from those of other portraits: mean 0 and variance 1 / N each, over portraits.

    Left free, an embedding grows with P until no unit of the generator's last layer is alive; merely cut to the length
    1, it is all mean, and the same for everybody.
    """

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(numbers))
        self.register_buffer("variance", torch.ones(numbers))

    def forward(self, x: Tensor) -> Tensor:
        several = self.training and len(x) > 1
        spread = F.batch_norm(x.float(), self.mean, self.variance, training=several, momentum=0.02)
        return spread / x.shape[1] ** 0.5


class PortraitEncoder(nn.Module):
    """Our embedder, once per portrait: e (B, 256), and features (B, 64, 64, 64) that the generator adds to its own."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.first = nn.Conv2d(7 * 16, width, 3, padding=1)
        self.blocks = nn.Sequential(
            LightDown(width, 2 * width),
            LightDown(2 * width, 4 * width),
            LightDown(4 * width, 4 * width),  # (256, 8, 8)
        )
        self.whitened = Whitened(4 * width)

    def forward(self, portrait: Tensor, raster: Tensor, openings: Tensor) -> tuple[Tensor, Tensor]:
        features = self.first(F.pixel_unshuffle(torch.cat([portrait, raster, openings], dim=1), 4))
        return self.whitened(self.blocks(features).mean(dim=(2, 3))), features


class WarpGenerator(nn.Module):
    """Ours: repairs what the warp engine made. Heavy convolutions at 64² and below, on pixel-unshuffled pictures.

    Both last layers start at zero, so that an untrained generator leaves the warped picture as it is.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.first = nn.Conv2d(7 * 16 + 4, width, 1)  # (64, 64, 64)
        self.down_a = LightDown(width, 2 * width)  # (128, 32, 32)
        self.down_b = LightDown(2 * width, 4 * width)  # (256, 16, 16)
        self.blocks = nn.ModuleList(
            [
                LightModulated(4 * width, 4 * width),
                LightModulated(4 * width, 2 * width, double=True),  # (128, 32, 32)
                LightModulated(2 * width, width, double=True),  # (64, 64, 64)
                LightModulated(width, width),
            ]
        )
        self.flow = nn.Conv2d(width, 2, 3, padding=1)
        self.residual = nn.Conv2d(width, 3 * 16, 3, padding=1)
        for last in (self.flow, self.residual):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.sizes = [block.psi_size for block in self.blocks]
        self.P = nn.Linear(4 * width, sum(self.sizes))

    def forward(
        self, warped: Tensor, raster: Tensor, openings: Tensor, head: Tensor, psi: Tensor, features: Tensor
    ) -> Repair:
        """`head` is `geometry.head_motion`; `psi`, P(e), and `features` are made once per portrait."""
        a, b, c, d = psi.split(self.sizes, dim=1)
        seen = F.pixel_unshuffle(torch.cat([warped, raster, openings], dim=1), 4)
        h64 = self.first(torch.cat([seen, head], dim=1)) + features
        h32 = self.down_a(h64)
        h = self.blocks[0](self.down_b(h32), a)
        h = self.blocks[1](h, b) + h32
        h = self.blocks[2](h, c) + h64
        h = F.leaky_relu(self.blocks[3](h, d), 0.2)
        return Repair(flow=FLOW_UNIT_PX * self.flow(h), residual=F.pixel_shuffle(without_grid(self.residual(h)), 4))


def without_grid(folded: Tensor) -> Tensor:
    """A picture (B, 3 * 16, 64, 64), about to be unfolded by 4, without the even pattern that this may give it.

    Taken away is how far each of the 16 places in a cell lies from where a slope through the cells around would have
    it, as far as that is the same in these cells: a pattern of 4 px. Losses hardly mind it, LPIPS even likes it, and on
    skin it can be seen.
    """
    places = F.avg_pool2d(folded, GRID_CELLS).unflatten(1, (3, 16))
    level = places.mean(dim=2)
    around = F.pad(level, (1, 1, 1, 1), "replicate")
    down, right = around[..., 2:, 1:-1] - around[..., :-2, 1:-1], around[..., 1:-1, 2:] - around[..., 1:-1, :-2]
    from_middle = (torch.arange(4, dtype=folded.dtype, device=folded.device) - 1.5) / (2 * 4 * GRID_CELLS)
    slope = down[:, :, None] * from_middle.repeat_interleave(4).reshape(-1, 1, 1)
    slope = slope + right[:, :, None] * from_middle.repeat(4).reshape(-1, 1, 1)
    beyond = (places - level[:, :, None] - slope).flatten(1, 2)
    return folded - F.interpolate(beyond, scale_factor=GRID_CELLS, mode="bilinear")


def resample(picture: Tensor, flow: Tensor) -> Tensor:
    """`picture` (B, C, H, W) taken from where the coarse `flow` (B, 2, h, w) in px points to."""
    height, width = picture.shape[2:]
    dense = F.interpolate(flow.float(), size=(height, width), mode="bilinear")
    y, x = torch.meshgrid(
        torch.arange(height, device=flow.device), torch.arange(width, device=flow.device), indexing="ij"
    )
    at = torch.stack([2 * (x + dense[:, 0]) / (width - 1) - 1, 2 * (y + dense[:, 1]) / (height - 1) - 1], dim=3)
    # Bilinear sampling would blur, and teach the generator not to move anything.
    return F.grid_sample(picture.float(), at, mode="bicubic", padding_mode="border", align_corners=True)
