"""WarpEngine: a landmark-driven warp of the portrait's own pixels, the floor that always works.

Layers, from the back: the still background, the person carried by the smooth flow, and in the openings of the skin
the eyeballs and the mouth. Everything that depends on the portrait alone is made once in `embed`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import flow
from engines.eyes import Eyeball, eyeball_of, paint_eyeball
from engines.mouth import Palette, jaws, own_share, paint_mouth, palette_of
from engines.slit import EYES, MOUTH, Opening, heights, open_slit
from puppet import facemesh
from puppet.motion import target_points
from puppet.types import Closing, Floats, Image, Motion, Portrait, PortraitEmbedding


@dataclass(frozen=True, slots=True)
class _Face:
    """An embedding unpacked for painting. All lengths and arrays are those of its region of the picture."""

    canvas: Image  # (H, W, 3 or 4) uint8: the whole picture at rest, of which only the region is painted anew
    region: tuple[slice, slice]  # rows and columns of the picture
    points: Floats  # (478, 3) px
    size: float
    controls: flow.Controls
    basis: Floats  # (GRID * GRID, N)
    window: Floats  # (GRID, GRID, 1)
    person: Image  # (h, w, 4) uint8: foreground RGB and matte
    background: Image  # (h, w, 3 or 4) uint8
    pixels: Floats  # (h, w, 2) x and y of each pixel
    rest_heights: tuple[Floats, Floats, Floats]  # (COLUMNS,) each: mouth, the two eyes
    eyeballs: tuple[Eyeball, Eyeball]
    palette: Palette


class WarpEngine(Closing):
    """Pure numpy and OpenCV; see the module's first lines. One thread at a time."""

    name = "warp"
    version = 2  # of the tensors in its embeddings

    def __init__(self) -> None:
        self._embedding: PortraitEmbedding | None = None
        self._face: _Face | None = None

    def embed(self, portrait: Portrait | PortraitEmbedding) -> PortraitEmbedding:
        """Prepare the spline, the layers and the eyeballs; an embedding comes back as it is."""
        if isinstance(portrait, PortraitEmbedding):
            return portrait
        region, points = _local(portrait)
        image, background = portrait.image[region], portrait.background[region]
        controls = flow.controls_of(points, bottom_px=portrait.image.shape[0] - region[0].start)
        nodes = flow.grid_nodes(image.shape)
        palette = palette_of(image, points)
        tensors: dict[str, NDArray[np.generic]] = {
            "basis": flow.spline_basis(controls.points, nodes, noise=controls.noise, unit_px=flow.face_size(points)),
            "person": _foreground(image, background, portrait.matte[region]),
            "palette": np.stack([palette.cavity, palette.teeth, palette.tongue]),
        }
        for side in (0, 1):
            eyeball = eyeball_of(image, points, side)
            tensors |= {f"sclera{side}": eyeball.sclera, f"iris{side}": eyeball.iris}
            tensors[f"eye{side}"] = np.array([eyeball.left, eyeball.top], np.int32)
        return PortraitEmbedding(engine=self.name, portrait=portrait, tensors=tensors)

    def animate(self, embedding: PortraitEmbedding, motion: Motion) -> Image:
        """Paint one frame: (H, W, 3) uint8 RGB of the portrait's size, a fresh array; RGBA with such a backdrop."""
        return self.paint(embedding, target_points(motion, embedding.portrait.landmarks))

    def paint(self, embedding: PortraitEmbedding, target: Floats) -> Image:
        """Like `animate`, for landmarks that are known already: (478, 3) px of the portrait's picture."""
        if embedding is not self._embedding or self._face is None:
            self._face, self._embedding = _unpack(embedding), embedding
        face = self._face
        rows, columns = face.region
        output = face.canvas.copy()
        output[face.region] = _paint(face, target - np.array([columns.start, rows.start, 0], np.float32))
        return output

    def close(self) -> None:
        self._embedding = self._face = None


def _paint(face: _Face, target: Floats) -> Image:
    height, width = face.background.shape[:2]
    forward = face.basis @ flow.displacements(face.controls, face.points, target)
    forward = forward.reshape(flow.GRID, flow.GRID, 2) * face.window
    step_px = (width / flow.GRID, height / flow.GRID)
    back = flow.invert(flow.unfold(forward, step_px), step_px)
    dense = cv2.resize(back, (width, height), interpolation=cv2.INTER_CUBIC)
    at_landmarks = flow.sample(dense, target[None, :, :2].copy(), border=cv2.BORDER_REPLICATE)[0]
    source = face.pixels + dense  # (h, w, 2): the portrait's pixel that each output pixel shows
    openings = [
        open_slit(slit, face.points[:, :2], target[:, :2], at_landmarks, rest, width_px=width, height_px=height)
        for slit, rest in zip((MOUTH, *EYES), face.rest_heights, strict=True)
    ]
    behind = [None if o is None else source[o.box].copy() for o in openings]
    for opening in openings:
        if opening is not None:
            source[opening.box] += opening.skin
    np.maximum(source[..., 1], 0, out=source[..., 1])  # a head that ducks must not be mirrored above itself
    person = flow.sample(face.person, source, border=cv2.BORDER_REFLECT_101)
    painted = _over(person, face.background)

    for opening in openings:
        if opening is not None and opening.seam.any():
            _blend(painted, opening, opening.seam, cv2.GaussianBlur(painted[opening.box][..., :3], (0, 0), 0.8))
    mouth, *eyes = openings
    if mouth is not None and mouth.mask.any():
        _blend(painted, mouth, mouth.mask, _mouth(face, mouth, target))
    for side, (opening, seen) in enumerate(zip(eyes, behind[1:], strict=True)):
        if opening is not None and seen is not None and opening.mask.any():
            iris = facemesh.IRIS[side][0]
            gaze_px = target[iris, :2] + at_landmarks[iris] - face.points[iris, :2]
            _blend(painted, opening, opening.mask, paint_eyeball(face.eyeballs[side], seen, gaze_px))
    return painted


