"""NeuralEngine: the warp engine's picture, repaired by a network in a square around the face.

The network sees and paints 256 x 256 px; its flow and its residual are laid over the warped picture at full
resolution, so that skin and canvas keep their texture. Where nothing moved, nothing is touched.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np

from engines import EngineUnavailable, pace, runner
from engines.canvas import Canvas, Painter, side_for
from engines.figure import figure_of
from engines.geometry import SIDE_PX, Crop, head_motion, seen_by_network
from engines.realism import Realism
from engines.repair import Repair
from engines.runner import Example, Runner
from engines.symmetry import FarSide
from engines.warp import WarpEngine
from engines.weights import FOLDER, WeightsError
from puppet.motion import target_points
from puppet.types import Closing, Floats, Image, Landmarks, Motion, Portrait, PortraitEmbedding

logger = logging.getLogger(__name__)

DEFAULT = FOLDER / "ours.safetensors"
STILL, MOVED = 1.0, 6.0  # grey levels that the warp has changed a pixel by: left alone, and wholly the network's
HIGHLIGHT = 31.0  # grey levels below white at which highlights begin
MARGIN_PX = 9  # of the square around what moved, that the network may touch too
SEAM_PX = 16  # of the square: the repair fades out towards edges inside the picture
TRIAL_SIDE_PX, TRIAL_SHIFT_PX = 512, 6  # of the picture on which the pace is taken, and how far its face has moved


class NeuralEngine(Closing):
    """See the module's first lines. One thread at a time."""

    name = "neural"

    def __init__(self, weights: Path = DEFAULT, *, runner_name: str = "auto", ready: Runner | None = None) -> None:
        """Raises `weights.WeightsError` if there are none, `EngineUnavailable` if nothing can run them.

        ready: a runner with these weights, in place of one by name; it is closed with the engine.
        """
        self._runner = ready or runner.load(weights, runner_name)
        self._warp = WarpEngine()
        self._face: _Face | None = None
        self._canvas: tuple[Canvas, Painter] | None = None  # on which its frames are painted whole, where they can be
        self._painters: dict[int, Painter | None] = {}  # by canvas.SIDES_PX
        self._newest: tuple[Image, Floats, Portrait] | None = None  # the frame painted last, its landmarks, of whom
        self._judge: Realism | None = None  # for those who ask
        # Then, what the warp engine paints must do; but nothing costs the processor less than a card.
        self.frugal = False
        self.version = _version(weights)

    @classmethod
    def unasked(cls, *, live: bool) -> NeuralEngine:
        """The engine where it is fast enough to be chosen by itself; raises `EngineUnavailable` elsewhere."""
        pace_ms, most_ms = pace.remembered(_version(DEFAULT), _pace_ms), pace.budget_ms(live=live)
        if pace_ms > most_ms:
            raise EngineUnavailable(
                f"a frame of {TRIAL_SIDE_PX} px takes it {pace_ms:.0f} ms, and more than {most_ms:.0f} puts "
                "25 fps out of reach here; ask for it by name where that does not matter"
            )
        return cls()

    @property
    def runner(self) -> str:
        """Name of what runs the network."""
        return self._runner.name

    def embed(self, portrait: Portrait | PortraitEmbedding) -> PortraitEmbedding:
        """What the warp engine needs, a rig, and psi and features for the generator; an embedding comes back as it is.

        psi is the mean over the pictures of an album, as in the paper; each picture has its own rig and features.
        """
        if isinstance(portrait, PortraitEmbedding):
            return portrait
        warped = self._warp.embed(portrait)
        seen = [self._runner.embed(seen_by_network(*each)) for each in sights(warped, self._warp)]
        psi, features, rig = (np.concatenate([each[name] for each in seen]) for name in runner.EMBEDDED)
        tensors = {**warped.tensors, "rig": rig, "psi": psi.mean(axis=0, keepdims=True), "features": features}
        return PortraitEmbedding(self.name, portrait, tensors)

    def animate(self, embedding: PortraitEmbedding, motion: Motion) -> Image:
        """Paint one frame: (H, W, 3) uint8 RGB of the portrait's size, a fresh array."""
        target = target_points(motion, embedding.portrait.landmarks)
        return self.paint(embedding, target, time_ns=motion.time_ns)

    def paint(self, embedding: PortraitEmbedding, target: Floats, *, time_ns: int | None = None) -> Image:
        """Like `animate`, for landmarks that are known already: (478, 3) px of the portrait's picture."""
        if self._face is None or self._face.embedding is not embedding:
            face = _unpack(embedding, self._warp)
            self._face, self._canvas = face, self._canvas_for(face)
        if self._canvas is not None and not self._face.mirrors(target):
            canvas, painter = self._canvas
            output = canvas.paint(painter, target)
        elif self.frugal:
            output = self._warp.paint(self._face.warped, target, time_ns=time_ns)
        else:
            output = self._by_parts(self._face, target, time_ns=time_ns)
        self._newest = output, target, embedding.portrait  # not before it is whole: another thread may ask for realism
        return output

    def _by_parts(self, face: _Face, target: Floats, *, time_ns: int | None = None) -> Image:
        """The warp engine's picture, repaired."""
        output = self._warp.paint(face.warped, target, time_ns=time_ns)
        picture = output if output.shape[2] == 3 else np.ascontiguousarray(output[..., :3])  # some backdrops have alpha
        points = face.crop.to_square(target)
        square = face.crop.cut(picture)
        seen = seen_by_network(square, points)
        head, features = face.origin(self._warp.shares, points)
        flow, residual = self._runner.repair(seen, head, psi=face.psi, features=features)
        cover = _touched(square, face.rest) * face.seam
        residual = np.asarray(cv2.multiply(residual, cv2.merge([_room(seen)] * 3)), np.float32)
        face.repair(picture[face.crop.slices], flow, residual, cover=cover)
        if picture is not output:
            output[..., :3] = picture
        return output

    def painter(self, side_px: int) -> Painter | None:
        """What paints whole frames on such a square where the network runs, as `runner.Runner.painter`, if that can."""
        if side_px not in self._painters:
            try:
                self._painters[side_px] = self._runner.painter(side_px, lambda: self._example(side_px))
            except EngineUnavailable as error:
                logger.warning("Frames of %d px are warped on the processor, since %s", side_px, error)
                self._painters[side_px] = None
        return self._painters[side_px]

    def _canvas_for(self, face: _Face) -> tuple[Canvas, Painter] | None:
        if len(face.features) > 1:  # an album, whose pictures take turns
            return None
        side_px = side_for(face.warped)
        painter = self.painter(side_px) if side_px else None
        return (face.canvas(side_px), painter) if side_px and painter else None

    def _example(self, side_px: int) -> Example:
        portrait = pace.trial_portrait(side_px)
        face = _unpack(self.embed(portrait), self._warp)
        canvas = face.canvas(side_px)
        target = portrait.landmarks.points + np.float32(TRIAL_SHIFT_PX)
        return canvas.frame(target), canvas.portrait, self._by_parts(face, target)

    def realism(self) -> float | None:
        """See `puppet.types.Engine`. Raises what `Realism` raises."""
        if self._newest is None:
            return None
        self._judge = self._judge or Realism()
        picture, points, portrait = self._newest
        return self._judge.of(picture, points, portrait=portrait)

    def close(self) -> None:
        if self._judge is not None:
            self._judge.close()
        self._face = self._canvas = self._newest = None
        self._painters.clear()
        self._warp.close()
        self._runner.close()


