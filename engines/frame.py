"""Painting a whole frame as one network: on a graphics card, what `engines.warp` and `engines.neural` do on the CPU.

Of a frame, only its coarse flow, the edges of its openings and its drawn landmarks go to the card, and only the painted
picture comes back. Shapes are static and all that is the portrait's is an input, so that one graph serves all portraits
of up to so many pixels. `engines.canvas` makes the inputs and says what each one is.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines import mouth, neural, slit
from engines.geometry import SIDE_PX
from engines.network import WarpGenerator

SEAM_TAPS: Final = (0.00044, 0.02191, 0.22831, 0.49868, 0.22831, 0.02191, 0.00044)  # a Gaussian of 0.8 px


class Frame(nn.Module):
    """A frame of one portrait. Inside, pictures are (C, height, width) in 0..255, lengths px of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = WarpGenerator()

    def forward(
        self,
        back: Tensor,
        edges: Tensor,
        lines: Tensor,
        drawn: Tensor,
        head: Tensor,
        person: Tensor,
        canvas: Tensor,
        behind: Tensor,
        eyeballs: Tensor,
        place: Tensor,
        palette: Tensor,
        rest_height: Tensor,
        rest: Tensor,
        seam: Tensor,
        cut: Tensor,
        psi: Tensor,
        features: Tensor,
    ) -> Tensor:
        """The picture, (S, S, 3) uint8 like `canvas`."""
        stage = _Stage(_planes(canvas), place)
        openings = [
            _Opening(stage, edges[index], lines[index], reach=each.reach)
            for index, each in enumerate((slit.MOUTH, *slit.EYES))
        ]
        figure = _planes(person)
        smooth = stage.smooth(back)
        skin = smooth + openings[0].skin + openings[1].skin + openings[2].skin
        painted = _laid(stage.person(figure, skin), _planes(behind))
        for opening in openings:
            painted = painted + opening.seam * (_blurred(painted) - painted)
        inside = _mouth(stage, openings[0], figure, lines[0], palette, rest_height)
        painted = painted + openings[0].mask * (inside - painted)
        eyes = _planes(eyeballs)
        for side in (0, 1):
            at = smooth - place[6 + 2 * side : 8 + 2 * side, None, None]
            eyeball = _eyeball(eyes[side], at, lines[1 + side, 5:, None, None])
            painted = painted + openings[1 + side].mask * (eyeball - painted)
        warped = torch.where(stage.inside, painted.clamp(0, 255), stage.canvas)

        dtype = self.generator.P.weight.dtype
        rows, columns = cut.to(dtype).unbind()
        square = (rows @ warped.to(dtype) @ columns.transpose(0, 1)).float().clamp(0, 255)  # (3, 256, 256)
        raster, mask = _planes(drawn).split([3, 1])
        seen = ((part[None] / 255).to(dtype) for part in (square, raster, mask))
        head = head.permute(2, 0, 1)[None].to(dtype)
        repair = self.generator(*seen, head, psi.to(dtype), features.to(dtype))
        cover = _touched(square, _planes(rest)) * seam
        residual = 255 * repair.residual[0].float() * _room(square, mask) * cover
        repaired = stage.repaired(warped, repair.flow[0].float(), residual, cover)
        return (repaired.clamp(0, 255) + 0.5).permute(1, 2, 0).to(torch.uint8)


class _Stage:
    """Where on the picture everything is. `place` is an input of `Frame`."""

    def __init__(self, canvas: Tensor, place: Tensor) -> None:
        left, top, self._width, self._height, self._pad, self.size, *_, crop_left, crop_top, self._side = place.unbind()
        self.canvas = canvas
        line = torch.arange(canvas.shape[-1], dtype=torch.float32, device=canvas.device)
        x, y = torch.broadcast_tensors(line - left, (line - top)[:, None])
        self.pixels = torch.stack([x, y])  # of the region
        self.inside = (x >= 0) & (x < self._width) & (y >= 0) & (y < self._height)
        self._whole = torch.stack([x + left, y + top])
        self._crop = torch.stack([x + (left - crop_left), y + (top - crop_top)])

    def smooth(self, back: Tensor) -> Tensor:
        """(2, S, S): where in the region the flow on the grid, (GRID, GRID, 2), takes each pixel from."""
        scale = torch.stack([self._width, self._height])[:, None, None]
        return self.pixels + _sampled(back.permute(2, 0, 1), (self.pixels + 0.5) / scale, how="bicubic")

    def person(self, figure: Tensor, at: Tensor) -> Tensor:
        """(4, S, S): the padded person at these places of the region; see `engines.warp` about heads that duck."""
        x, y = at.unbind()
        return _at(figure, torch.stack([x + self._pad, (y + self._pad).clamp(min=self._pad)]))

    def repaired(self, warped: Tensor, flow: Tensor, residual: Tensor, cover: Tensor) -> Tensor:
        """`engines.repair.Repair`, but sampled bicubically, which costs a card little."""
        place = (self._crop + 0.5) / self._side
        scaled = flow * F.avg_pool2d(cover[None], 4)[0] * (self._side / SIDE_PX)
        source = (self._whole + _sampled(scaled, place) + 0.5) / warped.shape[-1]
        found = _sampled(warped, source, how="bicubic") + _sampled(residual, place)
        inside = ((place >= 0) & (place < 1)).all(dim=0)
        return torch.where(inside, found, warped)


