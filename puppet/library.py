"""The user's portraits on disk: the pictures that were added, what is selected of each, and their order.

Each has a folder of its own: `about.json`, a copy of the picture as it came, further pictures of the same person, and
what the generator was tuned to these, if it was.
`order.json` beside them holds the keys from first to last. Nothing else is kept, so several programs may look at once.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from PIL import Image as Pillow

from puppet.album import embed
from puppet.picture import read_picture
from puppet.portrait import WHOLE, Selection
from puppet.settings import data_dir, sample_portraits
from puppet.types import Engine, Image, PortraitEmbedding, PuppetError

logger = logging.getLogger(__name__)

ABOUT, ORDER, MORE, TUNED = "about.json", "order.json", "more", ".tuned"
SAMPLE: Final = "sample-"  # the keys of bundled portraits begin with it
CHECKED_PX = 256  # at which a picture is decoded to see whether it can be


class LibraryError(PuppetError, OSError):
    """The library cannot be changed."""


class UnknownPortraitError(PuppetError, LookupError):
    """No portrait of the library has that key."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One portrait, as it was when the library was asked."""

    key: str  # stays the same for good
    name: str
    picture: Path
    selection: Selection = WHOLE
    more: tuple[Path, ...] = ()  # further pictures of the same person
    added: datetime | None = None  # None for bundled ones, and for files that are not in the library
    tuned: Path | None = None  # what the generator was tuned to it, if it was and that is in use

    @property
    def kept(self) -> bool:
        """Whether it is the user's own, to be changed and removed."""
        return self.added is not None