def _version(weights: Path) -> str:
    """Of the tensors in its embeddings, which other weights or another warp engine make anew."""
    try:
        return f"{WarpEngine.version}-{sha256(weights.read_bytes()).hexdigest()[:16]}"
    except OSError as error:
        raise WeightsError(f"The weights {weights} cannot be read ({error}); give a file made by training.") from error


def _pace_ms() -> float:
    """How long painting a frame of TRIAL_SIDE_PX takes here."""
    portrait = pace.trial_portrait(TRIAL_SIDE_PX)
    points = portrait.landmarks.points
    with NeuralEngine() as engine:
        embedding = engine.embed(portrait)

        def paint() -> float:
            start_s = time.perf_counter()
            engine.paint(embedding, points + np.float32(TRIAL_SHIFT_PX))
            return time.perf_counter() - start_s

        return pace.median_ms(paint)


@dataclass(frozen=True, slots=True)
class _Face:
    """An embedding unpacked for painting."""

    embedding: PortraitEmbedding
    warped: PortraitEmbedding  # the same, for the warp engine
    crop: Crop
    points: Floats  # (K, 478, 3) px of the square, of each picture
    rest: Image  # (256, 256, 3): the square of the picture at rest
    seam: Floats  # (256, 256)
    repair: Repair
    psi: Floats  # (1, …)
    features: tuple[Floats, ...]  # (1, 64, 64, 64), of each picture
    far: FarSide | None

    def mirrors(self, target: Floats) -> bool:
        """Whether some of the far side of the face is to be seen, which is painted by parts alone."""
        return self.far is not None and bool(self.far.shown(target).any())

    def canvas(self, side_px: int) -> Canvas:
        """Of the one picture."""
        figure, features = figure_of(self.warped), self.features[0]
        return Canvas(
            figure, self.crop, side_px=side_px, rest=self.rest, seam=self.seam, psi=self.psi, features=features
        )

    def origin(self, shares: Floats, target: Floats) -> tuple[Floats, Floats]:
        """Head motion and features (1, 64, 64, 64) with regard to the pictures, in these shares (K,), that moved.

        Those of another picture would tell the network of a motion that never was, and it would undo it.
        """
        shown = np.flatnonzero(shares)
        heads = [head_motion(self.points[index], target) for index in shown]
        if len(shown) == 1:  # as it is: a runner need not take in anew what it has
            return heads[0], self.features[shown[0]]
        features = [self.features[index] for index in shown]
        return _mixed(shares[shown], heads), _mixed(shares[shown], features)