class _Opening:
    """`engines.slit.Opening` on all pixels; `table` (14, COLUMNS) and `line` (7,) are as in `engines.canvas`."""

    def __init__(self, stage: _Stage, table: Tensor, line: Tensor, *, reach: float) -> None:
        axis_x, axis_y, length = line[2], line[3], line[4]
        x, y = (stage.pixels - line[:2, None, None]).unbind()
        along = (x * axis_x + y * axis_y) / length
        across = y * axis_x - x * axis_y
        self._column = (along * (slit.COLUMNS - 1) + 0.5).clamp(0, slit.COLUMNS - 1).long()
        outer_upper, upper, lower, outer_lower, upper_edge, lower_edge, *shifts = self.columns_of(table)
        self.upper_slide, upper_lack, self.lower_slide, lower_lack = (
            torch.stack(shifts[k : k + 2]) for k in range(0, 8, 2)
        )
        room = (upper - outer_upper).clamp(min=1)
        upper_share = ((across - outer_upper) / room).clamp(0, 1)
        if reach:
            drop = upper_lack[0] * axis_y - upper_lack[1] * axis_x
            bend = (0.85 * room / drop.clamp(min=1e-3) - 1).clamp(min=0).clamp(max=reach) * (drop > 0)
            upper_share = upper_share + bend * upper_share * (1 - upper_share)
        lower_share = ((outer_lower - across) / (outer_lower - lower).clamp(min=1)).clamp(0, 1)
        middle = (upper + lower) / 2
        ends = torch.minimum(along, 1 - along)
        fade = (1 + 8 * ends).clamp(0, 1)
        self.skin = torch.where(across < middle, upper_lack * upper_share, lower_lack * lower_share) * fade
        jump = (upper_lack - lower_lack).abs().sum(dim=0)
        self.seam = (1.6 - (across - middle).abs()).clamp(0, 1) * (jump - 0.5).clamp(0, 1) * fade
        self.height = lower_edge - upper_edge
        self.below_upper, self.above_lower = across - upper_edge, lower_edge - across
        within = torch.minimum(torch.minimum(self.below_upper, self.above_lower), ends * length)
        self.mask = (within + 0.5).clamp(0, 1) * self.height.clamp(0, 1)

    def columns_of(self, table: Tensor) -> tuple[Tensor, ...]:
        """The rows of `table` (rows, COLUMNS), each spread over the pixels, (S, S)."""
        return table.index_select(1, self._column.flatten()).unflatten(1, self._column.shape).unbind()


