"""Choosing one of several faces in a picture with a click."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import QWidget

from puppet.types import Image, Landmarks
from ui.language import tr
from ui.picture_dialog import PictureDialog
from ui.picture_view import SHADE, PictureView

ROUND_PX = 8
MARGIN = 0.12  # of the face's size, around its points


class FacesView(PictureView):
    """A picture with a frame around each face. `current` is the one that was clicked, or moved to with the arrows."""

    changed = Signal()
    picked = Signal()

    def __init__(self, image: Image, faces: Sequence[Landmarks], parent: QWidget | None = None) -> None:
        super().__init__(image, parent)
        self.frames = [_frame(face) for face in faces]
        self.current = 0
        self._order = sorted(range(len(faces)), key=lambda index: self.frames[index].x())  # as arrows go

    def _show_current(self, index: int) -> None:
        if index != self.current:
            self.current = index
            self.update()
            self.changed.emit()

    def _at(self, position: QPointF) -> int | None:
        place = self.to_picture(position)
        return next((index for index, frame in enumerate(self.frames) if frame.contains(place)), None)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # Qt's name
        super().mouseMoveEvent(event)
        over = self._at(event.position())
        self.setCursor(Qt.CursorShape.ArrowCursor if over is None else Qt.CursorShape.PointingHandCursor)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # Qt's name
        super().mousePressEvent(event)
        index = self._at(event.position())
        if event.button() == Qt.MouseButton.LeftButton and index is not None:
            self._show_current(index)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # Qt's name
        if self._at(event.position()) is not None:
            self.picked.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # Qt's name
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if step is None:
            super().keyPressEvent(event)
            return
        place = (self._order.index(self.current) + step) % len(self._order)
        self._show_current(self._order[place])

    def paint_over(self, painter: QPainter) -> None:
        for index, frame in enumerate(self.frames):
            seen = QRectF(self.to_widget(frame.topLeft()), self.to_widget(frame.bottomRight()))
            painter.setPen(QPen(SHADE, 4))
            painter.drawRoundedRect(seen, ROUND_PX, ROUND_PX)
            chosen = index == self.current
            painter.setPen(QPen(self.accent if chosen else Qt.GlobalColor.white, 3 if chosen else 1.5))
            painter.drawRoundedRect(seen, ROUND_PX, ROUND_PX)


def _frame(face: Landmarks) -> QRectF:
    """Around a face, in fractions of the picture."""
    left, top, right, bottom = face_box(face, margin=MARGIN)
    return QRectF(QPointF(left, top), QPointF(right, bottom))


def face_box(face: Landmarks, *, margin: float = 0.0) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a face's points with `margin` of its size around, fractions of the picture."""
    (left, top), (right, bottom) = face.points[:, :2].min(axis=0).tolist(), face.points[:, :2].max(axis=0).tolist()
    x, y = margin * (right - left), margin * (bottom - top)
    width_px, height_px = face.width_px, face.height_px
    return (
        max(0.0, (left - x) / width_px),
        max(0.0, (top - y) / height_px),
        min(1.0, (right + x) / width_px),
        min(1.0, (bottom + y) / height_px),
    )


class PickFaceDialog(PictureDialog):
    """`index`: which of the faces was chosen."""

    def __init__(self, image: Image, faces: Sequence[Landmarks], *, parent: QWidget | None = None) -> None:
        self.view = FacesView(image, faces)
        super().__init__(
            self.view,
            title=tr("Choose a face"),
            question=tr("There are {count} faces in the picture. Whose portrait shall it be?").format(count=len(faces)),
            done=tr("Use this face"),
            parent=parent,
        )
        self.view.picked.connect(self.accept)
        self.answer_ready(True, tr("Click a face, or go to it with the arrow keys. The wheel zooms."))

    @property
    def index(self) -> int:
        return self.view.current
