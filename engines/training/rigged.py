"""Portraits of the warp engine with what a rig makes of them, as the neural engine has them."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from engines import weights
from engines.geometry import Crop, seen_by_network
from engines.rig import Rig
from puppet.types import PortraitEmbedding

PREFIX = "rig."  # of a rig's tensors among the weights of ours


def rig_of(path: Path) -> Rig:
    """A trained rig, or that in weights of ours, for inference. Raises `weights.WeightsError` without either."""
    rig = Rig()
    arrays = weights.load(path, model="rig" if weights.holds(path, model="rig") else "ours")
    try:
        rig.load_state_dict({name: torch.from_numpy(arrays[PREFIX + name]) for name in rig.state_dict()})
    except (KeyError, RuntimeError) as error:
        raise weights.WeightsError(f"The weights {path} do not fit the network; train them anew.") from error
    return rig.eval().requires_grad_(False)


def digest(rig: Rig) -> str:
    """Of its weights: another for every other rig."""
    return sha256(b"".join(value.cpu().numpy().tobytes() for value in rig.state_dict().values())).hexdigest()


@torch.inference_mode()
def rigged(embedding: PortraitEmbedding, rig: Rig | None) -> PortraitEmbedding:
    """The warp engine's embedding of one picture with its rig; as it is where there is none."""
    if rig is None:
        return embedding
    portrait = embedding.portrait
    crop = Crop.of(portrait.landmarks)
    seen = seen_by_network(crop.cut(portrait.image), crop.to_square(portrait.landmarks.points))
    parts = torch.from_numpy(seen)[None].permute(0, 3, 1, 2).float().div(255).split([3, 3, 1], dim=1)
    return replace(embedding, tensors={**embedding.tensors, "rig": np.asarray(rig(*parts).numpy())})
