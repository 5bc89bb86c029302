"""The parts of MediaPipe that this program uses, imported without the rest of it.

What its packages import by themselves takes ten times as long, brings matplotlib along, and looks for microphones.
Their modules are therefore loaded one by one, into packages whose own code is never run.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec

__all__ = [
    "BaseOptions",
    "FaceLandmarker",
    "FaceLandmarkerOptions",
    "Image",
    "ImageFormat",
    "RunningMode",
    "SelfieSegmentation",
]

for _name in ("mediapipe", "mediapipe.python.solutions", "mediapipe.tasks.python", "mediapipe.tasks.python.vision"):
    if _name not in sys.modules:
        _spec = find_spec(_name)
        if _spec is None:
            raise ModuleNotFoundError(f"No module named {_name!r}", name=_name)
        sys.modules[_name] = module_from_spec(_spec)

from mediapipe.python import Image, ImageFormat  # noqa: E402
from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation  # noqa: E402
from mediapipe.tasks.python.core.base_options import BaseOptions  # noqa: E402
from mediapipe.tasks.python.vision.core.vision_task_running_mode import (  # noqa: E402
    VisionTaskRunningMode as RunningMode,
)
from mediapipe.tasks.python.vision.face_landmarker import FaceLandmarker, FaceLandmarkerOptions  # noqa: E402
