"""The program on one page: the values that travel between its stages, and the faces of its parts.

A camera yields Frames, the tracker turns them into Landmarks, the retargeter turns those into Motion,
an engine paints a portrait's embedding in that Motion, and a sink takes the painted Frames.
Values are frozen, and an array that was handed over is never written again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (H, W, 3) RGB, C-contiguous
Floats = NDArray[np.float32]

LANDMARK_COUNT = 478  # FaceLandmarker's: 468 of the mesh, 5 of the iris at the picture's left, 5 of the other
BLENDSHAPE_COUNT = 52


class PuppetError(Exception):
    """Anything that the user can understand and mend; its text is one sentence that says what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a stream. A gap in `index` is a drop; now - `time_ns` at the sink is the latency."""

    image: Image  # (H, W, 3) uint8, RGB, C-contiguous
    index: int  # the camera's count
    time_ns: int  # live: time.monotonic_ns() at capture; file: presentation time since the first frame


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """One tracked face."""

    points: Floats  # (478, 3) float32; x right, y down in px of the picture; z in the same unit, smaller is nearer
    blendshapes: Floats  # (52,) float32, 0..1, in FaceLandmarker's order
    pose: Floats  # (4, 4) float32: canonical face model (cm; x right, y up, z to the viewer) -> camera
    width_px: int  # of the picture that the points lie in
    height_px: int
    index: int = 0
    time_ns: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """What a driver's face does, relative to the driver's own rest and free of the driver's identity.

    Lengths are in head units: the root-mean-square distance of the face's stable points from their mean
    (`motion.head_size`). "Frontal" axes are the canonical face's: x right, y down, z away from the viewer,
    as seen in a picture of a face that looks straight into the camera.
    """

    rotation: Floats  # (3, 3) float32, exp(now - rest) of the head's rotation vectors; x right, y down, z away
    translation: Floats  # (2,) float32, shift of the head's centre in the picture since rest, head units
    scale: float  # apparent head size / that at rest
    expression: Floats  # (478, 3) float32, displacement of each point from rest, frontal axes; 0 for lids and irises
    eyes: Floats  # (2,) float32, eye opening / that at rest: 0 closed, 1 rest; [0] the eye at the picture's left
    gaze: Floats  # (2, 2) float32, iris shift since rest, frontal x and y, in widths of that eye
    look: float = 0.0  # 0..1, how far the eyes look at the viewer, wherever head and gaze turn
    absolute: Floats | None = None  # (478, 3) float32 in picture widths: the driver's points, if they are the target
    strength: float = 1.0  # how much of all this to apply; 0 is the portrait's rest
    index: int = 0
    time_ns: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """A prepared picture: what every engine needs to know of it, made once by `portrait.prepare`."""

    image: Image  # (H, W, 3) uint8 RGB at output size
    landmarks: Landmarks  # of the chosen face, px of `image`
    matte: NDArray[np.uint8]  # (H, W) uint8; 255 the person (head, hair, body), 0 background, soft edge
    background: Image  # (H, W, 3) uint8: the person in-painted away; equals `image` wherever `matte` is 0
    key: str  # sha256 over content, size and way of preparation: equal keys, equal portraits


@dataclass(frozen=True, slots=True, eq=False)
class PortraitEmbedding:
    """All that an engine derives from a portrait alone; made once, cached on disk, handed to every `animate`."""

    engine: str  # the name of the engine that made it and can read it
    portrait: Portrait
    tensors: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    backdrop: Image | None = None  # (H, W, 3) instead of the portrait's own background; (H, W, 4) may be transparent


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """One user's face at rest and the ranges of its eyes and mouth, in the user's own units."""

    neutral: Landmarks
    eye_closed: Floats  # (2,) float32, lid gap / eye width when shut, [0] the eye at the picture's left
    eye_open: Floats  # (2,) float32, the same at rest
    mouth_open: float = 0.0  # gap of the lips / width of the mouth when wide open; 0 if that was not measured


@dataclass(frozen=True, slots=True)
class Controls:
    """Live sliders, of which 1.0 is the driver's own amount, and switches."""

    head: float = 1.0
    mouth: float = 1.0
    eyes: float = 1.0
    brows: float = 1.0
    gaze: float = 1.0
    smoothing: float = 1.0  # 0 switches the one-euro filter off
    freeze: bool = False  # the last Motion stays
    auto_blink: bool = False  # where the driver's eyes do not blink for some seconds
    look_at_camera: bool = False
    idle: bool = False  # a face lost for long breathes and blinks, instead of resting


class Closing(Protocol):
    """A context manager that ends with its `close`, which may be called more than once."""

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Camera(Closing, Protocol):
    """A source of pictures: webcam, video file. Iterating ends with the file, or raises `CameraError`."""

    fps: Fraction
    width_px: int
    height_px: int

    def __iter__(self) -> Iterator[Frame]: ...


class Engine(Closing, Protocol):
    """A way to turn (embedding, motion) into a picture. Used by one thread at a time."""

    name: str
    frugal: bool  # whether to paint more simply, where it can, because the computer is slow

    def embed(self, portrait: Portrait | PortraitEmbedding) -> PortraitEmbedding:
        """Derive everything that depends on the portrait alone; its own embedding comes back as it is."""
        ...

    def animate(self, embedding: PortraitEmbedding, motion: Motion) -> Image:
        """Paint one frame: a fresh (H, W, 3) uint8 RGB array of the portrait's size, owned by the caller.

        It is (H, W, 4) RGBA, not premultiplied, where the embedding's backdrop is.
        """
        ...

    def realism(self) -> float | None:
        """How real the frame painted last looks, 0..1; 0.5: as real as the portrait itself. None if it cannot tell.

        Takes about as long as a frame: to be asked now and then, before anybody writes into that frame.
        """
        ...


class Sink(Closing, Protocol):
    """Takes painted frames: a file, a window, a virtual camera."""

    def send(self, frame: Frame) -> None: ...
