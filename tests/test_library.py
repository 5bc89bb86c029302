"""The library on disk: what is added comes back, what is damaged harms nothing else, what fails leaves no trace."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image as Pillow

from puppet.library import ABOUT, ORDER, Entry, Library, LibraryError, UnknownPortraitError
from puppet.picture import PictureError
from puppet.portrait import Selection
from puppet.settings import sample_portraits

HOPPER = Path(__file__).parent.parent / "puppet/assets/portraits/hopper.jpg"
FACE = Selection(face=(0.7, 0.3), crop=(0.5, 0.0, 1.0, 0.75))
MARKED = Selection(markers=((0.4, 0.4), (0.6, 0.4), (0.5, 0.5), (0.42, 0.6), (0.58, 0.6)))


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Three small ones with names that are no plain ASCII."""
    paths = [tmp_path / name for name in ("Grüße.PNG", "祖母.jpg", "a b.webp")]
    for shade, path in enumerate(paths):
        Pillow.new("RGB", (80, 100), (60 * shade, 90, 120)).save(path)
    return paths


def own(library: Library) -> list[Entry]:
    return [entry for entry in library.entries() if entry.kept]


def names(library: Library) -> list[str]:
    return [entry.name for entry in own(library)]


def test_bundled_portraits_come_first_and_stay(library: Library, pictures: list[Path]) -> None:
    samples = library.entries()
    assert [entry.picture for entry in samples] == sample_portraits()
    library.add(pictures[0])
    assert library.entries()[: len(samples)] == samples
    for change in (library.remove, lambda entry: library.rename(entry, "Other"), lambda entry: library.move(entry, 0)):
        with pytest.raises(LibraryError, match="is not one of your own portraits"):
            change(samples[0])
    assert library.entries()[: len(samples)] == samples


def test_what_was_added_is_there_again(library: Library, pictures: list[Path]) -> None:
    added = [
        library.add(pictures[0]),
        library.add(pictures[1], name="Grandmother", selection=FACE),
        library.add(pictures[2], selection=MARKED),
    ]
    assert own(Library(library.folder)) == added
    assert names(library) == ["Grüße", "Grandmother", "a b"]
    assert [entry.selection for entry in added] == [Selection(), FACE, MARKED]
    for entry, path in zip(added, pictures, strict=True):
        assert entry.picture.read_bytes() == path.read_bytes()
        assert entry.picture.suffix == path.suffix.lower()
        assert library.entry(entry.key) == entry


def test_the_same_content_is_one_portrait(library: Library, pictures: list[Path], tmp_path: Path) -> None:
    first = library.add(pictures[0])
    copy = tmp_path / "copy.png"
    shutil.copy(pictures[0], copy)
    assert library.add(copy, name="Again") == first
    assert library.add(HOPPER) == library.entries()[1]
    assert len(own(library)) == 1
    other_face = library.add(pictures[0], selection=FACE)
    assert other_face.key != first.key
    assert len(own(library)) == 2


def test_changes_are_kept(library: Library, pictures: list[Path]) -> None:
    first, second, third = (library.add(path) for path in pictures)
    assert library.rename(second, "  Anna ").name == "Anna"
    assert library.rename(second, " ").name == second.name
    assert library.select(third, MARKED).key == third.key
    with_more = library.add_more(first, pictures[2])
    assert [path.read_bytes() for path in with_more.more] == [pictures[2].read_bytes()]
    assert library.add_more(first, pictures[2]).more == with_more.more
    library.move(third, 0)
    again = own(Library(library.folder))
    assert [entry.key for entry in again] == [third.key, first.key, second.key]
    assert again[0].selection == MARKED
    library.move(third, 99)
    library.remove(first)
    assert [entry.key for entry in own(library)] == [second.key, third.key]
    assert not (library.folder / first.key).exists()
    assert {path.name for path in library.folder.iterdir()} == {ORDER, second.key, third.key}
    with pytest.raises(LibraryError, match="is not one of your own"):
        library.remove(first)


def damage_about(folder: Path, **changes: object) -> None:
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    (folder / ABOUT).write_text(json.dumps(about | changes), encoding="utf-8")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / ABOUT).write_text("{"),
        lambda folder: (folder / ABOUT).write_bytes(b"\xff\xfe"),
        lambda folder: (folder / ABOUT).write_text("[1, 2]"),
        lambda folder: (folder / ABOUT).unlink(),
        lambda folder: next(folder.glob("picture*")).unlink(),
        lambda folder: damage_about(folder, picture="../../secret.png"),
        lambda folder: damage_about(folder, added="yesterday"),
        lambda folder: damage_about(folder, selection={"crop": [0.9, 0, 0.1, 1], "face": None, "markers": []}),
    ],
)
def test_a_damaged_portrait_is_left_out(
    library: Library, pictures: list[Path], damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (library.add(path) for path in pictures[:2])
    assert callable(damage)
    damage(library.folder / first.key)
    assert own(library) == own(library) == [second]
    assert len(caplog.records) == 1
    assert f"{first.key} is left out, it is damaged" in caplog.text


def test_a_lost_order_costs_only_the_order(
    library: Library, pictures: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    entries = [library.add(path) for path in pictures]
    library.move(entries[2], 0)
    (library.folder / ORDER).write_text("[")
    assert own(library) == entries  # as they were added
    assert "The order of the portraits is lost" in caplog.text
    (library.folder / ORDER).write_text('{"a": 1}')
    assert own(library) == entries
    entries.append(library.add(HOPPER, selection=FACE))
    assert own(library) == entries


def test_no_picture_is_refused_and_leaves_no_trace(library: Library, tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    for path in (text, tmp_path, tmp_path / "none.png"):
        with pytest.raises(PictureError, match=path.name):
            library.add(path)
    assert not library.folder.exists()


def test_a_full_disk_leaves_all_as_it_was(
    library: Library, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = library.add(pictures[0])
    before = sorted(library.folder.rglob("*"))

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        for change in (
            lambda: library.add(pictures[1]),
            lambda: library.add_more(first, pictures[1]),
            lambda: library.rename(first, "Other"),
        ):
            with pytest.raises(LibraryError, match="No space left on device"):
                change()
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(LibraryError, match="No space left on device"):
            library.rename(first, "Other")
    assert own(library) == [first]
    assert [path for path in sorted(library.folder.rglob("*")) if path.name != "more"] == before


def test_a_path_makes_a_passing_entry(library: Library, tmp_path: Path) -> None:
    entry = library.entry(HOPPER)
    assert (entry.key, entry.name, entry.picture, entry.kept) == (str(HOPPER), "hopper", HOPPER, False)
    assert library.entry("sample-hopper").picture == HOPPER
    assert library.entry(str(tmp_path / "none.jpg")).picture == tmp_path / "none.jpg"
    with pytest.raises(UnknownPortraitError, match="There is no portrait 'nobody'"):
        library.entry("nobody")
    assert not library.folder.exists()
