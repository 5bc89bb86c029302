"""WarpEngine: a landmark-driven warp of the portrait's own pixels, the floor that always works.

Layers, from the back: the still background, the person carried by the smooth flow, and in the openings of the skin
the eyeballs and the mouth. Everything that depends on the portrait alone is made once in `embed`. Of an album, each
frame is painted from the nearest picture (`engines.views`). Of a single one that looks aside, the far side of the face
is mirrored when it comes to be seen (`engines.symmetry`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import flow
from engines.eyes import eyeball_of, paint_eyeball
from engines.figure import Figure, basis_of, figure_of, local, view_of
from engines.layers import foreground, over
from engines.mouth import jaws, own_share, paint_mouth, palette_of
from engines.slit import EYES, MOUTH, Opening, open_slit
from engines.symmetry import FarSide, Mirrored, mirrored_basis
from engines.views import Views, in_tone
from puppet.motion import target_points
from puppet.overlay import Album
from puppet.types import Closing, Floats, Image, Motion, Portrait, PortraitEmbedding

CUBIC_PX = 2  # by which enlarging the flow may overshoot


class WarpEngine(Closing):
    """Pure numpy and OpenCV; see the module's first lines. One thread at a time."""

    name = "warp"
    version = 4  # of the tensors in its embeddings
    frugal = False  # it knows no simpler way

    def __init__(self) -> None:
        self._embedding: PortraitEmbedding | None = None
        self._painter: Callable[[Floats, int | None], Image] | None = None  # of that embedding
        self._chooser: Views | None = None  # that the painter chooses from

    def embed(self, portrait: Portrait | PortraitEmbedding) -> PortraitEmbedding:
        """Prepare the spline, the layers and the eyeballs; an embedding comes back as it is."""
        if isinstance(portrait, PortraitEmbedding):
            return portrait
        region, points = local(portrait.landmarks.points, portrait.image.shape)
        image, background = portrait.image[region], portrait.background[region]
        palette = palette_of(image, points)
        tensors: dict[str, NDArray[np.generic]] = {
            "basis": basis_of(points, image.shape, bottom_px=portrait.image.shape[0] - region[0].start),
            "person": foreground(image, background, portrait.matte[region]),
            "palette": np.stack([palette.cavity, palette.teeth, palette.tongue]),
        }
        for side in (0, 1):
            eyeball = eyeball_of(image, points, side)
            tensors |= {f"sclera{side}": eyeball.sclera, f"iris{side}": eyeball.iris}
            tensors[f"eye{side}"] = np.array([eyeball.left, eyeball.top], np.int32)
        embedding = PortraitEmbedding(engine=self.name, portrait=portrait, tensors=tensors)
        if isinstance(portrait, Album) and portrait.views:
            tensors |= self._views(embedding, portrait)
        elif FarSide.of(portrait.landmarks.points):
            tensors["mirrored.basis"] = mirrored_basis(portrait)
        return embedding

    def animate(self, embedding: PortraitEmbedding, motion: Motion) -> Image:
        """Paint one frame: (H, W, 3) uint8 RGB of the portrait's size, a fresh array; RGBA with such a backdrop."""
        target = target_points(motion, embedding.portrait.landmarks)
        return self.paint(embedding, target, time_ns=motion.time_ns)

    def paint(self, embedding: PortraitEmbedding, target: Floats, *, time_ns: int | None = None) -> Image:
        """Like `animate`, for landmarks that are known already: (478, 3) px of the portrait's picture.

        `time_ns` is the frame's, by which one picture of an album fades into another; without it there are cuts.
        """
        if embedding is not self._embedding or self._painter is None:
            self._painter, self._chooser = _open(embedding)
            self._embedding = embedding
        return self._painter(target, time_ns)

    @property
    def shares(self) -> Floats:
        """(K,) how much of each of an embedding's pictures made up the face that was painted last; 1 in all."""
        return np.ones(1, np.float32) if self._chooser is None else self._chooser.shares.astype(np.float32)

    def realism(self) -> None:
        """It has nobody who could tell."""

    def close(self) -> None:
        self._embedding = self._painter = self._chooser = None

    def _views(self, embedding: PortraitEmbedding, album: Album) -> dict[str, NDArray[np.generic]]:
        """What `view_of` needs of each further picture: little, since most of them wait long for their turn."""
        people = []
        for view in album.views:
            image, points = view.image, view.landmarks.points
            if not view.whole:
                image = in_tone(image, points, self.paint(embedding, points))
            people.append(foreground(image, view.background, view.matte))
        self.close()  # it painted the portrait alone
        return {
            "views.person": np.stack(people),
            "views.points": np.stack([view.landmarks.points for view in album.views]),
            "views.whole": np.array([view.whole for view in album.views], np.uint8),
        }