class Library:
    """Portraits in `folder`, the user's own by default, and the bundled ones. Any thread may use it."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or data_dir() / "portraits"

    def entries(self) -> tuple[Entry, ...]:
        """The bundled portraits, then the user's in their order; damaged ones are left out with a warning."""
        order = {key: place for place, key in enumerate(self._order())}
        kept = sorted(self._kept(), key=lambda entry: (order.get(entry.key, len(order)), entry.added))
        return (*_samples(), *kept)

    def entry(self, key_or_path: str | Path) -> Entry:
        """The portrait of this key; a path that is none makes a passing entry, which is not kept.

        Raises UnknownPortraitError.
        """
        for entry in self.entries():
            if entry.key == key_or_path:
                return entry
        path = Path(key_or_path)
        if path.suffix or path.exists():
            return Entry(str(path), path.stem, path)
        raise UnknownPortraitError(f"There is no portrait {str(key_or_path)!r}; choose one of those in the window.")

    def embed(self, entry: Entry, engine: Engine, *, long_side_px: int | None) -> PortraitEmbedding:
        """The portrait as `engine` needs it, from the cache on disk where it can."""
        return embed(entry.picture, engine, also=entry.more, selection=entry.selection, long_side_px=long_side_px)

    def add(self, picture: Path, *, name: str = "", selection: Selection = WHOLE) -> Entry:
        """Copy a picture file into the library.

        The same content with the same selection is one portrait: it comes back as it is. Raises PictureError, also for
        what cannot be read as a picture, and LibraryError; then nothing was changed.
        """
        content = _content(picture)
        digest = hashlib.sha256(content).hexdigest()
        entries = self.entries()
        for entry in entries:
            if entry.selection == selection and _digest(entry.picture) == digest:
                return entry
        key = f"{digest[:12]}-{secrets.token_hex(2)}"  # one picture may have several faces in it
        copy = self.folder / key / f"picture{picture.suffix.lower()}"
        entry = Entry(key, name or picture.stem, copy, selection, (), datetime.now(UTC))
        with self._changing(), tempfile.TemporaryDirectory(prefix=".new-", dir=self.folder) as temporary:
            made = Path(temporary) / "portrait"
            made.mkdir()
            (made / entry.picture.name).write_bytes(content)
            (made / ABOUT).write_text(_about(entry), encoding="utf-8")
            made.rename(self.folder / key)
        self._reorder([*(each.key for each in entries if each.kept), key])
        return entry

    def add_more(self, entry: Entry, picture: Path) -> Entry:
        """Add a further picture of the same person. Raises PictureError and LibraryError."""
        return self._add_more(entry, _content(picture), picture.suffix.lower())

    def add_frame(self, entry: Entry, frame: Image) -> Entry:
        """Add a video's frame of the same person, (H, W, 3) uint8 RGB, as a further picture. Raises LibraryError."""
        content = io.BytesIO()
        Pillow.fromarray(frame).save(content, "PNG")
        return self._add_more(entry, content.getvalue(), ".png")

    def _add_more(self, entry: Entry, content: bytes, suffix: str) -> Entry:
        path = self._own(entry) / MORE / f"{hashlib.sha256(content).hexdigest()[:16]}{suffix}"
        with self._changing():
            path.parent.mkdir(exist_ok=True)
            _replace(path, content)
        return self.entry(entry.key)

    def remove_more(self, entry: Entry) -> Entry:
        """Delete all its further pictures, which forgets the tuning. Raises LibraryError."""
        own = self._own(entry)
        with self._changing():
            for picture in entry.more:
                (own / MORE / picture.name).unlink(missing_ok=True)
        return self.forget_tuning(self.entry(entry.key))

    def rename(self, entry: Entry, name: str) -> Entry:
        """Raises LibraryError."""
        return self._change(replace(entry, name=name.strip() or entry.name))

    def select(self, entry: Entry, selection: Selection) -> Entry:
        """Take another part of the picture, or another face in it, which forgets the tuning. Raises LibraryError."""
        before = entry.selection
        changed = self._change(replace(entry, selection=selection))
        if (before.face, before.markers) != (selection.face, selection.markers):
            return self.forget_tuning(changed)
        return changed

    def keep_tuning(self, entry: Entry, tuned: Path) -> Entry:
        """Copy a file to which the generator was tuned for this portrait. Raises LibraryError."""
        place = self._own(entry) / entry.picture.with_suffix(TUNED).name
        with self._changing():
            _replace(place, tuned.read_bytes())
        return self.entry(entry.key)

    def forget_tuning(self, entry: Entry) -> Entry:
        """Delete that file, if there is one. Raises LibraryError."""
        place = self._own(entry) / entry.picture.with_suffix(TUNED).name
        with self._changing():
            place.unlink(missing_ok=True)
        return self.entry(entry.key)

    def move(self, entry: Entry, place: int) -> None:
        """Put it at `place` among the user's own portraits, 0 the first of them. Raises LibraryError."""
        self._own(entry)
        keys = [each.key for each in self.entries() if each.kept and each.key != entry.key]
        self._reorder([*keys[:place], entry.key, *keys[place:]])

    def remove(self, entry: Entry) -> None:
        """Delete the portrait with all its pictures. Raises LibraryError."""
        own = self._own(entry)
        with self._changing(), tempfile.TemporaryDirectory(prefix=".removed-", dir=self.folder) as temporary:
            own.rename(Path(temporary) / own.name)  # at once; what is deleted piece by piece could be left half

    def _own(self, entry: Entry) -> Path:
        """The folder of one of the user's portraits."""
        if not entry.kept or not (self.folder / entry.key).is_dir():
            raise LibraryError(f"{entry.name} is not one of your own portraits; add its picture first.")
        return self.folder / entry.key

    def _change(self, entry: Entry) -> Entry:
        own = self._own(entry)
        with self._changing():
            _replace(own / ABOUT, _about(entry).encode())
        return entry

    def _kept(self) -> Iterator[Entry]:
        with suppress(FileNotFoundError):
            for folder in sorted(self.folder.iterdir()):
                if folder.is_dir() and not folder.name.startswith("."):
                    try:
                        yield _read(folder)
                    except (OSError, ValueError, KeyError, TypeError) as error:
                        if folder.exists():  # else it was removed meanwhile
                            _warn(f"The portrait in {folder} is left out, it is damaged ({error}).")

    def _order(self) -> list[str]:
        try:
            order = json.loads((self.folder / ORDER).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            _warn(f"The order of the portraits is lost: {self.folder / ORDER} cannot be read ({error}).")
            return []
        return [str(key) for key in order] if isinstance(order, list) else []

    def _reorder(self, keys: Sequence[str]) -> None:
        with self._changing():
            _replace(self.folder / ORDER, json.dumps(keys, indent=1).encode())

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            raise LibraryError(
                f"The portraits in {self.folder} cannot be changed ({error.strerror or error}); "
                "check the folder's permissions and the room on its disk."
            ) from error


@cache
def _warn(message: str) -> None:
    """Once: the library is read again and again."""
    logger.warning("%s", message)


def _content(picture: Path) -> bytes:
    """The bytes of a picture file that can be decoded."""
    read_picture(picture, long_side_px=CHECKED_PX)
    return picture.read_bytes()


def _samples() -> Iterator[Entry]:
    for path in sample_portraits():
        yield Entry(f"{SAMPLE}{path.stem}", path.stem.capitalize(), path)


def _about(entry: Entry) -> str:
    assert entry.added is not None
    about = {
        "name": entry.name,
        "picture": entry.picture.name,
        "added": entry.added.isoformat(),
        "selection": asdict(entry.selection),
    }
    return json.dumps(about, indent=1, ensure_ascii=False)


def _read(folder: Path) -> Entry:
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    picture = folder / Path(str(about["picture"])).name
    if not picture.is_file():
        raise FileNotFoundError(f"there is no {picture.name}")
    more = sorted((folder / MORE).glob("[!.]*"))
    added = datetime.fromisoformat(about["added"]).astimezone(UTC)
    tuned = picture.with_suffix(TUNED)
    return Entry(
        folder.name,
        str(about["name"]),
        picture,
        _selection(about["selection"]),
        tuple(more),
        added,
        tuned if tuned.is_file() else None,
    )


def _selection(about: dict[str, Any]) -> Selection:
    left, top, right, bottom = (float(each) for each in about["crop"])
    face = about["face"] and (float(about["face"][0]), float(about["face"][1]))
    markers = tuple((float(x), float(y)) for x, y in about["markers"])
    return Selection(crop=(left, top, right, bottom), face=face, markers=markers)


def _replace(path: Path, content: bytes) -> None:
    """Write the file whole or not at all."""
    temporary = path.with_name(f".{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@cache
def _digest(path: Path) -> str:
    """sha256 of a picture, which is never written again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
