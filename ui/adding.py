"""From picture files to portraits in the library: looks for faces, and asks the user what it cannot know."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from mimetypes import guess_type
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from puppet.faces import BYSTANDER, find_faces
from puppet.library import Entry, Library
from puppet.markers import fitted, markers_of
from puppet.picture import PictureError, UnknownPicture, read_picture
from puppet.portrait import Selection
from puppet.tracking import face_width_px
from puppet.types import Image, Landmarks, PuppetError
from ui.crop import CropDialog
from ui.errands import Errands
from ui.language import told, tr
from ui.pick_face import PickFaceDialog, face_box
from ui.picture_dialog import PictureDialog
from ui.place_points import PlacePointsDialog

logger = logging.getLogger(__name__)

LOOKED_PX = 1280  # longer side of the picture in which faces are looked for, and which dialogs show
SMALL_FACE = 0.2  # of the picture's width: smaller ones are better cropped
AROUND_FACE = 1.0  # of its size, on each side: what cropping suggests
WHOLE_PICTURE = (0.0, 0.0, 1.0, 1.0)

Change = Literal["", "crop", "face", "markers"]


class _VideoError(PictureError):
    """A portrait is made from a picture."""

    @classmethod
    def instead_of(cls, error: UnknownPicture, path: Path) -> PictureError:
        """What helps more than `error`, if the file seems to be a video."""
        kind, _ = guess_type(path.name)
        if kind is None or not kind.startswith("video/"):
            return error
        text = tr("{name} is a video: drop it on one of your own portraits, to which its best frames are added.")
        return cls(text.format(name=path.name))


@dataclass(frozen=True, slots=True)
class _Request:
    """A new picture, or an entry whose selection is to be changed in one respect."""

    path: Path
    name: str = ""
    entry: Entry | None = None
    change: Change = ""

    @property
    def selection(self) -> Selection:
        return self.entry.selection if self.entry else Selection()


class Adding(QObject):
    """One picture after the other, so that there is never more than one dialog.

    stored: the key of a portrait that is in the library now, or was changed there.
    said: a message, and whether it is an error.
    """

    stored = Signal(str)
    said = Signal(str, bool)

    def __init__(self, library: Library, parent: QWidget) -> None:
        super().__init__(parent)
        self._library = library
        self._window = parent
        self._errands = Errands(self)
        self._waiting: deque[_Request] = deque()
        self._current: _Request | None = None
        self.dialog: PictureDialog | None = None  # the one that is open

    def add(self, path: Path, *, name: str = "") -> None:
        """Make a portrait of a picture file."""
        self._queue(_Request(path, name))

    def change(self, entry: Entry, change: Change) -> None:
        """Ask the user again for the crop, the face or the five markers of a portrait."""
        self._queue(_Request(entry.picture, entry.name, entry, change))

    def close(self) -> bool:
        self._waiting.clear()
        if self.dialog is not None:
            self.dialog.reject()
        return self._errands.close()

    def _queue(self, request: _Request) -> None:
        self._waiting.append(request)
        if self._current is None:
            self._start_next()

    def _start_next(self) -> None:
        self._current = self._waiting.popleft() if self._waiting else None
        if self._current is None:
            return
        request = self._current
        self.said.emit(tr("Looking for faces in {name} …").format(name=request.path.name), False)

        def look() -> tuple[Image, list[Landmarks]]:
            try:
                image = read_picture(request.path, long_side_px=LOOKED_PX)
            except UnknownPicture as error:
                raise _VideoError.instead_of(error, request.path) from error
            return image, find_faces(image)

        self._errands.run(look, lambda found: self._consider(request, *found), self._refuse)

    def _consider(self, request: _Request, image: Image, faces: list[Landmarks]) -> None:
        self.said.emit("", False)
        if request.change != "face":
            faces = [face for face in faces if face_width_px(face) > BYSTANDER * face_width_px(faces[0])]
        chosen = _selected(image, faces, request.selection)
        if chosen is None or request.change == "markers":
            self._ask_for_markers(request, image, chosen)
        elif request.change == "crop":
            self._ask_for_crop(request, image, chosen, request.selection)
        elif len(faces) > 1:
            self._ask_for_face(request, image, faces)
        elif faces:  # the only one; for a portrait that had markers, it takes their place
            self._fit_crop(request, image, faces[0], replace(request.selection, markers=()))
        else:
            self._ask_for_markers(request, image, chosen)

    def _ask_for_markers(self, request: _Request, image: Image, face: Landmarks | None) -> None:
        height_px, width_px = image.shape[:2]
        lost = tr("No face was found. Drag the points to the eyes, the tip of the nose and the mouth's corners.")
        seen = [(x / width_px, y / height_px) for x, y in markers_of(face)] if face else []
        question = "" if face else lost
        markers = request.selection.markers or seen
        dialog = PlacePointsDialog(image, markers=markers, question=question, parent=self._window)
        self._open(dialog, lambda: self._store(request, replace(request.selection, markers=dialog.markers, face=None)))

    def _ask_for_face(self, request: _Request, image: Image, faces: Sequence[Landmarks]) -> None:
        dialog = PickFaceDialog(image, faces, parent=self._window)

        def picked() -> None:
            face = faces[dialog.index]
            selection = replace(request.selection, face=_place(face), markers=(), crop=WHOLE_PICTURE)
            self._fit_crop(request, image, face, selection)

        self._open(dialog, picked)

    def _fit_crop(self, request: _Request, image: Image, face: Landmarks, selection: Selection) -> None:
        """Ask for a crop where the face is small, in which case few of the portrait's pixels would be its."""
        if face_width_px(face) > SMALL_FACE * image.shape[1]:
            self._store(request, selection)
        else:
            self._ask_for_crop(request, image, face, replace(selection, crop=face_box(face, margin=AROUND_FACE)))

    def _ask_for_crop(self, request: _Request, image: Image, face: Landmarks, selection: Selection) -> None:
        box = face_box(face)
        dialog = CropDialog(image, crop=selection.crop, face=box, parent=self._window)
        self._open(dialog, lambda: self._store(request, replace(selection, crop=dialog.crop)))

    def _open(self, dialog: PictureDialog, accepted: Callable[[], None]) -> None:
        def finished(result: int) -> None:
            self.dialog = None
            dialog.deleteLater()
            if result:
                accepted()
            else:
                self._start_next()

        self.dialog = dialog
        dialog.finished.connect(finished)
        dialog.open()

    def _store(self, request: _Request, selection: Selection) -> None:
        def store() -> Entry:
            if request.entry is not None:
                return self._library.select(request.entry, selection)
            return self._library.add(request.path, name=request.name, selection=selection)

        self._errands.run(store, self._done, self._refuse)

    def _done(self, entry: Entry) -> None:
        self.stored.emit(entry.key)
        self._start_next()

    def _refuse(self, error: Exception) -> None:
        self.said.emit(sentence(error), True)
        self._start_next()


def sentence(error: Exception) -> str:
    """What the user is told of an error."""
    if isinstance(error, PuppetError):
        return told(error)
    logger.debug("A picture could not be used.", exc_info=error)
    return tr("This picture cannot be used ({error}); choose another one.").format(error=error)


def _place(face: Landmarks) -> tuple[float, float]:
    """The middle of a face, fractions of the picture."""
    x, y = face.points[:, :2].mean(axis=0)
    return float(x) / face.width_px, float(y) / face.height_px


def _selected(image: Image, faces: Sequence[Landmarks], selection: Selection) -> Landmarks | None:
    """The face that a selection is of: the one through its markers, that at its place, or the largest."""
    if selection.markers:
        height_px, width_px = image.shape[:2]
        placed = [(x * width_px, y * height_px) for x, y in selection.markers]
        return fitted(placed, width_px=width_px, height_px=height_px)
    if selection.face is None or not faces:
        return next(iter(faces), None)
    x, y = selection.face
    return min(faces, key=lambda face: math.hypot(_place(face)[0] - x, _place(face)[1] - y))
