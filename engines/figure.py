"""One picture of a portrait made ready to be moved: all that stays the same from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engines import flow
from engines.eyes import Eyeball, eyeball_of
from engines.geometry import Crop
from engines.layers import foreground, over, padded
from engines.mouth import Palette
from engines.response import responses
from engines.slit import EYES, MOUTH, Edges, edges_of, heights
from puppet import facemesh
from puppet.types import Floats, Image, PortraitEmbedding


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture and its layers. All lengths and arrays are those of its region of the picture."""

    canvas: Image  # (H, W, 3 or 4) uint8: the whole picture at rest, of which only the region is painted anew
    region: tuple[slice, slice]  # rows and columns of the picture
    points: Floats  # (478, 3) px
    size: float
    controls: flow.Controls
    spline: flow.Spline
    window: Floats  # (GRID, GRID, 1)
    person: Image  # (h, w, 4) uint8: foreground RGB and matte
    padded: Image  # the same, with `pad_px` more on each side
    pad_px: int
    background: Image  # (h, w, 3 or 4) uint8
    pixels: Floats  # (h, w, 2) x and y of each pixel, in `padded`
    source: Floats  # (h, w, 2): of the frame at hand, overwritten by the next
    moved: Image  # (h, w, 4): the same
    rest_heights: tuple[Floats, Floats, Floats]  # (COLUMNS,) each: mouth, the two eyes
    eyeballs: tuple[Eyeball, Eyeball]
    palette: Palette

    @property
    def origin(self) -> Floats:
        """(3,) px of the picture: where the region begins; what lies there is at 0 in the region."""
        return _origin(self.region)

    def back(self, target: Floats) -> Floats:
        """(GRID, GRID, 2) px: the smooth flow from the frame with landmarks `target`, local, to this picture."""
        height, width = self.background.shape[:2]
        forward = self.spline(flow.displacements(self.controls, self.points, target)) * self.window
        step_px = (width / flow.GRID, height / flow.GRID)
        return flow.invert(flow.unfold(forward, step_px), step_px)

    def edges(self, target: Floats, back: Floats) -> tuple[Edges, ...]:
        """Of mouth, left and right eye at landmarks `target`, local; `back` (478, 2) is the flow there."""
        return tuple(
            edges_of(slit, self.points[:, :2], target[:, :2], back, rest)
            for slit, rest in zip((MOUTH, *EYES), self.rest_heights, strict=True)
        )

    def gaze_px(self, side: int, target: Floats, back: Floats) -> Floats:
        """(2,) how far the iris of eye `side` is to look beyond where the smooth flow carries it."""
        iris = facemesh.IRIS[side][0]
        return np.asarray(target[iris, :2] + back[iris] - self.points[iris, :2], np.float32)


def local(points: Floats, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], Floats]:
    """The region that moves in a picture of `shape` (H, W, …), and the landmarks in its coordinates."""
    region = flow.region_of(points, width_px=shape[1], height_px=shape[0])
    return region, points - _origin(region)


def _origin(region: tuple[slice, slice]) -> Floats:
    rows, columns = region
    return np.array([columns.start, rows.start, 0], np.float32)


def figure_of(embedding: PortraitEmbedding) -> Figure:
    """The portrait itself, of the warp engine's embedding, before its backdrop if it has one."""
    portrait, tensors = embedding.portrait, embedding.tensors
    eyeballs = []
    for side in (0, 1):
        eye_left, eye_top = tensors[f"eye{side}"].tolist()
        eyeballs.append(Eyeball(eye_left, eye_top, tensors[f"sclera{side}"], tensors[f"iris{side}"]))
    canvas, behind = portrait.image, portrait.background
    if embedding.backdrop is not None:
        behind = embedding.backdrop
        canvas = over(foreground(portrait.image, portrait.background, portrait.matte), behind)
    return _figure(
        embedding,
        0,
        portrait.landmarks.points,
        canvas=canvas,
        behind=behind,
        person=tensors["person"],
        basis=tensors["basis"],
        eyeballs=(eyeballs[0], eyeballs[1]),
        palette=Palette(*tensors["palette"]),
    )