def _mixed(shares: Floats, arrays: Sequence[Floats]) -> Floats:
    return np.asarray(np.tensordot(shares, np.stack(arrays), axes=1), np.float32)


def sights(warped: PortraitEmbedding, warp: WarpEngine) -> list[tuple[Image, Floats]]:
    """For each picture of the warp engine's embedding, the square around the face, and its landmarks in that.

    A further picture is seen as it will be painted: in the portrait's place and tone.
    """
    portrait = warped.portrait
    crop = Crop.of(portrait.landmarks)
    pictures = [portrait.image, *(warp.paint(warped, points) for points in warped.tensors.get("views.points", ()))]
    return [
        (crop.cut(picture), crop.to_square(points)) for picture, points in zip(pictures, _points(warped), strict=True)
    ]


def _points(embedding: PortraitEmbedding) -> Floats:
    """(K, 478, 3) px of the portrait: the landmarks of all pictures."""
    own = embedding.portrait.landmarks.points[None]
    return np.concatenate([own, embedding.tensors.get("views.points", own[:0])])


def _unpack(embedding: PortraitEmbedding, warp: WarpEngine) -> _Face:
    portrait = embedding.portrait
    crop = Crop.of(portrait.landmarks)
    warped = replace(embedding, engine=warp.name)
    rest = np.ascontiguousarray(warp.paint(warped, portrait.landmarks.points)[..., :3])
    return _Face(
        embedding=embedding,
        warped=warped,
        crop=crop,
        points=np.stack([crop.to_square(points) for points in _points(embedding)]),
        rest=crop.cut(rest),
        seam=_seam(crop, portrait.landmarks),
        repair=Repair(crop.side),
        psi=np.asarray(embedding.tensors["psi"], np.float32),
        features=tuple(np.asarray(embedding.tensors["features"], np.float32)[:, None]),
        far=FarSide.of(portrait.landmarks.points),
    )


def _touched(warped: Image, rest: Image) -> Floats:
    """(256, 256) 0..1: where the warp changed the portrait, and a margin around. Grows steadily as things move."""
    red, green, blue = cv2.split(cv2.absdiff(warped, rest))
    wide = cv2.dilate(cv2.max(cv2.max(red, green), blue), np.ones((2 * MARGIN_PX + 1,) * 2, np.uint8))
    moved = np.clip((wide - np.float32(STILL)) * np.float32(1 / (MOVED - STILL)), 0, 1)
    return np.asarray(cv2.blur(moved, (MARGIN_PX, MARGIN_PX)), np.float32)


def _room(seen: Image) -> Floats:
    """(256, 256) 0..1: how much of the residual to add to what the network has `seen`, (256, 256, 7).

    None to highlights outside mouth and eyes: of what is painted white, the network knows no shades, and greys it.
    """
    red, green, blue, *_, openings = cv2.split(seen)
    room = np.clip((255 - cv2.max(cv2.max(red, green), blue)) * np.float32(1 / HIGHLIGHT), 0, 1)
    near = cv2.dilate(openings, np.ones((2 * MARGIN_PX + 1,) * 2, np.uint8)) * np.float32(1 / 255)
    return np.asarray(np.maximum(cv2.blur(room, (MARGIN_PX, MARGIN_PX)), near), np.float32)


def _seam(crop: Crop, face: Landmarks) -> Floats:
    """(256, 256): 1, falling to 0 towards those edges of the square that are not the picture's."""
    ramp = np.clip((np.arange(SIDE_PX, dtype=np.float32) + 0.5) / SEAM_PX, 0, 1)
    sides = []
    for start, length in ((crop.top, face.height_px), (crop.left, face.width_px)):
        first = ramp if start > 0 else np.ones_like(ramp)
        last = ramp[::-1] if start + crop.side < length else np.ones_like(ramp)
        sides.append(first * last)
    return np.outer(*sides).astype(np.float32)
