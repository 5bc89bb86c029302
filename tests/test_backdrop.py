"""What stands behind the person: every choice, painted by a real engine, and what is said about others."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image as Pictures

from engines.warp import WarpEngine
from puppet.backdrop import BackdropError, backdrop, with_backdrop
from puppet.picture import PictureError
from puppet.portrait import prepare
from puppet.recording import Recording
from puppet.render import render
from puppet.settings import asset, sample_portraits
from puppet.sinks import SinkError
from puppet.types import Image, Portrait, PortraitEmbedding
from puppet.video import VideoFile


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return prepare(sample_portraits()[0], long_side_px=256)


@pytest.fixture(scope="module")
def embedding(portrait: Portrait) -> PortraitEmbedding:
    with WarpEngine() as engine:
        return engine.embed(portrait)


@pytest.fixture(scope="module")
def driving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of recorded motion."""
    sample = Recording.load(asset("sample.motion"))
    path = tmp_path_factory.mktemp("driving") / "short.motion"
    Recording(sample.fps, sample.width_px, sample.height_px, sample.faces[:16]).save(path)
    return path


@pytest.mark.parametrize(
    ("choice", "colour"),
    [
        ("green", (0, 255, 0)),
        ("#336699", (0x33, 0x66, 0x99)),
        ("#AbCdEf", (0xAB, 0xCD, 0xEF)),
        ("transparent", (0,) * 4),
    ],
)
def test_flat_backdrops(choice: str, colour: tuple[int, ...], portrait: Portrait) -> None:
    image = backdrop(portrait, choice)
    assert image is not None
    assert image.shape == (*portrait.image.shape[:2], len(colour))
    assert image.dtype == np.uint8
    assert (image == colour).all()


def test_own_background_is_none_at_all(portrait: Portrait) -> None:
    assert backdrop(portrait, "own") is None


def test_blur_keeps_the_light_and_loses_the_detail(portrait: Portrait) -> None:
    image = backdrop(portrait, "blur")
    assert image is not None
    assert image.shape == portrait.image.shape
    assert abs(image.mean((0, 1)) - portrait.background.mean((0, 1))).max() < 3
    detail = [np.abs(np.diff(picture.astype(int), axis=1)).mean() for picture in (image, portrait.background)]
    assert detail[0] < 0.3 * detail[1]


@pytest.mark.parametrize("size", [(2000, 300), (300, 2000), (80, 64)])
def test_picture_covers_the_whole_and_keeps_its_shape(
    size: tuple[int, int], portrait: Portrait, tmp_path: Path
) -> None:
    """Its middle is in the middle, and a square in it stays one."""
    width_px, height_px = size
    side = min(size) // 4
    picture = np.full((height_px, width_px, 3), 40, np.uint8)
    top, left = (height_px - side) // 2, (width_px - side) // 2
    picture[top : top + side, left : left + side] = 240
    file = tmp_path / "beach.png"
    Pictures.fromarray(picture).save(file)
    image = backdrop(portrait, str(file))
    assert image is not None
    assert image.shape == portrait.image.shape
    rows, columns = np.nonzero(image[..., 0] > 140)
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 3
    assert rows.mean() == pytest.approx((image.shape[0] - 1) / 2, abs=2.5)
    assert columns.mean() == pytest.approx((image.shape[1] - 1) / 2, abs=2.5)


@pytest.mark.parametrize("choice", ["blurr", "", "#12345", "#gggggg", "red"])
def test_unknown_choice_names_the_known_ones(choice: str, portrait: Portrait) -> None:
    with pytest.raises((BackdropError, PictureError), match=r"transparent.*picture file|folder"):
        backdrop(portrait, choice)


def test_file_that_is_no_picture(portrait: Portrait, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="no file"):
        backdrop(portrait, str(tmp_path / "missing.jpg"))
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(PictureError, match="no picture"):
        backdrop(portrait, str(tmp_path / "text.jpg"))


def painted(embedding: PortraitEmbedding, driving: Path, out: Path) -> Path:
    with WarpEngine() as engine:
        render(embedding, driving, out, engine=engine)
    return out


def person_and_background(portrait: Portrait) -> tuple[Image, Image]:
    """Masks of what surely is the person, even when it moves a little, and of the picture's upper corners."""
    person = cv2.erode(portrait.matte, np.ones((31, 31), np.uint8)) == 255
    background = np.zeros_like(person)
    background[:20, :20] = background[:20, -20:] = True
    assert (portrait.matte[background] == 0).all()
    return person, background


def test_folder_of_a_person_before_nothing(embedding: PortraitEmbedding, driving: Path, tmp_path: Path) -> None:
    folder = painted(with_backdrop(embedding, "transparent"), driving, tmp_path / "frames")
    files = sorted(folder.iterdir())
    assert len(files) == 16
    person, background = person_and_background(embedding.portrait)
    for file in files[::5]:
        with Pictures.open(file) as picture:
            assert picture.mode == "RGBA"
            alpha = np.asarray(picture)[..., 3]
        assert (alpha[background] == 0).all()
        assert (alpha[person] == 255).all()
        assert np.isin(np.arange(32, 224, 32), alpha // 32 * 32).all()  # the edge is soft


def test_gif_of_a_person_before_nothing(embedding: PortraitEmbedding, driving: Path, tmp_path: Path) -> None:
    """A pixel that the head has left is transparent again."""
    nothing = with_backdrop(embedding, "transparent")
    gif = painted(nothing, driving, tmp_path / "out.gif")
    folder = painted(nothing, driving, tmp_path / "frames")
    with av.open(str(gif)) as container:
        assert container.metadata["comment"] == "Synthetic: made with Puppet"
    with Pictures.open(gif) as picture:
        assert picture.n_frames == 16
        for index in (0, 5, 15):
            picture.seek(index)
            shown = np.asarray(picture.convert("RGBA")).astype(int)
            with Pictures.open(folder / f"frame_{index:06d}.png") as whole:
                expected = np.asarray(whole).astype(int)
            assert ((shown[..., 3] > 0) == (expected[..., 3] >= 128)).mean() > 0.999
            opaque = (shown[..., 3] > 0) & (expected[..., 3] == 255)
            assert np.abs(shown[opaque] - expected[opaque]).mean() < 6


def test_mp4_cannot_be_transparent(embedding: PortraitEmbedding, driving: Path, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"MP4 cannot be transparent.*\.gif or a folder"):
        painted(with_backdrop(embedding, "transparent"), driving, tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_mp4_before_green(embedding: PortraitEmbedding, driving: Path, tmp_path: Path) -> None:
    out = painted(with_backdrop(embedding, "green"), driving, tmp_path / "out.mp4")
    video = VideoFile(out)
    assert video.fps == Fraction(30)
    _, background = person_and_background(embedding.portrait)
    for frame in list(video)[::5]:
        assert np.abs(frame.image[background].astype(int) - (0, 255, 0)).max() <= 4
