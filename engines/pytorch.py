"""Runs our generator with torch."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines import weights
from engines.network import PortraitEncoder, WarpGenerator
from puppet.types import Floats, Image

M = TypeVar("M", bound=nn.Module)


class TorchRunner:
    """Pictures are (256, 256, 3) uint8 RGB and masks (256, 256) uint8, as `engines.geometry` makes them."""

    def __init__(self, path: Path) -> None:
        """Raises `weights.WeightsError` if `path` holds no weights of this network."""
        arrays = weights.load(path, model="ours")
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._encoder = self._filled(PortraitEncoder(), arrays, "encoder.", path)
        self._generator = self._filled(WarpGenerator(), arrays, "generator.", path)

    @torch.inference_mode()
    def embed(self, portrait: Image, raster: Image, openings: NDArray[np.uint8]) -> dict[str, Floats]:
        """Everything that the generator takes from the portrait: psi (1, …) and features (1, 64, 64, 64)."""
        e, features = self._encoder(self._tensor(portrait), self._tensor(raster), self._tensor(openings))
        return {"psi": self._generator.P(e).cpu().numpy(), "features": features.contiguous().cpu().numpy()}

    @torch.inference_mode()
    def repair(
        self,
        warped: Image,
        raster: Image,
        openings: NDArray[np.uint8],
        head: Floats,
        *,
        psi: Floats,
        features: Floats,
    ) -> tuple[Floats, Floats]:
        """(flow (64, 64, 2) in px of the square, residual (256, 256, 3) in 0..1)."""
        motion = np.ascontiguousarray(head.transpose(2, 0, 1)[None])
        known = (torch.from_numpy(array).to(self._device) for array in (motion, psi, features))
        found = self._generator(self._tensor(warped), self._tensor(raster), self._tensor(openings), *known)
        flow, residual = (part[0].permute(1, 2, 0).contiguous().cpu().numpy() for part in (found.flow, found.residual))
        return flow, residual

    def close(self) -> None:
        pass

    def _tensor(self, picture: NDArray[np.uint8]) -> Tensor:
        channels = picture.reshape(*picture.shape[:2], -1).transpose(2, 0, 1)[None]
        scaled = torch.from_numpy(np.ascontiguousarray(channels)).to(self._device).float() / 255
        return scaled.contiguous(memory_format=torch.channels_last)

    def _filled(self, module: M, arrays: dict[str, Floats], prefix: str, path: Path) -> M:
        state = {n.removeprefix(prefix): torch.from_numpy(a) for n, a in arrays.items() if n.startswith(prefix)}
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise weights.WeightsError(f"The weights {path} do not fit the network; train them anew.") from error
        placed: M = module.eval().to(self._device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return placed
