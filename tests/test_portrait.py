"""Preparing a portrait and keeping it: the same values from the file and from the cache, whatever lies in there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from puppet import portrait
from puppet.markers import markers_of
from puppet.picture import PictureError
from puppet.portrait import NoFaceError, Selection, embed, prepare
from puppet.settings import cache_dir
from puppet.types import Image, Motion, Portrait, PortraitEmbedding, PuppetError

HOPPER = Path(__file__).parent.parent / "puppet/assets/portraits/hopper.jpg"


class CountingEngine:
    """Embeds with one tensor, and counts how often it had to."""

    def __init__(self, name: str = "counting") -> None:
        self.name = name
        self.embedded = 0

    def embed(self, prepared: Portrait | PortraitEmbedding) -> PortraitEmbedding:
        assert isinstance(prepared, Portrait)
        self.embedded += 1
        tensor = np.arange(6, dtype=np.float32).reshape(2, 3).T  # not contiguous
        return PortraitEmbedding(self.name, prepared, {"feature/one": tensor})

    def animate(self, embedding: PortraitEmbedding, motion: Motion) -> Image:
        return embedding.portrait.image

    def close(self) -> None: ...

    def __enter__(self) -> CountingEngine:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def engine() -> CountingEngine:
    return CountingEngine()


def assert_same(one: PortraitEmbedding, other: PortraitEmbedding) -> None:
    assert (one.engine, one.portrait.key) == (other.engine, other.portrait.key)
    for name in ("image", "matte", "background"):
        np.testing.assert_array_equal(getattr(one.portrait, name), getattr(other.portrait, name))
    for name in ("points", "blendshapes", "pose", "width_px", "height_px"):
        np.testing.assert_array_equal(getattr(one.portrait.landmarks, name), getattr(other.portrait.landmarks, name))
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        np.testing.assert_array_equal(tensor, other.tensors[name])
        assert tensor.dtype == other.tensors[name].dtype


def test_sizes_are_even_and_never_raised(tmp_path: Path) -> None:
    odd = tmp_path / "odd.png"
    Pillow.open(HOPPER).resize((301, 353)).save(odd)
    native = prepare(odd, long_side_px=None)
    assert native.image.shape == (352, 300, 3)
    np.testing.assert_array_equal(native.image, np.asarray(Pillow.open(odd))[:352, :300])
    assert native.matte.shape == native.background.shape[:2] == (352, 300)
    assert (native.landmarks.width_px, native.landmarks.height_px) == (300, 352)
    reduced = prepare(odd, long_side_px=200).image.shape
    assert reduced[0] == 200
    assert reduced[1] % 2 == 0


def test_a_picture_without_a_face_is_refused(tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    Pillow.new("RGB", (300, 200), (90, 120, 60)).save(plain)
    with pytest.raises(NoFaceError, match=r"^No face was found in .*plain\.png; use a picture") as raised:
        prepare(plain)
    assert isinstance(raised.value, PuppetError)


def test_the_second_time_comes_from_the_cache(tmp_path: Path, engine: CountingEngine) -> None:
    first = embed(HOPPER, engine, long_side_px=220, cache=tmp_path)
    elsewhere = tmp_path / "renamed.jpg"
    shutil.copy(HOPPER, elsewhere)
    assert_same(embed(elsewhere, engine, long_side_px=220, cache=tmp_path), first)
    assert engine.embedded == 1
    assert not list(tmp_path.glob("*.tmp"))


def test_the_users_own_folder_is_the_default(engine: CountingEngine) -> None:
    embed(HOPPER, engine, long_side_px=220)
    assert list((cache_dir() / "portraits").glob("*.safetensors"))
    embed(HOPPER, engine, long_side_px=220)
    assert engine.embedded == 1


def test_other_content_size_engine_and_preparation_are_kept_apart(
    tmp_path: Path, engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    brighter = tmp_path / "brighter.png"
    Pillow.open(HOPPER).point(lambda value: min(255, value + 8)).save(brighter)
    keys = {
        embed(path, engine, long_side_px=long_side_px, cache=tmp_path).portrait.key
        for path, long_side_px in [(HOPPER, 256), (HOPPER, 200), (brighter, 256)]
    }
    assert len(keys) == engine.embedded == 3
    other = CountingEngine("other")
    assert embed(HOPPER, other, long_side_px=220, cache=tmp_path).engine == "other"
    assert other.embedded == 1
    monkeypatch.setattr(portrait, "PREPARATION", portrait.PREPARATION + 1)
    embed(HOPPER, engine, long_side_px=220, cache=tmp_path)
    assert engine.embedded == 4


def test_a_spoilt_file_is_made_again(tmp_path: Path, engine: CountingEngine, caplog: pytest.LogCaptureFixture) -> None:
    first = embed(HOPPER, engine, long_side_px=200, cache=tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    for spoilt in (file.read_bytes()[:5000], b"", b"Dear reader, this is no portrait"):
        file.write_bytes(spoilt)
        caplog.clear()
        assert_same(embed(HOPPER, engine, long_side_px=200, cache=tmp_path), first)
        assert len(caplog.records) == 1
        assert "cannot be used" in caplog.text
    assert engine.embedded == 4
    assert_same(embed(HOPPER, engine, long_side_px=200, cache=tmp_path), first)
    assert engine.embedded == 4


def test_another_portrait_under_the_same_name_is_not_taken(tmp_path: Path, engine: CountingEngine) -> None:
    embed(HOPPER, engine, long_side_px=200, cache=tmp_path)
    (small,) = tmp_path.glob("*.safetensors")
    embed(HOPPER, engine, long_side_px=220, cache=tmp_path)
    (large,) = set(tmp_path.glob("*.safetensors")) - {small}
    shutil.copy(small, large)
    assert max(embed(HOPPER, engine, long_side_px=220, cache=tmp_path).portrait.image.shape) == 220


def test_a_folder_that_cannot_be_written_costs_one_warning(
    tmp_path: Path, engine: CountingEngine, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "cache"
    in_the_way.touch()
    embedding = embed(HOPPER, engine, long_side_px=220, cache=in_the_way)
    assert max(embedding.portrait.image.shape) == 220
    assert len(caplog.records) == 1
    assert "not kept for next time" in caplog.text


def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, engine: CountingEngine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    embed(HOPPER, engine, long_side_px=220, cache=tmp_path)
    assert "No space left on device" in caplog.text
    assert not list(tmp_path.iterdir())


def test_the_least_recently_used_portraits_go_first(
    tmp_path: Path, engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for age, long_side_px in enumerate([200, 210, 220]):
        embed(HOPPER, engine, long_side_px=long_side_px, cache=tmp_path)
        newest = max(tmp_path.glob("*.safetensors"), key=lambda file: file.stat().st_mtime)
        os.utime(newest, (age, age))
    embed(HOPPER, engine, long_side_px=200, cache=tmp_path)  # the oldest is used again
    monkeypatch.setattr(portrait, "CACHE_BYTES", 700_000)
    embed(HOPPER, engine, long_side_px=230, cache=tmp_path)
    assert engine.embedded == 4
    embed(HOPPER, engine, long_side_px=200, cache=tmp_path)
    assert engine.embedded == 4
    embed(HOPPER, engine, long_side_px=210, cache=tmp_path)
    assert engine.embedded == 5


def test_what_is_wrong_with_the_file_is_said(tmp_path: Path, engine: CountingEngine) -> None:
    with pytest.raises(PictureError, match="There is no file"):
        embed(tmp_path / "none.jpg", engine, cache=tmp_path)
    with pytest.raises(PictureError, match="is a folder"):
        embed(tmp_path, engine, cache=tmp_path)


def test_the_selected_face_of_a_group(data: Path) -> None:
    group = data / "group.jpg"
    right = prepare(group, selection=Selection(face=(0.8, 0.3)), long_side_px=600)
    x, y = right.landmarks.points[:, :2].mean(axis=0) / (right.landmarks.width_px, right.landmarks.height_px)
    assert x > 0.5
    crop = (0.55, 0.0, 1.0, 0.6)
    cropped = prepare(group, selection=Selection(face=(0.8, 0.3), crop=crop), long_side_px=600)
    assert cropped.image.shape == (360, 450, 3)  # nothing is enlarged
    centre = cropped.landmarks.points[:, :2].mean(axis=0) / cropped.image.shape[1::-1]
    np.testing.assert_allclose(centre, [(x - 0.55) / 0.45, y / 0.6], atol=0.01)
    assert len({right.key, cropped.key, prepare(group, long_side_px=600).key}) == 3


def test_markers_stand_for_a_face_that_is_not_found(tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    Pillow.new("RGB", (300, 200), (90, 120, 60)).save(plain)
    placed = ((0.45, 0.4), (0.6, 0.4), (0.52, 0.55), (0.47, 0.68), (0.58, 0.68))
    marked = prepare(plain, selection=Selection(markers=placed, crop=(0.2, 0.1, 0.9, 1.0)))
    expected = [((x - 0.2) * 300, (y - 0.1) * 200) for x, y in placed]
    np.testing.assert_allclose(markers_of(marked.landmarks), expected, atol=1.0)


def test_a_selection_is_cached_apart(tmp_path: Path, engine: CountingEngine) -> None:
    selection = Selection(crop=(0.1, 0.0, 0.9, 0.7))
    for _ in range(2):
        part = embed(HOPPER, engine, selection=selection, long_side_px=220, cache=tmp_path)
        whole = embed(HOPPER, engine, long_side_px=220, cache=tmp_path)
    assert engine.embedded == 2
    assert part.portrait.image.shape != whole.portrait.image.shape


def test_a_part_that_is_too_small_is_refused() -> None:
    with pytest.raises(PictureError, match="too small for a portrait"):
        prepare(HOPPER, selection=Selection(crop=(0.5, 0.5, 0.6, 0.6)))
    for crop in ((0.5, 0.0, 0.5, 1.0), (-0.1, 0.0, 1.0, 1.0), (0.0, 0.9, 1.0, 0.1)):
        with pytest.raises(ValueError, match="no part of a picture"):
            Selection(crop=crop)
