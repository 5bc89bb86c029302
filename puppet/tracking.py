"""Finding and following a face: pictures in, 478 landmarks, 52 blendshapes and the head's pose out.

This is the only module that runs MediaPipe's tasks. Its graph runs synchronously on the CPU; one tracker
belongs to one thread at a time. Once a face is found, `puppet.follower` follows it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from puppet import mediapipe_parts as mediapipe
from puppet.types import Closing, Floats, Frame, Image, Landmarks, PuppetError

if TYPE_CHECKING:
    from puppet.follower import Follower

logger = logging.getLogger(__name__)

MODEL = Path(__file__).parent / "assets" / "face_landmarker.task"
MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"

# A new face's first region comes from the detector, all later ones from the landmarks before; that alone shifts
# the points by some 0.8 px in a 256 px picture. Looking at the first picture again brings them to rest within 0.1 px.
SETTLING_PASSES = 5
SETTLING_STEP_MS = 1000  # long enough for the graph's own smoothing to let go of the former pass

# Points are smoothed by their times: at 30 fps they trail a moving face by 0.4 to 1.1 px of 256. Told that
# ten times as much time goes by, they trail by 0.3 to 0.6 px; smoothing is motion's job, where the user can set it.
CLOCK_STRETCH = 10

NS_PER_MS = 1_000_000

_CHATTER = re.compile(rb"[IWE]\d{4} [\d:.]+ |INFO: Created TensorFlow|WARNING: All log messages before absl::")
_stderr_lock = threading.Lock()


class ModelError(PuppetError, RuntimeError):
    """A model file is missing or is not the one that this program was made with."""


class _Landmarker:
    """MediaPipe's FaceLandmarker with our types at its edge."""

    def __init__(self, *, faces: int, video: bool, confidence: float = 0.5) -> None:
        mode = mediapipe.RunningMode.VIDEO if video else mediapipe.RunningMode.IMAGE
        options = mediapipe.FaceLandmarkerOptions(
            base_options=mediapipe.BaseOptions(
                model_asset_buffer=_model(MODEL)
            ),  # a path must be ASCII, a buffer need not
            running_mode=mode,
            num_faces=faces,
            min_face_detection_confidence=confidence,
            min_face_presence_confidence=confidence,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
        )
        blank = np.zeros((64, 64, 3), np.uint8)
        with quiet_stderr():  # the graph's threads write while it opens: a first picture waits for them
            self._graph = mediapipe.FaceLandmarker.create_from_options(options)
            if video:
                self.find(blank, time_ms=0)
            else:
                self.find(blank)

    def find(self, image: Image, *, time_ms: int | None = None) -> list[Landmarks]:
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        found = self._graph.detect(picture) if time_ms is None else self._graph.detect_for_video(picture, time_ms)
        height_px, width_px = image.shape[:2]
        faces = zip(found.face_landmarks, found.face_blendshapes, found.facial_transformation_matrixes, strict=True)
        return [_landmarks(*face, width_px=width_px, height_px=height_px) for face in faces]

    def close(self) -> None:
        self._graph.close()


class _Holder(Closing):
    """Whatever holds a landmarker, to be closed once."""

    _landmarker: _Landmarker
    _open = True

    def close(self) -> None:
        if self._open:
            self._open = False
            self._landmarker.close()


class FaceTracker(_Holder):
    """Follows one face through a stream of frames, up to `faces` being in sight when it appears.

    A frame without a face gives None. A face that appears is looked at several times, so that the points of its
    first frame are as good as those of later ones. Frames' times may repeat or jump back (a clip that starts again).
    Without a `follower`, which takes some time to load, following takes twice as long.
    """

    def __init__(self, *, faces: int = 1, follower: bool = True) -> None:
        self._landmarker = _Landmarker(faces=faces, video=True)
        self._follower = load_follower() if follower else None
        self._last_ms = 0
        self._shift_ms = 0
        self._followed: Landmarks | None = None

    def __call__(self, frame: Frame) -> Landmarks | None:
        if self._followed is not None and self._follower:
            self._followed = self._follower(frame, time_ns=self._rising_ms(frame, step_ms=1) * NS_PER_MS)
            if self._followed is None:
                self._find(frame, step_ms=1)  # where the graph saw it last: now it will search the whole picture
        if self._followed is None or not self._follower:
            self._followed = self._found(frame)
        return self._followed

    def follow_with(self, follower: Follower | None) -> None:
        """From the next frame on. In the thread that tracks."""
        self._follower = follower
        if follower and self._followed:
            follower.start(self._followed, time_ns=self._last_ms * NS_PER_MS)

    def _found(self, frame: Frame) -> Landmarks | None:
        """By the graph; a face that was not there before is settled, and the follower told of it."""
        appeared = self._followed is None
        found = self._find(frame, step_ms=1)
        if found and appeared:
            for _ in range(SETTLING_PASSES):
                found = self._find(frame, step_ms=SETTLING_STEP_MS) or found
        face = _choose(found, self._followed)
        if face and self._follower:
            self._follower.start(face, time_ns=self._last_ms * NS_PER_MS)
        return face

    def _find(self, frame: Frame, *, step_ms: int) -> list[Landmarks]:
        found = self._landmarker.find(frame.image, time_ms=self._rising_ms(frame, step_ms=step_ms))
        return [replace(face, index=frame.index, time_ns=frame.time_ns) for face in found]

    def _rising_ms(self, frame: Frame, *, step_ms: int) -> int:
        """Smoothing wants strictly rising times: when the frames' do not, the clock is shifted by what is missing."""
        time_ms = CLOCK_STRETCH * frame.time_ns // NS_PER_MS + self._shift_ms
        missing_ms = max(0, self._last_ms + step_ms - time_ms)
        self._shift_ms += missing_ms
        self._last_ms = time_ms + missing_ms
        return self._last_ms