def view_of(embedding: PortraitEmbedding, index: int) -> Figure:
    """The further picture of that index, with the portrait's background and the colours of its mouth."""
    tensors = embedding.tensors
    behind = embedding.portrait.background if embedding.backdrop is None else embedding.backdrop
    person, whole_points = tensors["views.person"][index], tensors["views.points"][index]
    region, points = local(whole_points, person.shape)
    basis = basis_of(points, person[region].shape, bottom_px=person.shape[0] - region[0].start)
    return _other_figure(embedding, index + 1, person, whole_points, behind=behind, basis=basis)


def mirrored_figure(embedding: PortraitEmbedding, person: Image, points: Floats, basis: Floats) -> Figure:
    """The portrait with left and right exchanged, before nothing: all these are so already."""
    return _other_figure(embedding, None, person, points, behind=np.zeros_like(person[..., :3]), basis=basis)


def basis_of(points: Floats, shape: tuple[int, ...], *, bottom_px: float) -> Floats:
    """(GRID * GRID, N) `flow.spline_basis` for a face of landmarks (478, 3) in a region of `shape` (h, w, …)."""
    controls = flow.controls_of(points, bottom_px=bottom_px)
    nodes = flow.grid_nodes(shape)
    return flow.spline_basis(controls.points, nodes, noise=controls.noise, unit_px=flow.face_size(points))


def _other_figure(
    embedding: PortraitEmbedding,
    number: int | None,
    person: Image,
    whole_points: Floats,
    *,
    behind: Image,
    basis: Floats,
) -> Figure:
    """Of another `person` (H, W, 4) than the embedding's, with the colours of its mouth."""
    region, points = local(whole_points, person.shape)
    part = np.ascontiguousarray(person[region])
    return _figure(
        embedding,
        number,
        whole_points,
        canvas=over(person, behind),
        behind=behind,
        person=part,
        basis=basis,
        eyeballs=(eyeball_of(part[..., :3], points, 0), eyeball_of(part[..., :3], points, 1)),
        palette=Palette(*embedding.tensors["palette"]),
    )


def _figure(
    embedding: PortraitEmbedding,
    number: int | None,
    whole_points: Floats,
    *,
    canvas: Image,
    behind: Image,
    person: Image,
    basis: Floats,
    eyeballs: tuple[Eyeball, Eyeball],
    palette: Palette,
) -> Figure:
    """Of the embedding's picture `number`, or of none of them as it is.

    `whole_points`, `canvas` and `behind` are those of the whole picture.
    """
    region, points = local(whole_points, canvas.shape)
    rows, columns = region
    with_margin, pad_px = padded(person)
    return Figure(
        canvas=canvas,
        region=region,
        points=points,
        size=flow.face_size(points),
        controls=_rigged(flow.controls_of(points, bottom_px=canvas.shape[0] - rows.start), embedding, number, region),
        spline=flow.Spline(basis, points, person.shape),
        window=flow.border_window(region, canvas.shape),
        person=person,
        padded=with_margin,
        pad_px=pad_px,
        background=np.ascontiguousarray(behind[region]),
        source=np.empty((*person.shape[:2], 2), np.float32),
        moved=np.empty_like(person),
        pixels=_pixels(columns.stop - columns.start, rows.stop - rows.start) + np.float32(pad_px),
        rest_heights=(heights(MOUTH, points), heights(EYES[0], points), heights(EYES[1], points)),
        eyeballs=eyeballs,
        palette=palette,
    )


def _rigged(
    controls: flow.Controls, embedding: PortraitEmbedding, number: int | None, region: tuple[slice, slice]
) -> flow.Controls:
    """The controls in `region` with their response, where the embedding has a rig of its picture `number`."""
    if number is None or "rig" not in embedding.tensors:
        return controls
    crop = Crop.of(embedding.portrait.landmarks)
    return replace(
        controls, response=responses(embedding.tensors["rig"][number], controls.around + _origin(region)[:2], crop)
    )


def _pixels(width: int, height: int) -> Floats:
    """(height, width, 2) x and y of each pixel; filled in place, since the user waits while a portrait is unpacked."""
    pixels = np.empty((height, width, 2), np.float32)
    pixels[..., 0] = np.arange(width)
    pixels[..., 1] = np.arange(height)[:, None]
    return pixels