def _mouth(
    stage: _Stage, opening: _Opening, figure: Tensor, line: Tensor, palette: Tensor, rest_height: Tensor
) -> Tensor:
    """(3, S, S): `engines.mouth.paint_mouth`, and over it what `own_share` shows of the portrait's own."""
    size, teeth_px, jaw_px = stage.size, line[5], line[6]
    cavity, teeth_colour, tongue_colour = palette[:, :, None, None].unbind()
    u, arch, light, gaps = opening.columns_of(line.new_tensor(mouth.ROW_OF_TEETH.tolist()))
    soft = (0.012 * size).clamp(min=0.8)
    reach = 0.35 + 0.65 * arch
    upper = ((teeth_px * reach - opening.below_upper) / soft + 0.5).clamp(0, 1)
    lower = ((jaw_px * reach - opening.above_lower) / soft + 0.5).clamp(0, 1)
    under_lip = 0.70 + 0.30 * (opening.below_upper / (0.035 * size)).clamp(0, 1)
    depth = (opening.height / (0.10 * size)).clamp(0, 1)
    rise = (opening.above_lower / (0.14 * size)).clamp(0, 1)
    tongue = (1.25 - 1.5 * rise * rise - 0.6 * u * u).clamp(0, 1) * depth * (0.45 + 0.55 * arch)
    colour = cavity + tongue * (tongue_colour - cavity)
    colour = colour + lower * ((0.6 * teeth_colour + 0.2 * tongue_colour) * light - colour)
    colour = colour + upper * (teeth_colour * (light * gaps * under_lip) - colour)

    own = ((rest_height.max() / size - 0.5 * mouth.OPEN_AT_REST) / (0.5 * mouth.OPEN_AT_REST)).clamp(0, 1)
    (at_rest,) = opening.columns_of(rest_height[None])
    soft = (0.02 * size).clamp(min=1)
    share = own * (1.5 + (0.5 * at_rest - torch.minimum(opening.below_upper, opening.above_lower)) / soft).clamp(0, 1)
    above = opening.below_upper <= opening.above_lower
    for part, slide in ((share * above, opening.upper_slide), (share * ~above, opening.lower_slide)):
        colour = colour + part * (stage.person(figure, stage.pixels + slide)[:3] - colour)
    return colour


def _eyeball(layers: Tensor, at: Tensor, gaze_px: Tensor) -> Tensor:
    """(3, S, S): `engines.eyes.paint_eyeball` of `layers` (7, E, E), at places (2, S, S) of these."""
    iris = _at(layers[3:], at - gaze_px, beyond="zeros")
    return _at(layers[:3], at) * (1 - iris[3:] / 255) + iris[:3]


def _touched(square: Tensor, rest: Tensor) -> Tensor:
    """(1, 256, 256): `engines.neural`'s."""
    changed = (square - rest).abs().amax(dim=0, keepdim=True)
    wide = F.max_pool2d(changed, 2 * neural.MARGIN_PX + 1, 1, neural.MARGIN_PX)
    return _mean(((wide - neural.STILL) / (neural.MOVED - neural.STILL)).clamp(0, 1))


def _room(square: Tensor, openings: Tensor) -> Tensor:
    """(1, 256, 256): `engines.neural`'s."""
    room = ((255 - square.amax(dim=0, keepdim=True)) / neural.HIGHLIGHT).clamp(0, 1)
    near = F.max_pool2d(openings, 2 * neural.MARGIN_PX + 1, 1, neural.MARGIN_PX) / 255
    return torch.maximum(_mean(room), near)


def _mean(plane: Tensor) -> Tensor:
    """OpenCV's `blur` by MARGIN_PX."""
    half = neural.MARGIN_PX // 2
    return F.avg_pool2d(F.pad(plane[None], (half,) * 4, "reflect"), neural.MARGIN_PX, 1)[0]


def _blurred(picture: Tensor) -> Tensor:
    taps = picture.new_tensor(SEAM_TAPS)
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        kernel = taps.reshape(shape)
        picture = F.conv2d(picture[:, None], kernel, padding=(kernel.shape[2] // 2, kernel.shape[3] // 2))[:, 0]
    return picture


def _laid(person: Tensor, behind: Tensor) -> Tensor:
    """`engines.layers.over`."""
    return behind + person[3:] / 255 * (person[:3] - behind)


def _planes(picture: Tensor) -> Tensor:
    """(…, height, width, C) uint8 as (…, C, height, width) float32."""
    return picture.to(torch.float32).movedim(-1, -3)  # in this order: TensorRT takes bytes for a cast alone


def _at(picture: Tensor, at: Tensor, *, beyond: str = "border") -> Tensor:
    """`picture` (C, h, w) at places (2, S, S) px, as `engines.flow.sample`."""
    size = at.new_tensor([picture.shape[-1], picture.shape[-2]])[:, None, None]
    return _sampled(picture, (at + 0.5) / size, beyond=beyond)


def _sampled(picture: Tensor, part: Tensor, *, how: str = "bilinear", beyond: str = "border") -> Tensor:
    """`picture` (C, h, w) at places (2, S, S), of which 0..1 is the whole of it."""
    grid = (2 * part - 1).permute(1, 2, 0)[None]
    return F.grid_sample(picture[None], grid, how, beyond, align_corners=False)[0]
