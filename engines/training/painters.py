"""Ways to paint a portrait at given landmarks, to be judged: engines, doing nothing, and models as training has them.

All are called with a portrait, and the result with landmarks (478, 3) px of its picture.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from engines import weights
from engines.geometry import COARSE_PX, seen_by_network
from engines.neural import NeuralEngine
from engines.training.data import collate
from engines.training.evaluation import Painter
from engines.training.models import MODELS
from engines.training.sample import Sample
from engines.training.tuning import NoGainError, tuned_to
from engines.tuned import unfolded
from puppet.types import Engine, Floats, Image, Motion, Portrait

logger = logging.getLogger(__name__)


def static_painter(portrait: Portrait) -> Painter:
    """The baseline of doing nothing."""
    return lambda points: portrait.image


def engine_painter(engine: Engine) -> Callable[[Portrait], Painter]:
    """An engine, by what it makes of motions that name the landmarks."""

    def begin(portrait: Portrait) -> Painter:
        embedding = engine.embed(portrait)
        return lambda points: engine.animate(embedding, _absolute(points, portrait))

    return begin


def tuned_painter(base: Path) -> Callable[[Portrait], Painter]:
    """The neural engine with the weights `base`, tuned to each portrait first; as it is where that is refused.

    Raises what `NeuralEngine` raises.
    """

    def begin(portrait: Portrait) -> Painter:
        try:
            path = unfolded(tuned_to(portrait, portrait.key, base=base)[0], base)
        except NoGainError as error:
            logger.info("%s", error)
            path = base
        return engine_painter(NeuralEngine(path))(portrait)

    return begin


def model_painter(name: str, path: Path) -> Callable[[Portrait], Painter]:
    """One of `models.MODELS` that needs no warped picture, with its weights; portraits are of 256 px.

    Raises `weights.WeightsError` if `path` holds others.
    """
    model = MODELS[name]()
    arrays = weights.load(path, model=name)
    try:
        model.load_state_dict({key: torch.from_numpy(array) for key, array in arrays.items()})
    except RuntimeError as error:
        raise weights.WeightsError(f"The weights {path} do not fit the model {name}; train them anew.") from error
    model.eval().requires_grad_(False)

    def begin(portrait: Portrait) -> Painter:
        still = seen_by_network(portrait.image, portrait.landmarks.points)
        nothing = np.zeros((COARSE_PX, COARSE_PX, 10), np.float32)

        def paint(points: Floats) -> Image:
            layers = np.dstack([still, seen_by_network(portrait.image, points), portrait.image])
            batch = collate([Sample(layers, nothing, nothing[:2, :3, 0], nothing[0, 0, :6])]).to(torch.device("cpu"))
            painted = model(batch)[0][0].clamp(0, 1).mul(255).round().byte()
            return np.ascontiguousarray(painted.permute(1, 2, 0).numpy())

        return paint

    return begin


def _absolute(points: Floats, portrait: Portrait) -> Motion:
    return Motion(
        rotation=np.eye(3, dtype=np.float32),
        translation=np.zeros(2, np.float32),
        scale=1.0,
        expression=np.zeros_like(points),
        eyes=np.ones(2, np.float32),
        gaze=np.zeros((2, 2), np.float32),
        absolute=points / np.float32(portrait.landmarks.width_px),
    )
