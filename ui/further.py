"""Further pictures of a portrait's person, and videos: looked through in the background, and added to the portrait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event

from PySide6.QtCore import QObject, Qt, Signal

from puppet.album import Findings, Shot, look_through
from puppet.library import Entry, Library
from ui.adding import sentence
from ui.bridge import Inbox
from ui.errands import Errands
from ui.language import joined, told, tr


class _GivenUp(Exception):
    """The user did not want to wait for it."""


class Further(QObject):
    """One lot of files after the other.

    added: the key of a portrait that has more pictures now.
    said: a message, and whether it is an error.
    working: what is being done, empty when that is over; `give_up` ends it.
    """

    added = Signal(str)
    said = Signal(str, bool)
    working = Signal(str)

    def __init__(self, library: Library, parent: QObject) -> None:
        super().__init__(parent)
        self._library = library
        self._errands = Errands(self)
        self._progress: Inbox[str] = Inbox(self)
        self._progress.arrived.connect(self._show_progress, Qt.ConnectionType.QueuedConnection)
        self._given_up = Event()
        self._waiting = 0

    def add(self, entry: Entry, files: Sequence[Path]) -> None:
        """Add what these pictures and videos show of the portrait's person."""
        given_up = self._given_up
        self._waiting += 1
        self.working.emit(_progress(entry, 0.0))

        def tell(done: float) -> None:
            if given_up.is_set():
                raise _GivenUp
            self._progress.send(_progress(entry, done))

        self._errands.run(
            lambda: self._look(entry.key, files, tell), lambda looked: self._done(entry, *looked), self._refuse
        )

    def give_up(self) -> None:
        """End what is under way and what waits; nothing more is added."""
        self._given_up.set()
        self._given_up = Event()
        self._progress.take()
        self.working.emit("")

    def close(self) -> bool:
        """Whether the thread has ended in time."""
        self._given_up.set()
        self._progress.close()
        return self._errands.close()

    def _look(self, key: str, files: Sequence[Path], tell: Callable[[float], None]) -> tuple[Findings, int]:
        """In the background: what was found, and how many pictures the portrait has got."""
        entry = self._library.entry(key)  # as it is by now
        found = look_through(files, path=entry.picture, known=entry.more, selection=entry.selection, progress=tell)
        tell(1.0)
        now = entry
        for shot in found.usable:
            now = self._keep(now, shot)
        return found, len(now.more) - len(entry.more)

    def _keep(self, entry: Entry, shot: Shot) -> Entry:
        if shot.is_frame:
            return self._library.add_frame(entry, shot.image)
        return self._library.add_more(entry, shot.path)

    def _show_progress(self) -> None:
        text = self._progress.take()
        if text is not None and self._waiting:
            self.working.emit(text)

    def _end(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            self.working.emit("")

    def _done(self, entry: Entry, found: Findings, count: int) -> None:
        self._end()
        if count:
            self.added.emit(entry.key)
        self.said.emit(_report(entry, found, count), not count and not found.usable)

    def _refuse(self, error: Exception) -> None:
        self._end()
        if not isinstance(error, _GivenUp):
            self.said.emit(sentence(error), True)


def _progress(entry: Entry, done: float) -> str:
    return tr("Looking for more pictures of {name}: {percent} %").format(name=entry.name, percent=f"{100 * done:.0f}")


def _report(entry: Entry, found: Findings, count: int) -> str:
    """What came of it, and what was left out, by name."""
    parts = []
    if count:
        parts.append(tr("Pictures added to {name}: {count}.").format(name=entry.name, count=count))
    elif found.usable:
        parts.append(tr("{name} has these pictures already.").format(name=entry.name))
    ours = {shot.path for shot in (*found.usable, *found.small)}
    others = {shot.path: 0 for shot in found.strangers}
    for shot in found.strangers:
        others[shot.path] += 1
    wholly = [path.name for path in others if path not in ours]
    if wholly:
        parts.append(tr("Left out, since somebody else seems to be shown: {files}.").format(files=", ".join(wholly)))
    parts += [
        tr("Left out of {file}, since they seem to show somebody else: {count} frames.").format(
            file=path.name, count=frames
        )
        for path, frames in others.items()
        if path in ours
    ]
    small = list(dict.fromkeys(shot.path.name for shot in found.small))
    if small:
        parts.append(
            tr("Left out, since the face is too small beside the portrait's: {files}.").format(files=", ".join(small))
        )
    return joined([*parts, *map(told, found.refused)])
