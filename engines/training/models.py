"""What `train` can train: our warp-fed generator with its encoder, the paper's with its embedder, and baselines."""

from __future__ import annotations

from typing import Final, TypeVar

import torch
from torch import Tensor, nn

from engines.network import Embedder, Generator, PortraitEncoder, WarpGenerator
from engines.training.baselines import FromPicture, WarpFromPixels
from engines.training.data import Batch

M = TypeVar("M", bound=nn.Module)


class WarpFed(nn.Module):
    """Ours: the warp engine's picture, repaired."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = PortraitEncoder()
        self.generator = WarpGenerator()

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """(the painted picture (B, 3, 256, 256), the embedding (B, 256), the flow (B, 2, 64, 64))."""
        e, features = self.encoder(batch.portrait, batch.portrait_raster, batch.portrait_openings)
        psi = self.generator.P(e)
        repair = self.generator(batch.warped, batch.raster, batch.openings, batch.head, psi, features)
        return repair.apply(batch.warped), e, repair.flow


class FromLandmarks(nn.Module):
    """The paper's: a picture from landmarks and an embedding alone, here of one picture (K = 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedder = Embedder()
        self.generator = Generator()

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, None]:
        """(the painted picture (B, 3, 256, 256), the embedding (B, 512), no flow)."""
        e = self.embedder(batch.portrait, batch.portrait_raster)
        return self.generator(batch.raster, e), e, None


MODELS: Final[dict[str, type[nn.Module]]] = {
    "ours": WarpFed,
    "paper": FromLandmarks,
    "x2face": WarpFromPixels,
    "pix2pixhd": FromPicture,
}


def placed(module: M, device: torch.device) -> M:
    """A network on the device, in the memory layout that its convolutions like best."""
    return module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
