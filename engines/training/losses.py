"""The losses: reconstruction (ours) and adversarial (section 3.2 of Zakharov et al. 2019), each times its weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.training.data import Batch
from engines.training.models import placed
from engines.training.perceptual import PerceptualNet
from engines.training.resemblance import FaceDescriber

CROP_PX = 96


@dataclass(frozen=True, slots=True)
class Weights:
    """What each loss counts. Zero switches a loss off, and the discriminator with the last three."""

    pixels: float = 3.0  # L1
    openings: float = 3.0  # L1 once more inside mouth and eyes
    whole: float = 1.0  # LPIPS-AlexNet of the whole picture: a sixth of VGG16's work
    crop: float = 1.0  # LPIPS-VGG16 of a part of the face
    identity: float = 0.0  # distance of dlib's descriptors
    flow: float = 0.05  # per px between the generator's flow and the optical flow; ours only
    adversarial: float = 0.0
    matching: float = 0.0  # feature matching
    match: float = 0.0  # embedding against the discriminator's column


FLOW: Final = Weights(pixels=0, openings=0, whole=0, crop=0, flow=1)  # of a rig
ADVERSARIAL: Final = Weights(identity=0.5, adversarial=0.02, matching=1.0)  # of the second stage


class Content:
    """The weighted losses of what was painted, and the networks that they need."""

    def __init__(self, weights: Weights, *, device: torch.device) -> None:
        self.weights = weights
        self.alexnet = placed(PerceptualNet.load("alexnet"), device)
        self._vgg = placed(PerceptualNet.load("vgg16"), device) if weights.crop else None
        self._describer = placed(FaceDescriber(), device) if weights.identity else None

    def __call__(self, painted: Tensor, flow: Tensor | None, batch: Batch) -> dict[str, Tensor]:
        """By name: `reconstruction`, whose face it is, and the error of the flow where a model has one."""
        weights = self.weights
        found = reconstruction(
            painted.float(), batch.target, batch.openings, alexnet=self.alexnet, vgg=self._vgg, weights=weights
        )
        if self._describer is not None:
            apart = self._describer.distance(painted, batch.target, batch.upright)
            found["identity"] = weights.identity * apart.mean()
        if flow is not None and weights.flow:
            found["flow"] = weights.flow * flow_error(flow.float(), batch.motion)
        return found


def reconstruction(
    painted: Tensor,
    target: Tensor,
    openings: Tensor,
    *,
    alexnet: PerceptualNet,
    vgg: PerceptualNet | None,
    weights: Weights,
) -> dict[str, Tensor]:
    """Weighted losses by name; pictures (B, 3, 256, 256) in 0..1, openings (B, 1, 256, 256). `crop` needs `vgg`."""
    error = (painted - target).abs()
    found = {}
    if weights.pixels:
        found["pixels"] = weights.pixels * error.mean()
    if weights.openings:
        near = F.max_pool2d(openings, 5, 1, 2)  # lids and lips belong to it
        found["openings"] = weights.openings * (error * near).sum() / (near.sum() * 3 + 100)
    if weights.whole:
        found["whole"] = weights.whole * alexnet.lpips(painted, target).mean()
    if weights.crop:
        assert vgg is not None
        half = (len(painted) + 1) // 2  # VGG16 costs more than all the rest: half of the pictures take turns
        crop = (slice(half), slice(None), *_square())
        found["crop"] = weights.crop * vgg.lpips(painted[crop], target[crop]).mean()
    return found


def flow_error(flow: Tensor, motion: Tensor) -> Tensor:
    """Mean distance, px, of a generator's flow (B, 2, 64, 64) from Pairs.motion (B, 3, 64, 64), where that is known."""
    known = motion[:, 2:]
    return ((flow - motion[:, :2]).abs() * known).sum() / (known.sum() + 1)


def _square() -> tuple[slice, slice]:
    """Rows and columns of a random square that shows part of the face."""
    top, left = (int(torch.randint(64, 256 - 64 - CROP_PX + 33, ())) for _ in range(2))
    return slice(top, top + CROP_PX), slice(left, left + CROP_PX)


def discriminator_hinge(real: Tensor, painted: Tensor) -> Tensor:
    """max(0, 1 - D(real)) + max(0, 1 + D(painted)), eq. 5."""
    return F.relu(1 - real).mean() + F.relu(1 + painted).mean()


def feature_matching(real: Sequence[Tensor], painted: Sequence[Tensor]) -> Tensor:
    """L1 between the discriminator's features (Wang et al. 2018, eq. 4), mean over blocks."""
    return torch.stack([F.l1_loss(b, a.detach()) for a, b in zip(real, painted, strict=True)]).mean()


def embedding_match(e: Tensor, columns: Tensor) -> Tensor:
    """L_MCH: L1 between embeddings (B, N) and the discriminator's columns W_i (B, N)."""
    return F.l1_loss(e, columns)
