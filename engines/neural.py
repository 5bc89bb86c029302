"""NeuralEngine: the warp engine's picture, repaired by a network in a square around the face.

The network sees and paints 256 x 256 px; its flow and its residual are laid over the warped picture at full
resolution, so that skin and canvas keep their texture. Where nothing moved, nothing is touched.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np

from engines import EngineUnavailable, pace, runner
from engines.geometry import COARSE_PX, SIDE_PX, Crop, head_motion, seen_by_network
from engines.warp import WarpEngine
from engines.weights import FOLDER, WeightsError
from puppet.motion import target_points
from puppet.overlay import Album
from puppet.types import Closing, Floats, Image, Landmarks, Motion, Portrait, PortraitEmbedding

DEFAULT = FOLDER / "ours.safetensors"
STILL, MOVED = 1.0, 6.0  # grey levels that the warp has changed a pixel by: left alone, and wholly the network's
MARGIN_PX = 9  # of the square around what moved, that the network may touch too
SEAM_PX = 16  # of the square: the repair fades out towards edges inside the picture
TRIAL_SIDE_PX = 512
WARPS_PER_REPAIR = 4  # times as long as laying the repair over such a picture the warp engine takes to paint it


class NeuralEngine(Closing):
    """See the module's first lines. One thread at a time."""

    name = "neural"

    def __init__(self, weights: Path = DEFAULT, *, runner_name: str = "auto") -> None:
        """Raises `weights.WeightsError` if there are none, `EngineUnavailable` if nothing can run them."""
        self._runner = runner.load(weights, runner_name)
        self._warp = WarpEngine()
        self._face: _Face | None = None
        self.frugal = False  # then, what the warp engine paints must do
        self.version = _version(weights)

    @classmethod
    def unasked(cls) -> NeuralEngine:
        """The engine where it is fast enough to be chosen by itself; raises `EngineUnavailable` elsewhere."""
        pace_ms, most_ms = pace.remembered(_version(DEFAULT), _pace_ms), pace.budget_ms()
        if pace_ms > most_ms:
            raise EngineUnavailable(
                f"a frame of {TRIAL_SIDE_PX} px would take it {pace_ms:.0f} ms, and more than {most_ms:.0f} puts "
                "25 fps out of reach here; ask for it by name where that does not matter"
            )
        return cls()

    @property
    def runner(self) -> str:
        """Name of what runs the network."""
        return self._runner.name

    def embed(self, portrait: Portrait | PortraitEmbedding) -> PortraitEmbedding:
        """What the warp engine needs, and psi and features for the generator; an embedding comes back as it is.

        psi is the mean over the pictures of an album, as in the paper; features are of the portrait itself.
        """
        if isinstance(portrait, PortraitEmbedding):
            return portrait
        crop = _crop(portrait.landmarks)
        pictures = [portrait, *(portrait.views if isinstance(portrait, Album) else ())]
        squares = [(crop.cut(each.image), crop.to_square(each.landmarks.points)) for each in pictures]
        seen = [self._runner.embed(seen_by_network(*square)) for square in squares]
        psi = np.mean([each["psi"] for each in seen], axis=0)
        tensors = {**self._warp.embed(portrait).tensors, "psi": psi, "features": seen[0]["features"]}
        return PortraitEmbedding(self.name, portrait, tensors)

    def animate(self, embedding: PortraitEmbedding, motion: Motion) -> Image:
        """Paint one frame: (H, W, 3) uint8 RGB of the portrait's size, a fresh array."""
        target = target_points(motion, embedding.portrait.landmarks)
        return self.paint(embedding, target, time_ns=motion.time_ns)

    def paint(self, embedding: PortraitEmbedding, target: Floats, *, time_ns: int | None = None) -> Image:
        """Like `animate`, for landmarks that are known already: (478, 3) px of the portrait's picture."""
        if self._face is None or self._face.embedding is not embedding:
            self._face = _unpack(embedding, self._warp)
        face = self._face
        output = self._warp.paint(face.warped, target, time_ns=time_ns)
        if self.frugal:
            return output
        picture = output if output.shape[2] == 3 else np.ascontiguousarray(output[..., :3])  # some backdrops have alpha
        points = face.crop.to_square(target)
        square = face.crop.cut(picture)
        seen = seen_by_network(square, points)
        flow, residual = self._runner.repair(seen, head_motion(face.points, points), **face.cached)
        cover = _touched(square, face.rest) * face.seam
        _repair(picture[face.crop.slices], flow, residual, cover=cover)
        if picture is not output:
            output[..., :3] = picture
        return output

    def close(self) -> None:
        self._face = None
        self._warp.close()
        self._runner.close()


