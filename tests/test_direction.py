"""The director: what becomes of painted pictures between the engine and the outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engines import load
from puppet.direction import FADE_S, Director, framed
from puppet.motion import REST
from puppet.portrait import embed
from puppet.settings import FramingSettings, sample_portraits
from puppet.types import Image, PortraitEmbedding

WHOLE = FramingSettings()


@pytest.fixture(scope="module")
def embeddings() -> list[PortraitEmbedding]:
    with load("warp") as engine:
        return [embed(path, engine, long_side_px=128) for path in sample_portraits()[:2]]


def numbered(height_px: int, width_px: int, channels: int = 3) -> Image:
    """A picture whose every pixel says where it is."""
    image = np.zeros((height_px, width_px, channels), np.uint8)
    image[..., 0] = np.arange(width_px)
    image[..., 1] = np.arange(height_px)[:, None]
    return image


def test_whole_picture_is_handed_on_as_it_is() -> None:
    image = numbered(40, 60)
    assert framed(image, WHOLE, (0.5, 0.5)) is image


@pytest.mark.parametrize("channels", [3, 4])
def test_zoom_shows_the_middle(channels: int) -> None:
    image = framed(numbered(40, 60, channels), FramingSettings(zoom=2.0), (0.1, 0.1))
    assert image.shape == (40, 60, channels)
    assert image[0, 0, :2].tolist() == [15, 10]
    assert image[20, 30, :2].tolist() == [30, 20]


def test_pan_reaches_the_edges_and_no_further() -> None:
    left = framed(numbered(40, 60), FramingSettings(zoom=2.0, pan_x=-1.0, pan_y=1.0), (0.5, 0.5))
    assert left[0, 0, :2].tolist() == [0, 20]
    assert left[39, 58, :2].tolist() == [29, 39]


def test_following_keeps_the_face_in_the_middle_where_there_is_room() -> None:
    follow = FramingSettings(zoom=2.0, follow=True)
    assert framed(numbered(40, 60), follow, (25 / 60, 15 / 60))[20, 30, :2].tolist() == [25, 15]
    assert framed(numbered(40, 60), follow, (0.0, 0.0))[0, 0, :2].tolist() == [0, 0]


def test_new_portrait_is_faded_in(embeddings: list[PortraitEmbedding]) -> None:
    first, second = embeddings
    with load("warp") as engine, Director(engine, WHOLE) as director:
        director.animate(first, REST)
        pictures = [
            director.animate(second, replace(REST, time_ns=round(share * FADE_S * 1e9))).astype(float)
            for share in (0.0, 0.25, 0.5, 0.75, 1.0)
        ]
        target = engine.animate(second, REST).astype(float)
    away = [np.abs(picture - target).mean() for picture in pictures]
    assert away[0] > 20
    assert sorted(away, reverse=True) == away
    assert away[-1] == 0
