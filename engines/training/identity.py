"""Whose face it is: dlib's face-recognition ResNet (128-d, CC0), from PyPI dlib-bin and face-recognition-models 0.3.0.

The face is cut out by five MediaPipe landmarks, so neither of dlib's detectors is needed.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import dlib
import numpy as np

from puppet.types import Floats, Image, PuppetError

# dlib's five points: outer and inner corner of the eye at the picture's right, then of the other; base of the nose.
_FIVE_POINTS = (263, 362, 33, 133, 2)
_CHIP_PX = 150
_CHIP_PADDING = 0.25  # of the face's size, on each side: what the network was trained with


class IdentityModelError(PuppetError, FileNotFoundError):
    """dlib's model file is not installed."""


class IdentityNet:
    """Describes faces by 128 numbers; two descriptors of one person lie closer than about 0.6."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("face_recognition_models")
        if spec is None or not spec.submodule_search_locations:
            raise IdentityModelError(
                "dlib's face recognition model is missing; install it with: pip install face-recognition-models==0.3.0"
            )
        folder = Path(spec.submodule_search_locations[0]) / "models"
        self._net = dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat"))

    def describe(self, image: Image, points: Floats) -> Floats:
        """The descriptor (128,) of the face in `image` whose landmarks are `points` (478, 3) px."""
        five = [dlib.point(*points[index, :2].round().astype(int).tolist()) for index in _FIVE_POINTS]
        left, top = points[:, :2].min(0)
        right, bottom = points[:, :2].max(0)
        box = dlib.rectangle(int(left), int(top), int(right), int(bottom))
        chip = dlib.get_face_chip(image, dlib.full_object_detection(box, five), _CHIP_PX, _CHIP_PADDING)
        return np.array(self._net.compute_face_descriptor(chip), np.float32)


def identity_distance(a: Floats, b: Floats) -> Floats:
    """Euclidean distance of descriptors (N, 128), (N,): about 0.4 for one person, 0.85 for two."""
    return np.linalg.norm(a - b, axis=-1).astype(np.float32)


def identity_similarity(a: Floats, b: Floats) -> Floats:
    """Cosine of descriptors, (N,). Not comparable with the papers' CSIM, whose network is another."""
    return ((a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))).astype(np.float32)