class FaceDetector(_Holder):
    """Finds up to `faces` faces in a still picture, the largest first, with no memory of other pictures.

    A `confidence` (0..1) under the usual 0.5 finds more faces, and more that are none.
    """

    def __init__(self, *, faces: int = 1, confidence: float = 0.5) -> None:
        self._landmarker = _Landmarker(faces=faces, video=False, confidence=confidence)

    def __call__(self, image: Image) -> list[Landmarks]:
        return sorted(self._landmarker.find(image), key=face_width_px, reverse=True)


def detect(image: Image, *, faces: int = 1) -> list[Landmarks]:
    """The faces of one (H, W, 3) uint8 RGB picture, the largest first."""
    with FaceDetector(faces=faces) as detector:
        return detector(image)


def settle(image: Image, *, primer: Image | None = None) -> Landmarks | None:
    """The one face of a still picture, with exactly the points that a tracker gives for it as a clip's first frame.

    The `primer` is the same picture in a treatment that shows the face more clearly: it is where to look first.
    """
    with FaceTracker(follower=False) as tracker:
        primed = tracker(Frame(primer, 0, 0)) if primer is not None else None
        settled = tracker(Frame(image, 0, 0))
        for _ in range(SETTLING_PASSES if primed is not None else 0):
            settled = tracker(Frame(image, 0, 1_000_000_000)) or settled
        return settled or primed


def face_width_px(face: Landmarks) -> float:
    """The larger side of the box around all points."""
    return float(np.ptp(face.points[:, :2], axis=0).max())


def load_follower(*, threads: int = 1) -> Follower | None:
    """For a FaceTracker, see Follower; None, and a word about it, where the graph has to do it all."""
    try:
        from puppet.follower import Follower

        return Follower(threads=threads)
    except (ImportError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1]
        logger.warning("OpenVINO cannot follow the face (%s); MediaPipe does, which takes twice the time.", reason)
        return None


def _landmarks(points: Any, blendshapes: Any, pose: Any, *, width_px: int, height_px: int) -> Landmarks:
    size = np.array([width_px, height_px, width_px], np.float32)  # z is in widths, too
    return Landmarks(
        points=np.array([(point.x, point.y, point.z) for point in points], np.float32) * size,
        blendshapes=np.array([shape.score for shape in blendshapes], np.float32),
        pose=np.array(pose, np.float32),
        width_px=width_px,
        height_px=height_px,
    )


def _choose(found: list[Landmarks], followed: Landmarks | None) -> Landmarks | None:
    """The face nearest to the one followed, if it lies on it; otherwise the largest."""
    if not found:
        return None
    if followed is not None:
        nearest = min(found, key=lambda face: _distance_px(face, followed))
        if _distance_px(nearest, followed) < face_width_px(followed) / 2:
            return nearest
    return max(found, key=face_width_px)


def _distance_px(one: Landmarks, other: Landmarks) -> float:
    centres: Floats = one.points[:, :2].mean(axis=0) - other.points[:, :2].mean(axis=0)
    return float(np.hypot(*centres))


@cache
def _model(path: Path) -> bytes:
    try:
        bundle = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"The face model {path} cannot be read ({error.strerror}); install the program again."
        ) from error
    if hashlib.sha256(bundle).hexdigest() != MODEL_SHA256:
        raise ModelError(f"The face model {path} is damaged (its checksum differs); install the program again.")
    return bundle


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep the graph's C++ log lines off the user's screen; whatever else is written meanwhile comes out after."""
    with _stderr_lock, tempfile.TemporaryFile() as caught:
        try:
            screen = os.dup(2)
        except OSError:  # a windowed program on Windows has no standard error
            yield
            return
        try:
            os.dup2(caught.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(screen, 2)
                caught.seek(0)
                for line in caught:
                    if not _CHATTER.match(line):
                        os.write(screen, line)
        finally:
            os.close(screen)