def _open(embedding: PortraitEmbedding) -> tuple[Callable[[Floats, int | None], Image], Views | None]:
    """What paints the embedding, from landmarks (478, 3) px and the frame's time, and chooses from its pictures."""
    portrait = figure_of(embedding)
    if "views.points" not in embedding.tensors:
        far = FarSide.of(embedding.portrait.landmarks.points)
        if far is None:
            return lambda target, time_ns: _picture(portrait, target), None
        near = cache(partial(Mirrored, embedding, far))  # made when it is first to be seen
        return lambda target, time_ns: _completed(_picture(portrait, target), target, far, near), None

    def open_view(index: int) -> Callable[[Floats], Image]:
        return partial(_picture, portrait if index == 0 else view_of(embedding, index - 1))

    views = Views(embedding, open_view)
    return views.paint, views


def _picture(face: Figure, target: Floats) -> Image:
    output = face.canvas.copy()
    output[face.region] = _paint(face, target - face.origin)
    return output


def _completed(picture: Image, target: Floats, far: FarSide, near: Callable[[], Mirrored]) -> Image:
    """`picture` with what it hides of the face painted from the near side, where that is to be seen."""
    shown = far.shown(target)
    if shown.any():
        mirrored = near()
        mirrored.over(picture, _paint(mirrored.figure, target - mirrored.figure.origin), target, shown)
    return picture


def _paint(face: Figure, target: Floats) -> Image:
    height, width = face.background.shape[:2]
    back = face.back(target)
    dense = cv2.resize(back, (width, height), dst=face.source, interpolation=cv2.INTER_CUBIC)
    at_landmarks = flow.sample(dense, target[None, :, :2].copy(), border=cv2.BORDER_REPLICATE)[0]
    source = cv2.add(dense, face.pixels, dst=dense)  # (h, w, 2): the pixel of `padded` that each output pixel shows
    openings = [
        open_slit(slit, edges, width_px=width, height_px=height)
        for slit, edges in zip((MOUTH, *EYES), face.edges(target, at_landmarks), strict=True)
    ]
    mouth, *eyes = (None if opening is None else opening.inside() for opening in openings)
    behind = [None if eye is None else source[eye.box] - face.pad_px for eye in eyes]
    for opening in openings:
        if opening is not None:
            source[opening.box] += opening.skin
    # A head that ducks must not be mirrored above itself: only rows near the top can come from beyond it.
    near_top = source[: max(0, math.ceil(-float(back[..., 1].min())) + CUBIC_PX), :, 1]
    np.maximum(near_top, face.pad_px, out=near_top)
    person = flow.sample(face.padded, source, border=cv2.BORDER_REPLICATE, out=face.moved)
    painted = over(person, face.background)

    for opening in openings:
        if opening is not None and opening.seam.any():
            _blend(painted, opening, opening.seam, cv2.GaussianBlur(painted[opening.box][..., :3], (0, 0), 0.8))
    if mouth is not None:
        _blend(painted, mouth, mouth.mask, _mouth(face, mouth, target))
    for side, (opening, seen) in enumerate(zip(eyes, behind, strict=True)):
        if opening is not None and seen is not None:
            gaze_px = face.gaze_px(side, target, at_landmarks)
            _blend(painted, opening, opening.mask, paint_eyeball(face.eyeballs[side], seen, gaze_px))
    return painted


def _mouth(face: Figure, opening: Opening, target: Floats) -> Floats:
    teeth_px, jaw_px = jaws(face.points, target, size=face.size)
    colour = paint_mouth(face.palette, opening, size=face.size, teeth_px=teeth_px, jaw_px=jaw_px)
    shares = own_share(opening, face.rest_heights[0], size=face.size)
    for share, slide in zip(shares, (opening.upper_slide, opening.lower_slide), strict=True):
        if share.any():
            own = flow.sample(face.person, opening.pixels + slide, border=cv2.BORDER_REPLICATE)[..., :3]
            colour = colour + share[..., None] * (own - colour)
    return colour


def _blend(painted: Image, opening: Opening, share: Floats, colour: Image | Floats) -> None:
    """Lay `share` (h, w) of `colour` (h, w, 3) over the opening's box, in place."""
    under = painted[opening.box][..., :3]
    mixed = under + share[..., None] * (colour - under.astype(np.float32))
    under[:] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
