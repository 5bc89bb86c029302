"""Our networks as a runner sees them, uint8 pictures in and arrays out, and the runner that needs torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines import weights
from engines.canvas import Arrays, Painter
from engines.critic import Critic
from engines.frame import Frame
from engines.network import PortraitEncoder, WarpGenerator
from engines.rig import Rig
from engines.runner import EMBEDDED, Example, tried
from puppet.types import Closing, Floats, Image

M = TypeVar("M", bound=nn.Module)


class Embed(nn.Module):
    """`seen` (1, 256, 256, 7) uint8 -> `runner.EMBEDDED`, once per portrait."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = PortraitEncoder()
        self.P = WarpGenerator().P
        self.rig = Rig()

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = _parts(seen, self.P.weight.dtype)
        e, features = self.encoder(*parts)
        return self.P(e), features, self.rig(*parts)


class Repaint(nn.Module):
    """`seen` (1, 256, 256, 7) uint8 and `head` (1, 64, 64, 4) of a frame, and what `Embed` gave -> its repair.

    That is the flow (1, 64, 64, 2) in px of the square, and the residual (1, 256, 256, 3) in 0..1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.generator = WarpGenerator()

    def forward(self, seen: Tensor, head: Tensor, psi: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        dtype = self.generator.P.weight.dtype
        head = head.permute(0, 3, 1, 2).to(dtype)
        repair = self.generator(*_parts(seen, dtype), head, psi.to(dtype), features.to(dtype))
        return repair.flow.permute(0, 2, 3, 1).float(), repair.residual.permute(0, 2, 3, 1).float()


class Judge(nn.Module):
    """`seen` (1, 256, 256, 6) uint8 of a frame, its picture and raster -> the critic's score (1,) of it."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = Critic()

    def forward(self, seen: Tensor) -> Tensor:
        picture, raster = (seen.float().permute(0, 3, 1, 2) / 255).split(3, dim=1)
        return self.critic(picture, raster)[0]


def stored_name(name: str) -> str:
    """How the weights' file calls a parameter of `Embed`, `Repaint` or `Judge`."""
    return f"generator.{name}" if name.startswith("P.") else name.removeprefix("critic.")


def filled(module: M, path: Path, *, model: str = "ours") -> M:
    """Such a module with its weights, for inference. Raises `weights.WeightsError` if `path` holds no such ones."""
    arrays = weights.load(path, model=model)
    try:
        module.load_state_dict({name: torch.from_numpy(arrays[stored_name(name)]) for name in module.state_dict()})
    except (KeyError, RuntimeError) as error:
        raise weights.WeightsError(f"The weights {path} do not fit the network; train them anew.") from error
    return module.eval().requires_grad_(False)


class TorchRunner(Closing):
    """Runs on CUDA where there is such a device, else on the CPU."""

    name = "pytorch"

    def __init__(self, path: Path) -> None:
        """Raises `weights.WeightsError` if `path` holds no weights of this network."""
        self._path = path
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._embed, self._repaint = (
            filled(module, path).to(self._device).to(memory_format=torch.channels_last)
            for module in (Embed(), Repaint())
        )

    @torch.inference_mode()
    def embed(self, seen: Image) -> dict[str, Floats]:
        found = (part.contiguous().cpu().numpy() for part in self._embed(self._batch(seen)))
        return dict(zip(EMBEDDED, found, strict=True))

    @torch.inference_mode()
    def repair(self, seen: Image, head: Floats, *, psi: Floats, features: Floats) -> tuple[Floats, Floats]:
        cached = (torch.from_numpy(array).to(self._device) for array in (psi, features))
        found = self._repaint(self._batch(seen), self._batch(head), *cached)
        flow, residual = (part[0].contiguous().cpu().numpy() for part in found)
        return flow, residual

    def painter(self, side_px: int, example: Callable[[], Example]) -> Painter | None:
        """See `engines.runner.Runner`."""
        if self._device.type == "cpu":
            return None
        network = filled(Frame(), self._path).to(self._device)
        network.generator.half()
        kept: dict[str, Tensor] = {}
        latest: Arrays = {}

        @torch.inference_mode()
        def paint(frame: Arrays, portrait: Arrays) -> Image:
            nonlocal kept, latest
            if portrait is not latest:
                kept = {name: torch.from_numpy(array).to(self._device) for name, array in portrait.items()}
                latest = portrait
            inputs = kept | {name: torch.from_numpy(array).to(self._device) for name, array in frame.items()}
            return np.asarray(network(**inputs).cpu().numpy(), np.uint8)

        return tried(paint, example)

    def close(self) -> None:
        """Nothing is held but memory."""

    def _batch(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array[None]).to(self._device)


class TorchCritic(Closing):
    """See `engines.realism.RunningCritic`."""

    name = "pytorch"

    def __init__(self, path: Path) -> None:
        self._judge = filled(Judge(), path, model="critic")

    @torch.inference_mode()
    def judge(self, seen: Image) -> float:
        return self._judge(torch.from_numpy(seen[None])).item()

    def close(self) -> None:
        """Nothing is held but memory."""


def _parts(seen: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Picture, raster and openings, (1, C, 256, 256) in 0..1."""
    # first to floats: TensorRT takes bytes for that alone
    return (seen.to(dtype).permute(0, 3, 1, 2) / 255).split([3, 3, 1], dim=1)
