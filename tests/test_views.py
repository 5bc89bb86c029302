"""Painting from several pictures: the nearest is warped, nothing pops, and a borrowed face comes in the own colours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.training.shots import spread
from engines.views import CUT_NS, FADE_NS, Nearest, cover_of, in_tone, pictures_in
from engines.warp import WarpEngine
from puppet.overlay import Album, album_of
from puppet.portrait import kept, prepare
from puppet.tracking import settle
from puppet.types import Image, Landmarks, PortraitEmbedding
from puppet.video import VideoFile

TURNED, SHUT = 20, 45


@pytest.fixture(scope="module")
def faces(data: Path) -> list[tuple[Image, Landmarks]]:
    """Frames of one clip, with their faces."""
    frames = [frame.image for frame in VideoFile(data / "turn.mp4")]
    found = [(frames[index], settle(frames[index])) for index in (0, TURNED, SHUT)]
    return [(image, face) for image, face in found if face is not None]


@pytest.fixture(scope="module")
def album(faces: list[tuple[Image, Landmarks]], tmp_path_factory: pytest.TempPathFactory) -> Album:
    path = tmp_path_factory.mktemp("album") / "portrait.png"
    cv2.imwrite(str(path), faces[0][0][..., ::-1])
    return album_of(prepare(path), faces[1:], key="album")


@pytest.fixture
def engine() -> Iterator[WarpEngine]:
    with WarpEngine() as engine:
        yield engine


@pytest.fixture(scope="module")
def embedding(album: Album) -> PortraitEmbedding:
    with WarpEngine() as engine:
        return engine.embed(album)


def error(painted: Image, true: Image) -> float:
    return float(np.abs(painted.astype(int) - true).mean())


def test_rest_is_the_portrait(engine: WarpEngine, embedding: PortraitEmbedding) -> None:
    portrait = embedding.portrait
    assert error(engine.paint(embedding, portrait.landmarks.points), portrait.image) < 0.05
    assert pictures_in(embedding) == 3


def test_a_turned_picture_lends_its_cheek(
    engine: WarpEngine, embedding: PortraitEmbedding, album: Album, faces: list[tuple[Image, Landmarks]]
) -> None:
    image, face = faces[1]
    with WarpEngine() as alone:
        unaided = error(alone.paint(alone.embed(replace(album, views=())), face.points), image)
    assert error(engine.paint(embedding, face.points), image) < 0.5 * unaided


def test_painting_from_the_cache_is_the_same(
    engine: WarpEngine,
    embedding: PortraitEmbedding,
    album: Album,
    faces: list[tuple[Image, Landmarks]],
    tmp_path: Path,
) -> None:
    for _ in range(2):
        stored = kept(album.key, engine, lambda: album, cache=tmp_path)
    assert not isinstance(stored.portrait, Album)
    assert pictures_in(stored) == 3
    assert (engine.paint(stored, faces[1][1].points) == WarpEngine().paint(embedding, faces[1][1].points)).all()


def test_other_backdrops_stand_behind_every_picture(
    engine: WarpEngine, embedding: PortraitEmbedding, faces: list[tuple[Image, Landmarks]]
) -> None:
    clear = replace(embedding, backdrop=np.zeros((*embedding.portrait.matte.shape, 4), np.uint8))
    points = embedding.portrait.landmarks.points
    for target in (points, (points + faces[1][1].points) / 2, faces[1][1].points):  # while one fades, too
        painted = engine.paint(clear, target.astype(np.float32))
        assert painted.shape == (*embedding.portrait.matte.shape, 4)
        middle = np.rint(target[1, :2]).astype(int)
        assert painted[middle[1], middle[0], 3] > 250
        assert painted[..., 3].min() == 0


def test_borrowed_face_lies_within_the_portrait_s_hair(
    engine: WarpEngine, album: Album, faces: list[tuple[Image, Landmarks]]
) -> None:
    image, face = faces[1]
    borrowed = album_of(album, [((image * 0.5).astype(np.uint8), face)], key="")
    assert not borrowed.views[0].whole
    target = borrowed.views[0].landmarks.points
    embedding = engine.embed(borrowed)
    painted = engine.paint(embedding, target)
    with WarpEngine() as alone:
        own = alone.paint(alone.embed(replace(borrowed, views=())), target)
    cover = cover_of(target, painted.shape)
    assert (painted == own)[cover == 0].all()
    inside = cover > 0.99
    assert inside.mean() > 0.02
    assert 1 < error(painted[inside], own[inside])
    assert np.abs(painted[inside].mean(axis=0) - own[inside].mean(axis=0)).max() < 12  # in the portrait's light


def test_tone_is_taken_over_and_detail_stays() -> None:
    points = np.zeros((478, 3), np.float32)
    angle = np.linspace(0, 2 * np.pi, 478)
    points[:, :2] = 64 + 40 * np.column_stack([np.cos(angle), np.sin(angle)])
    checks = (np.indices((128, 128)).sum(axis=0) // 2 % 2 * 20 + 60).astype(np.uint8)
    image = np.repeat(checks[..., None], 3, axis=2)
    toned = in_tone(image, points, np.full_like(image, (140, 105, 70))).astype(int)
    inner = toned[50:78, 50:78]
    assert inner.mean(axis=(0, 1)) == pytest.approx((140, 105, 70), abs=4)
    assert inner[..., 0].std() == pytest.approx(20, abs=3)  # 10 levels, twice as bright


def test_nearest_fades_and_is_cut_where_time_jumps() -> None:
    nearest = Nearest(3)
    assert nearest(np.array([0.1, 0.5, np.inf]), np.inf).tolist() == [1, 0, 0]
    for share in (0.25, 0.5, 0.75, 1):
        assert nearest(np.array([0.5, 0.1, np.inf]), 0.25) == pytest.approx([1 - share, share, 0])
    assert nearest(np.array([0.1, 0.5, 0.5]), 0.5) == pytest.approx([0.5, 0.5, 0])
    assert nearest(np.array([0.5, 0.5, 0.1]), 0.5) == pytest.approx([0.25, 0.25, 0.5])  # before that was over
    assert nearest(np.array([0.5, 0.1, 0.5]), np.inf).tolist() == [0, 1, 0]


def test_nearest_stays_where_another_is_hardly_nearer() -> None:
    nearest = Nearest(2)
    nearest(np.array([0.20, 0.21]), np.inf)
    for distances in ([0.21, 0.20], [0.20, 0.21], [0.22, 0.20]):
        assert nearest(np.array(distances), 0.25).tolist() == [1, 0]
    assert nearest(np.array([0.21, 0.20]), np.inf).tolist() == [0, 1]


def test_pictures_fade_with_time(
    engine: WarpEngine, embedding: PortraitEmbedding, faces: list[tuple[Image, Landmarks]]
) -> None:
    rest, turned = embedding.portrait.landmarks.points, faces[1][1].points
    cut = engine.paint(embedding, turned)
    engine.paint(embedding, rest, time_ns=0)
    fading = [engine.paint(embedding, turned, time_ns=(k + 1) * FADE_NS // 4) for k in range(4)]
    errors = [error(each, cut) for each in fading]
    assert errors[0] > errors[1] > errors[2] > errors[3]
    assert errors[3] == 0
    engine.paint(embedding, rest, time_ns=FADE_NS)
    assert error(engine.paint(embedding, turned, time_ns=FADE_NS + CUT_NS), cut) == 0


def test_shots_are_spread_and_those_of_few_are_among_those_of_many() -> None:
    places = [place for place in range(200) if place % 10]
    few, many = spread(places, 7), spread(places, 31)
    assert many[:7] == few
    assert len(set(many)) == 31
    assert max(np.diff(sorted(many))) < 16
    assert sorted(spread([3, 5], 31)) == [3, 5]