def _version(weights: Path) -> str:
    """Of the tensors in its embeddings, which other weights or another warp engine make anew."""
    try:
        return f"{WarpEngine.version}-{sha256(weights.read_bytes()).hexdigest()[:16]}"
    except OSError as error:
        raise WeightsError(f"The weights {weights} cannot be read ({error}); give a file made by training.") from error


def _pace_ms() -> float:
    """About how long painting a frame of TRIAL_SIDE_PX takes here."""
    random = np.random.default_rng(0)
    seen = random.integers(0, 256, (SIDE_PX, SIDE_PX, 7), np.uint8)
    head = random.normal(size=(COARSE_PX, COARSE_PX, 4)).astype(np.float32)
    picture = random.integers(0, 256, (TRIAL_SIDE_PX, TRIAL_SIDE_PX, 3), np.uint8)
    cover = np.ones((SIDE_PX, SIDE_PX), np.float32)
    with runner.load(DEFAULT) as network:
        cached = network.embed(seen)

        def paint() -> float:
            start_s = time.perf_counter()
            flow, residual = network.repair(seen, head, **cached)
            between_s = time.perf_counter()
            _repair(picture, flow, residual, cover=cover)
            return between_s - start_s + (1 + WARPS_PER_REPAIR) * (time.perf_counter() - between_s)

        return pace.median_ms(paint)


@dataclass(frozen=True, slots=True)
class _Face:
    """An embedding unpacked for painting."""

    embedding: PortraitEmbedding
    warped: PortraitEmbedding  # the same, for the warp engine
    crop: Crop
    points: Floats  # (478, 3) px of the square, at rest
    rest: Image  # (256, 256, 3): the square of the picture at rest
    seam: Floats  # (256, 256)
    cached: dict[str, Floats]  # psi and features


def _unpack(embedding: PortraitEmbedding, warp: WarpEngine) -> _Face:
    portrait = embedding.portrait
    crop = _crop(portrait.landmarks)
    warped = replace(embedding, engine=warp.name)
    rest = np.ascontiguousarray(warp.paint(warped, portrait.landmarks.points)[..., :3])
    return _Face(
        embedding=embedding,
        warped=warped,
        crop=crop,
        points=crop.to_square(portrait.landmarks.points),
        rest=crop.cut(rest),
        seam=_seam(crop, portrait.landmarks),
        cached={name: np.asarray(embedding.tensors[name], np.float32) for name in ("psi", "features")},
    )


def _crop(face: Landmarks) -> Crop:
    return Crop.around(face.points, width_px=face.width_px, height_px=face.height_px)


def _touched(warped: Image, rest: Image) -> Floats:
    """(256, 256) 0..1: where the warp changed the portrait, and a margin around. Grows steadily as things move."""
    red, green, blue = cv2.split(cv2.absdiff(warped, rest))
    wide = cv2.dilate(cv2.max(cv2.max(red, green), blue), np.ones((2 * MARGIN_PX + 1,) * 2, np.uint8))
    moved = np.clip((wide - np.float32(STILL)) * np.float32(1 / (MOVED - STILL)), 0, 1)
    return np.asarray(cv2.blur(moved, (MARGIN_PX, MARGIN_PX)), np.float32)


def _seam(crop: Crop, face: Landmarks) -> Floats:
    """(256, 256): 1, falling to 0 towards those edges of the square that are not the picture's."""
    ramp = np.clip((np.arange(SIDE_PX, dtype=np.float32) + 0.5) / SEAM_PX, 0, 1)
    sides = []
    for start, length in ((crop.top, face.height_px), (crop.left, face.width_px)):
        first = ramp if start > 0 else np.ones_like(ramp)
        last = ramp[::-1] if start + crop.side < length else np.ones_like(ramp)
        sides.append(first * last)
    return np.outer(*sides).astype(np.float32)


def _repair(square: Image, flow: Floats, residual: Floats, *, cover: Floats) -> None:
    """Lay the network's repair over the square of the picture (side, side, 3), in place; cover (256, 256) 0..1."""
    side = len(square)
    size = (side, side)
    coarse = cv2.resize(cover, (COARSE_PX, COARSE_PX), interpolation=cv2.INTER_AREA)
    shift = cv2.resize(flow * (coarse * (side / SIDE_PX))[..., None], size, interpolation=cv2.INTER_LINEAR)
    moved = cv2.remap(square, shift + _pixels(side), None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    added = cv2.resize(residual * (cover * 255)[..., None], size, interpolation=cv2.INTER_LINEAR)
    cv2.add(moved, added, dst=square, dtype=cv2.CV_8U)


@lru_cache(maxsize=2)
def _pixels(side: int) -> Floats:
    """(side, side, 2): x and y of each pixel."""
    line = np.arange(side, dtype=np.float32)
    return np.dstack(np.meshgrid(line, line))
