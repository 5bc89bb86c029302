"""The paper's rivals of its Table 1, at our generator's work per frame: a warp learned from pixels, and no embedder.

Both are likenesses of the published networks, not these: what makes their kind is kept, the rest is our generator's
trunk, so that the table compares kinds and not sizes. They see the portrait's picture and the driver's landmarks,
drawn; neither sees the portrait's landmarks, nor a picture that was warped by them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.network import FLOW_UNIT_PX, LightDown, LightModulated, resample
from engines.training.data import Batch


class Trunk(nn.Module):
    """`network.WarpGenerator`'s, of pictures (B, 7, 256, 256) to (B, outputs, 64, 64), without a person's psi.

    Of AdaIN, instance normalisation is left, with one learned scale and shift for everybody.
    """

    def __init__(self, outputs: int, width: int = 64) -> None:
        super().__init__()
        self.first = nn.Conv2d(7 * 16, width, 1)  # (64, 64, 64)
        self.down_a = LightDown(width, 2 * width)
        self.down_b = LightDown(2 * width, 4 * width)  # (256, 16, 16)
        self.blocks = nn.ModuleList(
            [
                LightModulated(4 * width, 4 * width),
                LightModulated(4 * width, 2 * width, double=True),
                LightModulated(2 * width, width, double=True),  # (64, 64, 64)
                LightModulated(width, width),
            ]
        )
        self.last = nn.Conv2d(width, outputs, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.sizes = [block.psi_size for block in self.blocks]
        self.psi = nn.Parameter(torch.zeros(1, sum(self.sizes)))

    def forward(self, seen: Tensor) -> Tensor:
        a, b, c, d = self.psi.split(self.sizes, dim=1)
        h64 = self.first(F.pixel_unshuffle(seen, 4))
        h32 = self.down_a(h64)
        h = self.blocks[0](self.down_b(h32), a)
        h = self.blocks[1](h, b) + h32
        h = self.blocks[2](h, c) + h64
        return self.last(F.leaky_relu(self.blocks[3](h, d), 0.2))


class WarpFromPixels(nn.Module):
    """X2Face's kind (Wiles et al. 2018, arXiv 1807.10550): every pixel is taken from the portrait, by a learned flow.

    Nothing tells the flow but the picture that it makes. X2Face's driver is a picture, ours is its landmarks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk(2)

    def forward(self, batch: Batch) -> tuple[Tensor, None, None]:
        """(the painted picture (B, 3, 256, 256), no embedding, no flow from a warped picture)."""
        flow = FLOW_UNIT_PX * self.trunk(torch.cat([batch.portrait, batch.raster, batch.openings], dim=1))
        return resample(batch.portrait, flow), None, None


class FromPicture(nn.Module):
    """pix2pixHD's kind (Wang et al. 2018, arXiv 1711.11585): drawn landmarks become a picture, without an embedder.

    The paper trains it for each person anew; so that it can be tried on people whom it has not seen, the portrait's
    picture is put beside the landmarks instead.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk(3 * 16)

    def forward(self, batch: Batch) -> tuple[Tensor, None, None]:
        """(the painted picture (B, 3, 256, 256), no embedding, no flow)."""
        painted = self.trunk(torch.cat([batch.portrait, batch.raster, batch.openings], dim=1))
        return torch.sigmoid(F.pixel_shuffle(painted, 4)), None, None
