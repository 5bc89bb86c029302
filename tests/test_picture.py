"""Every kind of picture file comes out as the same upright RGB picture, and every bad one as one clear sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from puppet.picture import PictureError, read_picture
from puppet.types import Image

ASTRONAUT = Path(__file__).parent.parent / "puppet/assets/portraits/astronaut.jpg"
NOBODY = 65534  # the user without rights


@pytest.fixture(scope="module")
def original() -> Pillow.Image:
    return Pillow.open(ASTRONAUT).convert("RGB").resize((150, 180))


def difference(image: Image, original: Pillow.Image) -> float:
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    expected = np.asarray(original.convert("RGB"), float)
    assert image.shape == expected.shape
    return float(np.abs(image - expected).mean())


@pytest.mark.parametrize(
    ("name", "mode", "tolerance"),
    [
        ("rgb.png", "RGB", 0),
        ("rgb.bmp", "RGB", 0),
        ("rgb.tiff", "RGB", 0),
        ("rgb.jpg", "RGB", 4),
        ("rgb.webp", "RGB", 4),
        ("rgb.gif", "RGB", 8),
        ("cmyk.jpg", "CMYK", 4),
        ("cmyk.tif", "CMYK", 0),
        ("rgba.png", "RGBA", 0),
    ],
)
def test_colour_formats(tmp_path: Path, original: Pillow.Image, name: str, mode: str, tolerance: float) -> None:
    original.convert(mode).save(tmp_path / name)
    assert difference(read_picture(tmp_path / name), original) <= tolerance


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P"])
def test_modes_with_fewer_colours(tmp_path: Path, original: Pillow.Image, mode: str) -> None:
    reduced = original.convert(mode)
    reduced.save(tmp_path / "picture.png")
    assert difference(read_picture(tmp_path / "picture.png"), reduced) == 0


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits(tmp_path: Path, original: Pillow.Image, suffix: str) -> None:
    grey = original.convert("L")
    Pillow.fromarray(np.asarray(grey, np.uint16) * 257).save(tmp_path / f"grey.{suffix}")
    assert difference(read_picture(tmp_path / f"grey.{suffix}"), grey) == 0
    deep = np.asarray(original, np.uint16)[..., ::-1] * 257
    cv2.imwrite(str(tmp_path / f"colour.{suffix}"), deep)
    assert difference(read_picture(tmp_path / f"colour.{suffix}"), original) == 0


def test_floating_point(tmp_path: Path, original: Pillow.Image) -> None:
    grey = original.convert("L")
    Pillow.fromarray(np.asarray(grey, np.float32) / 255).save(tmp_path / "picture.tif")
    assert difference(read_picture(tmp_path / "picture.tif"), grey) < 3


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_exif_rotation(tmp_path: Path, original: Pillow.Image, suffix: str) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # the camera was turned: what is stored lies on its left side
    original.transpose(Pillow.Transpose.ROTATE_90).save(tmp_path / f"picture.{suffix}", exif=exif, quality=95)
    assert difference(read_picture(tmp_path / f"picture.{suffix}"), original) < 4
    assert read_picture(tmp_path / f"picture.{suffix}", long_side_px=90).shape == (90, 75, 3)


def test_transparency_lies_over_grey(tmp_path: Path, original: Pillow.Image) -> None:
    cut_out = original.convert("RGBA")
    cut_out.paste((255, 0, 0, 0), (0, 0, 50, 50))
    cut_out.save(tmp_path / "picture.png")
    image = read_picture(tmp_path / "picture.png")
    assert (image[:50, :50] == 128).all()
    np.testing.assert_array_equal(image[50:], np.asarray(original)[50:])


def test_a_colour_profile_is_applied(tmp_path: Path, original: Pillow.Image) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    original.save(tmp_path / "plain.png", icc_profile=srgb.tobytes())
    assert difference(read_picture(tmp_path / "plain.png"), original) == 0
    converted = ImageCms.profileToProfile(original, srgb, lab, outputMode="LAB")
    assert converted is not None
    converted.save(tmp_path / "lab.tif", icc_profile=lab.tobytes())
    assert difference(read_picture(tmp_path / "lab.tif"), original) < 4


def test_a_useless_colour_profile_is_announced(
    tmp_path: Path, original: Pillow.Image, caplog: pytest.LogCaptureFixture
) -> None:
    original.save(tmp_path / "picture.png", icc_profile=b"nonsense")
    assert difference(read_picture(tmp_path / "picture.png"), original) == 0
    assert "colour profile cannot be used" in caplog.text


def test_the_first_frame_of_an_animation(tmp_path: Path, original: Pillow.Image) -> None:
    original.save(tmp_path / "picture.gif", save_all=True, append_images=[Pillow.new("RGB", original.size)])
    assert difference(read_picture(tmp_path / "picture.gif"), original) < 8


def test_size_is_reduced_and_never_raised(tmp_path: Path, original: Pillow.Image) -> None:
    original.resize((1500, 1800)).save(tmp_path / "picture.jpg")
    assert difference(read_picture(tmp_path / "picture.jpg", long_side_px=180), original) < 4
    assert read_picture(tmp_path / "picture.jpg", long_side_px=4000).shape == (1800, 1500, 3)


def test_a_hundred_megapixels(tmp_path: Path) -> None:
    Pillow.new("RGB", (10_000, 10_000), (200, 100, 50)).save(tmp_path / "picture.jpg", quality=30)
    image = read_picture(tmp_path / "picture.jpg", long_side_px=512)
    assert image.shape == (512, 512, 3)
    np.testing.assert_allclose(image.mean(axis=(0, 1)), [200, 100, 50], atol=3)


@pytest.mark.parametrize(
    ("width_px", "height_px", "sentence"),
    [
        (12_000, 12_000, r"has more than 110 megapixels; reduce the picture first\.$"),
        (22_000, 12_000, r"has more than 110 megapixels; reduce the picture first\.$"),
        (1, 1, r"is 1x1 px, too small for a portrait; use a picture of at least 64 px a side\.$"),
        (400, 20, r"is 400x20 px, too small"),
    ],
)
def test_sizes_that_are_refused(tmp_path: Path, width_px: int, height_px: int, sentence: str) -> None:
    Pillow.new("1", (width_px, height_px)).save(tmp_path / "picture.png")
    with pytest.raises(PictureError, match=sentence):
        read_picture(tmp_path / "picture.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "tif", "bmp"])
def test_a_truncated_file_is_refused(tmp_path: Path, original: Pillow.Image, suffix: str) -> None:
    whole = tmp_path / f"whole.{suffix}"
    original.save(whole)
    truncated = tmp_path / f"truncated.{suffix}"
    truncated.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    with pytest.raises(PictureError, match=r"is damaged or incomplete \(.*\); get the picture again\.$"):
        read_picture(truncated)


def test_what_is_no_picture_is_refused(tmp_path: Path, original: Pillow.Image) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("Dear reader")
    empty = tmp_path / "empty.jpg"
    empty.touch()
    unsupported = tmp_path / "picture.ico"
    original.save(unsupported)
    for path, sentence in [
        (text, r"is no picture that can be read; use a JPEG, PNG, WebP, BMP, TIFF or GIF file\.$"),
        (unsupported, r"is no picture that can be read"),
        (empty, r"is empty \(0 bytes\)"),
        (tmp_path, r"is a folder; name a picture file in it\.$"),
        (tmp_path / "none.jpg", r"^There is no file .*none\.jpg; check its name\.$"),
    ]:
        with pytest.raises(PictureError, match=sentence):
            read_picture(path)


@pytest.fixture
def locked(tmp_path: Path, original: Pillow.Image) -> Iterator[Path]:
    """A picture that may not be read; root, whom permissions do not bind, is another user meanwhile."""
    path = tmp_path / "picture.png"
    original.save(path)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    yield path
    os.seteuid(user)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_a_file_without_permission(locked: Path) -> None:
    with pytest.raises(PictureError, match="may not be read"):
        read_picture(locked)
