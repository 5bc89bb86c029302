"""The strip of portraits: click one to become it, drop or paste pictures to add them, right-click to change them."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from PySide6.QtCore import QEvent, QMimeData, QSize, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QImage
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QToolButton, QWidget

from puppet import thumbnails
from puppet.library import Entry, Library
from puppet.types import Engine
from ui import theme
from ui.adding import Adding, sentence
from ui.backstage import Tuning
from ui.bridge import Background
from ui.errands import Errands
from ui.further import Further
from ui.language import tr
from ui.portrait_actions import PortraitActions, choose_pictures
from ui.tile import KEYS, SIDE_PX, Tile

T = TypeVar("T")

logger = logging.getLogger(__name__)

HEIGHT_PX = 104  # a tile, its margins, and a scroll bar when there are many


class _Engine:
    """An engine that is loaded once a worker asks for it, which alone uses it."""

    def __init__(self, load: Callable[[], Engine]) -> None:
        self._load = load
        self._loaded: Engine | None = None

    def __call__(self) -> Engine:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def close(self) -> None:
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None


class PortraitStrip(QWidget):
    """The library's portraits and a last tile that adds more.

    chosen: the key of a portrait that the user wants to be: clicked, its digit pressed, or just added.
    said: a message for the user and whether it is an error; an empty one takes the last one back.
    load_engine: makes an engine for each worker that moves thumbnails or prepares portraits; called in that worker.
    tuning: None, if portraits cannot be tuned.
    """

    chosen = Signal(str)
    said = Signal(str, bool)

    def __init__(
        self,
        library: Library,
        *,
        load_engine: Callable[[], Engine],
        tuning: Tuning | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._library = library
        self._entries: tuple[Entry, ...] = ()
        self._tiles: dict[str, Tile] = {}
        self._chosen = self._busy = ""
        self._changes, self._stills = Errands(self), Errands(self)
        self._films, self._film_engine = Background(self), _Engine(load_engine)
        self._preparing, self._preparing_engine = Errands(self), _Engine(load_engine)
        self._pasted = tempfile.TemporaryDirectory(prefix="puppet-")
        self._pasted_count = 0
        self.adding = Adding(library, self)
        self.adding.stored.connect(self._show_stored)
        self.adding.said.connect(self.said)
        self.further = Further(library, self)
        self.further.added.connect(self._renew)
        self.further.said.connect(self.said)
        self._actions = PortraitActions(
            library, self.adding, self.further, tuning=tuning, change=self._run, renew=self._renew, parent=self
        )
        self._row = QHBoxLayout()
        self._add = QToolButton()
        self._lay_out()
        self._show_entries(library.entries())
        self._row.addWidget(self._add)  # after the tiles, for the tabulator too

    def _lay_out(self) -> None:
        self.setAcceptDrops(True)
        self.setFixedHeight(HEIGHT_PX)
        self._add.setFixedSize(SIDE_PX - 8, SIDE_PX - 8)
        self._add.setIconSize(QSize(24, 24))
        self._add.setIcon(theme.icon("plus"))
        self._add.setToolTip(tr("Add pictures: choose files, drop them here, or paste with Ctrl+V"))
        self._add.setAccessibleName(tr("Add a portrait"))
        self._add.clicked.connect(lambda: choose_pictures(self, tr("Choose pictures"), self._add_files))
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(theme.SPACE_PX // 2)
        self._row.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        tiles = QWidget()
        tiles.setLayout(self._row)
        self._scroller = QScrollArea()
        self._scroller.setWidget(tiles)
        self._scroller.setWidgetResizable(True)
        self._scroller.setFrameShape(QFrame.Shape.NoFrame)
        self._scroller.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroller.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._scroller)

    def show_chosen(self, key: str) -> None:
        """Mark the portrait that is shown; one that is not in the library leaves none marked."""
        self._chosen = key
        for each, tile in self._tiles.items():
            tile.setChecked(each == key)
        if key in self._tiles:
            self._scroller.ensureWidgetVisible(self._tiles[key])

    def set_busy(self, key: str | None) -> None:
        """Show that a portrait is being prepared; None: that none is."""
        for each in (self._busy, key or ""):
            if each in self._tiles:
                self._tiles[each].show_busy(each == key)
        self._busy = key or ""

    def choose_number(self, number: int) -> None:
        """Choose the portrait with this number, 1 the first; if there is none, nothing happens."""
        if 0 < number <= len(self._entries):
            self.chosen.emit(self._entries[number - 1].key)

    @property
    def is_preparing(self) -> bool:
        """Whether portraits are being made ready."""
        return self._preparing.busy

    def prepare(self, *, long_side_px: int | None) -> None:
        """Have the portraits that have a digit ready on disk, so that each comes at once when its key is pressed."""

        def embed(entry: Entry) -> None:
            self._library.embed(entry, self._preparing_engine(), long_side_px=long_side_px)

        for entry in self._entries[:KEYS]:
            self._preparing.run(partial(embed, entry), lambda _: None, _go_without)

    def add_file(self, path: Path) -> None:
        """Make a portrait of a picture file, and choose it."""
        self.adding.add(path)

    def _add_files(self, paths: list[Path]) -> None:
        for path in paths:
            self.add_file(path)

    def can_take(self, mime: QMimeData) -> bool:
        """Whether something dragged or in the clipboard holds files or a picture."""
        return mime.hasImage() or any(url.isLocalFile() for url in mime.urls())

    def take(self, mime: QMimeData) -> None:
        """Make portraits of what was dropped or pasted: every file, or else the picture."""
        files = _files(mime)
        self._add_files(files)
        if not files and mime.hasImage():
            name = tr("Pasted picture")
            self._take_picture(QImage(mime.imageData()), lambda path: self.adding.add(path, name=name))

    def take_more(self, entry: Entry, mime: QMimeData) -> None:
        """Add what was dropped on a portrait to it: every picture and video, or else the picture."""
        files = _files(mime)
        if files:
            self.further.add(entry, files)
        elif mime.hasImage():
            self._take_picture(QImage(mime.imageData()), lambda path: self.further.add(entry, [path]))

    def close_down(self) -> None:
        """End the workers; idempotent."""
        self._actions.close()
        self.adding.close()
        self.further.close()
        self._changes.close()
        self._stills.close()
        if self._films.close():
            self._film_engine.close()
        if self._preparing.close():
            self._preparing_engine.close()
        self._pasted.cleanup()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # Qt's name
        if self.can_take(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # Qt's name
        self.take(event.mimeData())
        event.acceptProposedAction()

    def changeEvent(self, event: QEvent) -> None:  # Qt's name
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._add.setIcon(theme.icon("plus"))

    def _take_picture(self, picture: QImage, add: Callable[[Path], None]) -> None:
        """A picture that is no file becomes one first."""
        self._pasted_count += 1
        path = Path(self._pasted.name) / f"{self._pasted_count}.png"

        def save() -> None:
            if not picture.save(str(path)):
                raise OSError(tr("it cannot be saved"))

        self._changes.run(save, lambda _: add(path), self._refuse)

    def _show_stored(self, key: str) -> None:
        self._run(lambda: None, then=lambda: self.chosen.emit(key))

    def _renew(self, key: str) -> None:
        """Show what became of a portrait, living if it is the one that lives."""
        self._run(lambda: None, then=lambda: self.chosen.emit(key) if key == self._chosen else None)

    def _run(self, change: Callable[[], object], *, then: Callable[[], object] = lambda: None) -> None:
        """Change the library in the background, show what it holds then, and go on."""

        def work() -> tuple[Entry, ...]:
            change()
            return self._library.entries()

        def done(entries: tuple[Entry, ...]) -> None:
            self._show_entries(entries)
            for before, after in pairwise([self._add, *self._tiles.values(), self._add]):
                self.setTabOrder(before, after)
            then()

        self._changes.run(work, done, self._refuse)

    def _refuse(self, error: Exception) -> None:
        self.said.emit(sentence(error), True)

    def _show_entries(self, entries: tuple[Entry, ...]) -> None:
        """Make the tiles anew, but for those that are as they were."""
        former = dict(zip(self._entries, self._tiles.values(), strict=True))
        focused = next((key for key, tile in self._tiles.items() if tile.hasFocus()), "")
        numbers = {entry: number for number, entry in enumerate(self._entries, 1)}
        self._tiles = {}
        for number, entry in enumerate(entries, 1):
            tile = former.pop(entry, None) if numbers.get(entry) == number else None
            if tile is None:
                tile = self._tile(entry, number)
                self._row.insertWidget(number - 1, tile)
                tile.show()  # at once, with what goes; the layout would do so some events later
                self._stills.run(
                    partial(thumbnails.still, entry), partial(self._show_pictures, entry, Tile.show_still), _go_without
                )
            self._tiles[entry.key] = tile
        for tile in former.values():
            self._row.removeWidget(tile)
            tile.hide()
            tile.deleteLater()
        self._entries = entries
        self.show_chosen(self._chosen)
        self.set_busy(self._busy or None)
        if focused in self._tiles:
            self._tiles[focused].setFocus()

    def _tile(self, entry: Entry, number: int) -> Tile:
        tile = Tile(number=number, film_fps=thumbnails.FPS)
        tile.setAccessibleName(entry.name)
        numbered = tr("{name} (key {number})").format(name=entry.name, number=number)
        tile.setToolTip(numbered if number <= KEYS else entry.name)
        tile.clicked.connect(lambda: self.chosen.emit(entry.key))
        tile.film_wanted.connect(
            lambda: self._films.run(
                lambda: thumbnails.film(entry, self._film_engine()),
                partial(self._show_pictures, entry, Tile.show_film),
                _go_without,
            )
        )
        if entry.kept:
            tile.setAcceptDrops(True)
            tile.dropped.connect(lambda mime: self.take_more(entry, mime))
        tile.addActions(self._actions.of(entry, tile))
        return tile

    def _show_pictures(self, entry: Entry, show: Callable[[Tile, T], None], pictures: T) -> None:
        """What was made for a tile that may have gone meanwhile."""
        if entry in self._entries:
            show(self._tiles[entry.key], pictures)


def _files(mime: QMimeData) -> list[Path]:
    return [Path(url.toLocalFile()) for url in mime.urls() if url.isLocalFile()]


def _go_without(error: Exception) -> None:
    logger.warning("A portrait of the strip is not ready: %s", error)