def _mouth(face: _Face, opening: Opening, target: Floats) -> Floats:
    teeth_px, jaw_px = jaws(face.points, target, size=face.size)
    colour = paint_mouth(face.palette, opening, size=face.size, teeth_px=teeth_px, jaw_px=jaw_px)
    shares = own_share(opening, face.rest_heights[0], size=face.size)
    for share, slide in zip(shares, (opening.upper_slide, opening.lower_slide), strict=True):
        if share.any():
            own = flow.sample(face.person, opening.pixels + slide, border=cv2.BORDER_REPLICATE)[..., :3]
            colour = colour + share[..., None] * (own - colour)
    return colour


def _over(person: Image, background: Image) -> Image:
    """`person` (h, w, 4) over `background` (h, w, 3), or (h, w, 4) for a result that has alpha as well."""
    cover = person[..., 3].astype(np.float32) * (1 / 255)
    colour = cv2.cvtColor(person, cv2.COLOR_RGBA2RGB)  # 25 times as fast as numpy's copy of a slice
    if background.shape[2] == 3:
        return cv2.blendLinear(colour, background, cover, 1 - cover)
    alpha = cover + (1 - cover) * background[..., 3] * np.float32(1 / 255)
    share = cover / np.maximum(alpha, 1e-6)
    mixed = cv2.blendLinear(colour, np.ascontiguousarray(background[..., :3]), share, 1 - share)
    return np.dstack([mixed, np.rint(255 * alpha).astype(np.uint8)])


def _blend(painted: Image, opening: Opening, share: Floats, colour: Image | Floats) -> None:
    """Lay `share` (h, w) of `colour` (h, w, 3) over the opening's box, in place."""
    under = painted[opening.box][..., :3]
    mixed = under + share[..., None] * (colour - under.astype(np.float32))
    under[:] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def _foreground(image: Image, background: Image, matte: NDArray[np.uint8]) -> Image:
    """(h, w, 4) uint8 RGB and matte that, laid over `background`, give `image` again.

    Where the matte is too faint to tell the picture from the in-painted background, as in stray hair, it is raised to
    the least with which some colour can.
    """
    picture, behind = image.astype(np.float32), background.astype(np.float32)
    room = np.where(picture > behind, 255 - behind, behind)
    least = (np.abs(picture - behind) / np.maximum(room, 1)).max(axis=-1)
    cover = np.where(matte > 0, np.maximum(matte / np.float32(255), np.minimum(least, 1)), 0)
    cover = np.ceil(cover * 255) / 255
    colour = behind + (picture - behind) / np.maximum(cover, 1 / 255)[..., None]
    return np.dstack([np.clip(np.rint(colour), 0, 255), 255 * cover]).round().astype(np.uint8)


def _local(portrait: Portrait) -> tuple[tuple[slice, slice], Floats]:
    """The region that moves, and the landmarks in its coordinates."""
    height_px, width_px = portrait.image.shape[:2]
    region = flow.region_of(portrait.landmarks.points, width_px=width_px, height_px=height_px)
    rows, columns = region
    return region, portrait.landmarks.points - np.array([columns.start, rows.start, 0], np.float32)


def _unpack(embedding: PortraitEmbedding) -> _Face:
    portrait, tensors = embedding.portrait, embedding.tensors
    region, points = _local(portrait)
    rows, columns = region
    height, width = rows.stop - rows.start, columns.stop - columns.start
    eyeballs = []
    for side in (0, 1):
        eye_left, eye_top = tensors[f"eye{side}"].tolist()
        eyeballs.append(Eyeball(eye_left, eye_top, tensors[f"sclera{side}"], tensors[f"iris{side}"]))
    canvas, background = portrait.image, np.ascontiguousarray(portrait.background[region])
    if embedding.backdrop is not None:
        whole = _foreground(portrait.image, portrait.background, portrait.matte)
        canvas = _over(whole, embedding.backdrop)
        background = np.ascontiguousarray(embedding.backdrop[region])
    return _Face(
        canvas=canvas,
        region=region,
        points=points,
        size=flow.face_size(points),
        controls=flow.controls_of(points, bottom_px=portrait.image.shape[0] - rows.start),
        basis=tensors["basis"],
        window=flow.border_window(region, portrait.image.shape),
        person=tensors["person"],
        background=background,
        pixels=_pixels(width, height),
        rest_heights=(heights(MOUTH, points), heights(EYES[0], points), heights(EYES[1], points)),
        eyeballs=(eyeballs[0], eyeballs[1]),
        palette=Palette(*tensors["palette"]),
    )


def _pixels(width: int, height: int) -> Floats:
    """(height, width, 2) x and y of each pixel; filled in place, since the user waits while a portrait is unpacked."""
    pixels = np.empty((height, width, 2), np.float32)
    pixels[..., 0] = np.arange(width)
    pixels[..., 1] = np.arange(height)[:, None]
    return pixels
