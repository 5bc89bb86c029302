"""Marking a face that the detector does not see: five points to drag, and the mesh that goes through them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import QWidget

from puppet.canonical import TRIANGLES
from puppet.facemesh import IRIS
from puppet.markers import MarkersError, fitted, suggestion
from puppet.types import Image, Landmarks
from ui.language import told, tr
from ui.picture_dialog import PictureDialog
from ui.picture_view import PictureView

Place = tuple[float, float]

RADIUS_PX = 7.0
GRIP_PX = 18.0  # from a marker's middle, where it can be taken
STEP = 0.002  # of an arrow key, in picture widths; five times that with Shift
EDGES = np.unique(np.sort(np.concatenate([TRIANGLES[:, [0, 1]], TRIANGLES[:, [1, 2]], TRIANGLES[:, [2, 0]]])), axis=0)


class MarkersView(PictureView):
    """A picture with five markers and the mesh through them. Page Up and Down choose a marker, arrows move it."""

    changed = Signal()

    def __init__(self, image: Image, markers: Sequence[Place], parent: QWidget | None = None) -> None:
        super().__init__(image, parent)
        self._image = image
        self.markers = list(markers)  # fractions of the picture
        self.current = 0
        self.face: Landmarks | None = None
        self.problem = ""
        self._taken = False
        self._fit()

    def place(self, index: int, place: QPointF) -> None:
        """Put a marker at a place in the picture."""
        self.markers[index] = (min(max(place.x(), 0.0), 1.0), min(max(place.y(), 0.0), 1.0))
        self.current = index
        self._fit()
        self.update()
        self.changed.emit()

    def _fit(self) -> None:
        height_px, width_px = self._image.shape[:2]
        try:
            placed = [(x * width_px, y * height_px) for x, y in self.markers]
            self.face, self.problem = fitted(placed, width_px=width_px, height_px=height_px), ""
        except MarkersError as error:
            self.face, self.problem = None, told(error)

    def _at(self, position: QPointF) -> int | None:
        distances = [(self.to_widget(QPointF(*each)) - position).manhattanLength() for each in self.markers]
        nearest = int(np.argmin(distances))
        return nearest if distances[nearest] <= GRIP_PX else None

    def mousePressEvent(self, event: QMouseEvent) -> None:  # Qt's name
        super().mousePressEvent(event)
        index = self._at(event.position())
        if event.button() == Qt.MouseButton.LeftButton and index is not None:
            self._taken = True
            self.current = index
            self.update()
            self.changed.emit()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # Qt's name
        super().mouseMoveEvent(event)
        if self._taken:
            self.place(self.current, self.to_picture(event.position()))
        over = self._taken or self._at(event.position()) is not None
        self.setCursor(Qt.CursorShape.PointingHandCursor if over else Qt.CursorShape.ArrowCursor)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # Qt's name
        super().mouseReleaseEvent(event)
        self._taken = False

    def keyPressEvent(self, event: QKeyEvent) -> None:  # Qt's name
        key = Qt.Key(event.key())
        turns = {Qt.Key.Key_PageUp: -1, Qt.Key.Key_PageDown: 1}
        steps = {Qt.Key.Key_Left: (-1, 0), Qt.Key.Key_Right: (1, 0), Qt.Key.Key_Up: (0, -1), Qt.Key.Key_Down: (0, 1)}
        if key in turns:
            self.current = (self.current + turns[key]) % len(self.markers)
            self.update()
            self.changed.emit()
        elif key in steps:
            length = STEP * (5 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1)
            aspect = self._image.shape[1] / self._image.shape[0]
            x, y = steps[key]
            self.place(self.current, QPointF(*self.markers[self.current]) + QPointF(x * length, y * length * aspect))
        else:
            super().keyPressEvent(event)

    def paint_over(self, painter: QPainter) -> None:
        if self.face is not None:
            self._paint_mesh(painter, self.face)
        for index, marker in enumerate(self.markers):
            middle = self.to_widget(QPointF(*marker))
            chosen = index == self.current
            painter.setBrush(self.accent if chosen else QColor(255, 255, 255, 60))
            painter.setPen(QPen(QColor(0, 0, 0, 160), 4))
            painter.drawEllipse(middle, RADIUS_PX, RADIUS_PX)
            painter.setPen(QPen(Qt.GlobalColor.white, 2))
            painter.drawEllipse(middle, RADIUS_PX, RADIUS_PX)
            painter.drawPoint(middle)

    def _paint_mesh(self, painter: QPainter, face: Landmarks) -> None:
        area = self.area()
        scale = np.array([area.width() / face.width_px, area.height() / face.height_px])
        points = [QPointF(x, y) for x, y in face.points[:, :2] * scale + (area.x(), area.y())]
        line = QColor(self.accent)
        line.setAlpha(120)
        painter.setPen(QPen(line, 0.8))
        painter.drawLines([point for a, b in EDGES.tolist() for point in (points[a], points[b])])
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for centre, right, *_ in IRIS:
            radius = abs(points[right].x() - points[centre].x())
            painter.drawEllipse(points[centre], radius, radius)


class PlacePointsDialog(PictureDialog):
    """`markers`: the five places, fractions of the picture, in the order of `puppet.markers`."""

    def __init__(
        self, image: Image, *, markers: Sequence[Place] = (), question: str = "", parent: QWidget | None = None
    ) -> None:
        height_px, width_px = image.shape[:2]
        first = [(x / width_px, y / height_px) for x, y in suggestion(width_px, height_px)]
        self.view = MarkersView(image, markers or first)
        super().__init__(
            self.view,
            title=tr("Mark the face"),
            question=question or tr("Drag the five points to the eyes, the tip of the nose and the mouth's corners."),
            done=tr("Use this face"),
            parent=parent,
        )
        self._names = (
            tr("Left eye"), tr("Right eye"), tr("Tip of the nose"),
            tr("Left corner of the mouth"), tr("Right corner of the mouth"),
        )  # fmt: skip
        self.view.changed.connect(self._judge)
        self._judge()

    @property
    def markers(self) -> tuple[Place, ...]:
        return tuple(self.view.markers)

    def _judge(self) -> None:
        name = self._names[self.view.current]
        hint = tr(
            "{point}, as seen in the picture. The wheel zooms, arrow keys move it, Page Up and Down choose another."
        ).format(point=name)
        self.answer_ready(not self.view.problem, self.view.problem or hint)
