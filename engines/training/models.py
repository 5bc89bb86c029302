"""What `train` can train: our warp-fed generator with its encoder, the paper's with its embedder, and baselines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.geometry import SIDE_PX
from engines.network import Embedder, Generator, PortraitEncoder, WarpGenerator, resample
from engines.response import CHANGES
from engines.rig import Rig
from engines.training.baselines import FromPicture, WarpFromPixels
from engines.training.data import Batch

M = TypeVar("M", bound=nn.Module)


class WarpFed(nn.Module):
    """Ours: the warp engine's picture, repaired. Its rig was trained before, and has made that picture."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig().requires_grad_(False)
        self.encoder = PortraitEncoder()
        self.generator = WarpGenerator()

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """(the painted picture (B, 3, 256, 256), the embedding (B, 256), the flow (B, 2, 64, 64))."""
        e, features = self.encoder(batch.portrait, batch.portrait_raster, batch.portrait_openings)
        psi = self.generator.P(e)
        repair = self.generator(batch.warped, batch.raster, batch.openings, batch.head, psi, features)
        return repair.apply(batch.warped), e, repair.flow


class FromRig(nn.Module):
    """The warp engine's picture with its surroundings of the face moved on by a rig; the warp engine has none yet."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """(the picture (B, 3, 256, 256), the rig (B, 12, 16, 16), the flow (B, 2, 64, 64), 0 but where a rig tells)."""
        rig = self.rig(batch.portrait, batch.portrait_raster, batch.portrait_openings)
        turned, there = batch.around.split([2, 1], dim=1)
        at = (turned.permute(0, 2, 3, 1) + 0.5) * (2 / SIDE_PX) - 1
        found = F.grid_sample(rig.float(), at, padding_mode="border", align_corners=False)
        further = (found.unflatten(1, (CHANGES, 2)) * batch.change[:, :, None, None, None]).sum(dim=1)
        flow = -further * there  # from where it is seen to where it was taken from
        return resample(batch.warped, flow), rig, flow


class FromLandmarks(nn.Module):
    """The paper's: a picture from landmarks and an embedding alone, here of one picture (K = 1).

    At half the side it is a quarter of the work; what it paints is enlarged.
    """

    def __init__(self, *, side_px: int = SIDE_PX) -> None:
        super().__init__()
        self.embedder = Embedder()
        self.generator = Generator()
        self._fold = SIDE_PX // side_px

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, None]:
        """(the painted picture (B, 3, 256, 256), the embedding (B, 512), no flow)."""
        x, y, target_y = (
            F.avg_pool2d(each, self._fold) for each in (batch.portrait, batch.portrait_raster, batch.raster)
        )
        e = self.embedder(x, y)
        painted = self.generator(target_y, e)
        return F.interpolate(painted, scale_factor=self._fold, mode="bilinear"), e, None


MODELS: Final[dict[str, Callable[[], nn.Module]]] = {
    "ours": WarpFed,
    "rig": FromRig,
    "paper": FromLandmarks,
    "paper-128": partial(FromLandmarks, side_px=128),
    "x2face": WarpFromPixels,
    "pix2pixhd": FromPicture,
}


def placed(module: M, device: torch.device) -> M:
    """A network on the device, in the memory layout that its convolutions like best."""
    return module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
