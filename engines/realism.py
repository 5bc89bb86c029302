"""The realism score: how likely a painted frame is to be taken for the true picture, shown beside the portrait itself.

The critic, which was trained to tell true frames from what our generator paints, looks at the square around the face
and at its landmarks; how far its scores of two pictures must be apart is calibrated on people whom it never saw. 0.5
says that it cannot tell the frame from the portrait. Alone, a score would say more of how sharp the portrait is.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from engines import first_of, weights
from engines.geometry import Crop, rasterise
from puppet.types import Closing, Floats, Image, Portrait

DEFAULT: Final = weights.FOLDER / "critic.safetensors"

# name -> "module:class", best first
CRITICS: Final[dict[str, str]] = {
    "openvino": "engines.openvino:OpenVINOCritic",
    "onnxruntime": "engines.onnxrt:ONNXCritic",
    "pytorch": "engines.pytorch:TorchCritic",
}


class RunningCritic(Closing, Protocol):
    """Made with the path of the weights; raises `runner.RunnerUnavailable` or `weights.WeightsError`."""

    name: str

    def judge(self, seen: Image) -> float:
        """The score of `seen` (256, 256, 6) uint8, a picture and its raster: the higher, the more real."""
        ...


class Realism(Closing):
    """The calibrated critic. One thread at a time."""

    def __init__(self, path: Path = DEFAULT, *, runner: str = "auto") -> None:
        """Raises `weights.WeightsError` if `path` holds no critic, `EngineUnavailable` if nothing can run it."""
        self._gain = float(weights.check(path, model="critic")["gain"])
        self._critic: RunningCritic = first_of(CRITICS, runner, "critic", path)
        self._beside: tuple[Portrait, float] | None = None  # the last portrait and its score

    def of(self, picture: Image, points: Floats, *, portrait: Portrait) -> float:
        """0..1, of a `picture` (H, W, 3 or 4) of `portrait`, whose face has the landmarks `points` (478, 3) px."""
        if self._beside is None or self._beside[0] is not portrait:
            self._beside = portrait, self._score(portrait.image, portrait.landmarks.points)
        ahead = self._score(picture, points) - self._beside[1]
        return 0.5 + 0.5 * math.tanh(self._gain * ahead / 2)  # the logistic function, which would overflow

    def _score(self, picture: Image, points: Floats) -> float:
        height_px, width_px = picture.shape[:2]
        crop = Crop.around(points, width_px=width_px, height_px=height_px)
        square = crop.cut(picture)[..., :3]
        return self._critic.judge(np.dstack([square, rasterise(crop.to_square(points))]))

    def close(self) -> None:
        self._critic.close()
