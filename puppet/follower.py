"""Following a face from picture to picture: FaceLandmarker's own networks, run by OpenVINO in half MediaPipe's time.

What lies round the networks is done as in MediaPipe's graph (tasks/cc/vision/face_landmarker: the region, the way
back into the picture, the smoothing, the blendshapes' input), so that the points are those that it would give. It
cannot find a face, only follow one.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np

from puppet.facepose import face_pose
from puppet.openvino_core import core
from puppet.settings import asset
from puppet.smoothing import OneEuro, Smoothness
from puppet.types import Floats, Frame, Image, Landmarks

SIDE_PX: Final = 256  # of the pictures that the network looks at
REGION: Final = 1.5  # times the larger side of the box round all points
EYES: Final = (33, 263)  # the eyes' outer corners: level in the region
PRESENT: Final = 0.0  # the network's logit for an even chance that there is a face
SMOOTHNESS: Final = Smoothness(rest_hz=0.05, per_speed=80.0)  # speed in sizes of the face
OPTIONS: Final = {
    "INFERENCE_PRECISION_HINT": "f32",
    "NUM_STREAMS": "1",
    "ENABLE_CPU_PINNING": "NO",  # nor wait for one core while the other is idle
}

# The landmarks that the blendshapes' network takes, in its order (kLandmarksSubsetIdxs of face_blendshapes_graph.cc).
SHAPING: Final = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80, 81,
    82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153, 154,
    155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263,
    267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321,
    323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386, 387,
    388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
)  # fmt: skip


class Follower:
    """Follows one face: `start` with where it was found, then one call for each later picture."""

    def __init__(self, *, threads: int = 1) -> None:
        """Two threads are done a tenth sooner, but use more of the processor: for live pictures, for which one waits.

        Raises RuntimeError where OpenVINO cannot run the networks.
        """
        self._points, self._shapes = _network("face_points.xml", threads), _network("face_blendshapes.xml", 1)
        self._smooth = OneEuro(SMOOTHNESS)
        self._last = np.zeros((0, 3), np.float32)

    def start(self, face: Landmarks, *, time_ns: int) -> None:
        """Begin anew with a face as it was seen at `time_ns`."""
        self._smooth.reset()
        self._last = face.points
        self._smooth(face.points.astype(np.float64), time_ns=time_ns)

    def __call__(self, frame: Frame, *, time_ns: int) -> Landmarks | None:
        """The face in the next picture, if it still is where it was or nearby.

        `time_ns` is what the smoothing goes by; it must rise.
        """
        points, presence = self._look(frame.image)
        if not presence >= PRESENT:  # nor where it is not a number
            return None
        self._last = points
        size_px = float(np.ptp(points[:, :2], axis=0).mean())
        points = self._smooth(points.astype(np.float64), time_ns=time_ns, unit=size_px).astype(np.float32)
        height_px, width_px = frame.image.shape[:2]
        return Landmarks(
            points=points,
            blendshapes=self._shapes.infer([points[None, SHAPING, :2]], share_outputs=False)["blendshapes"],
            pose=face_pose(points, width_px=width_px, height_px=height_px),
            width_px=width_px,
            height_px=height_px,
            index=frame.index,
            time_ns=frame.time_ns,
        )

    def _look(self, image: Image) -> tuple[Floats, float]:
        """(478, 3) float32 points in px of the picture, not smoothed, and the logit of there being a face."""
        low, high = self._last[:, :2].min(axis=0), self._last[:, :2].max(axis=0)
        centre = (low + high) / 2
        px = REGION * float((high - low).max()) / SIDE_PX  # of the picture, in one of the region
        x, y = self._last[EYES[1], :2] - self._last[EYES[0], :2]
        cosine, sine = np.array([x, y]) / np.hypot(x, y)
        turn = px * np.array([[cosine, -sine], [sine, cosine]])
        matrix = np.column_stack([turn, centre - turn @ [SIDE_PX / 2, SIDE_PX / 2]])
        region = cv2.warpAffine(
            image, matrix, (SIDE_PX, SIDE_PX), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        found = self._points.infer([region[None]], share_inputs=True)
        inside = found["points"].reshape(-1, 3)
        flat = inside[:, :2] @ turn.T + matrix[:, 2]
        # The graph's scale of depth grows as the head tilts in a picture that is not square; what was trained and
        # calibrated with its points expects that.
        depth = inside[:, 2:] * px * np.hypot(cosine, sine * image.shape[1] / image.shape[0])
        return np.hstack([flat, depth]).astype(np.float32), float(found["presence"].item())


def _network(name: str, threads: int) -> Any:
    options = OPTIONS | {"INFERENCE_NUM_THREADS": str(threads)}
    return core().compile_model(asset(name), "CPU", options).create_infer_request()
