"""Choosing the part of a picture that becomes the portrait, with a rubber band."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import QWidget

from puppet.types import Image
from ui.language import tr
from ui.picture_dialog import PictureDialog
from ui.picture_view import SHADE, PictureView

GRIP_PX = 10  # from an edge of the band, where it can be taken
HANDLE_PX = 8
LEAST = 0.04  # of the picture's side
STEP = 0.01  # of an arrow key
SHAPES = {"1 : 1": 1.0, "4 : 5": 0.8, "3 : 4": 0.75, "2 : 3": 2 / 3, "4 : 3": 4 / 3, "16 : 9": 16 / 9}
NEAR_SHAPE = 0.02
WHOLE = QRectF(0, 0, 1, 1)


class CropView(PictureView):
    """A picture with a band, in fractions of it: drag its edges, its inside, or a new one.

    Arrow keys move it; with Shift they move its lower right corner.
    """

    changed = Signal()

    def __init__(self, image: Image, band: QRectF, parent: QWidget | None = None) -> None:
        super().__init__(image, parent)
        self.band = band
        self._taken: tuple[str, QPointF, QRectF] | None = None  # which edges ("" all of it), from where, of which band

    def set_band(self, band: QRectF) -> None:
        band = band.normalized() & WHOLE
        width, height = max(band.width(), LEAST), max(band.height(), LEAST)
        self.band = QRectF(min(band.x(), 1 - width), min(band.y(), 1 - height), width, height)
        self.update()
        self.changed.emit()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # Qt's name
        if event.button() != Qt.MouseButton.LeftButton:
            super().mousePressEvent(event)
            return
        edges, place = self._edges_at(event.position()), self.to_picture(event.position())
        if edges is None:
            edges, self.band = "rb", QRectF(place, place)
        self._taken = edges, place, QRectF(self.band)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # Qt's name
        if self._taken is None:
            super().mouseMoveEvent(event)
            self._show_cursor(self._edges_at(event.position()))
            return
        edges, start, band = self._taken
        self.set_band(self._moved(band, edges, self.to_picture(event.position()) - start))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # Qt's name
        super().mouseReleaseEvent(event)
        if self._taken is not None:
            self._taken = None
            self.set_band(self.band)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # Qt's name
        steps = {
            Qt.Key.Key_Left: (-STEP, 0.0),
            Qt.Key.Key_Right: (STEP, 0.0),
            Qt.Key.Key_Up: (0.0, -STEP),
            Qt.Key.Key_Down: (0.0, STEP),
        }
        step = steps.get(Qt.Key(event.key()))
        if step is None:
            super().keyPressEvent(event)
            return
        corner = "rb" if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else ""
        self.set_band(self._moved(QRectF(self.band), corner, QPointF(*step)))

    @staticmethod
    def _moved(band: QRectF, edges: str, by: QPointF) -> QRectF:
        if not edges:  # it stops at the picture's edges, and keeps its size
            x = min(max(band.x() + by.x(), 0.0), 1.0 - band.width())
            y = min(max(band.y() + by.y(), 0.0), 1.0 - band.height())
            return QRectF(QPointF(x, y), band.size())
        return band.adjusted(
            by.x() * ("l" in edges), by.y() * ("t" in edges), by.x() * ("r" in edges), by.y() * ("b" in edges)
        )

    def _edges_at(self, position: QPointF) -> str | None:
        """Which edges can be taken there: some of "l", "r", "t", "b"; "" the inside; None outside."""
        band = QRectF(self.to_widget(self.band.topLeft()), self.to_widget(self.band.bottomRight()))
        if not band.adjusted(-GRIP_PX, -GRIP_PX, GRIP_PX, GRIP_PX).contains(position):
            return None
        across = {"l": abs(position.x() - band.left()), "r": abs(position.x() - band.right())}
        down = {"t": abs(position.y() - band.top()), "b": abs(position.y() - band.bottom())}
        nearest = (min(each, key=lambda edge: each[edge]) for each in (across, down))
        return "".join(edge for edge in nearest if (across | down)[edge] <= GRIP_PX)

    def _show_cursor(self, edges: str | None) -> None:
        shape = Qt.CursorShape.CrossCursor if edges is None else Qt.CursorShape.SizeAllCursor
        if edges in ("l", "r"):
            shape = Qt.CursorShape.SizeHorCursor
        elif edges in ("t", "b"):
            shape = Qt.CursorShape.SizeVerCursor
        elif edges:
            shape = Qt.CursorShape.SizeFDiagCursor if edges in ("lt", "rb") else Qt.CursorShape.SizeBDiagCursor
        self.setCursor(shape)

    def paint_over(self, painter: QPainter) -> None:
        band = QRectF(self.to_widget(self.band.topLeft()), self.to_widget(self.band.bottomRight()))
        outside = QPainterPath()
        outside.addRect(self.area())
        outside.addRect(band)
        painter.fillPath(outside, SHADE)
        painter.setPen(QPen(self.accent, 2))
        painter.drawRect(band)
        third = QPen(self.accent, 1, Qt.PenStyle.DotLine)
        painter.setPen(third)
        for share in (1 / 3, 2 / 3):
            x, y = band.x() + share * band.width(), band.y() + share * band.height()
            painter.drawLine(QPointF(x, band.top()), QPointF(x, band.bottom()))
            painter.drawLine(QPointF(band.left(), y), QPointF(band.right(), y))
        painter.setPen(Qt.PenStyle.NoPen)
        for corner in (band.topLeft(), band.topRight(), band.bottomLeft(), band.bottomRight()):
            painter.fillRect(
                QRectF(-HANDLE_PX / 2, -HANDLE_PX / 2, HANDLE_PX, HANDLE_PX).translated(corner), self.accent
            )


class CropDialog(PictureDialog):
    """`crop`: left, top, right, bottom of the part that was chosen, fractions of the picture.

    It must hold `face`, the rectangle around the portrait's face, by its middle.
    """

    def __init__(
        self,
        image: Image,
        *,
        crop: tuple[float, float, float, float],
        face: tuple[float, float, float, float],
        parent: QWidget | None = None,
    ) -> None:
        left, top, right, bottom = crop
        self.view = CropView(image, QRectF(left, top, right - left, bottom - top))
        super().__init__(
            self.view,
            title=tr("Crop the picture"),
            question=tr("Which part of the picture shall be the portrait?"),
            done=tr("Use this part"),
            parent=parent,
        )
        self._face = QPointF((face[0] + face[2]) / 2, (face[1] + face[3]) / 2)
        self.view.changed.connect(self._judge)
        self._judge()

    @property
    def crop(self) -> tuple[float, float, float, float]:
        band = self.view.band
        return max(0.0, band.left()), max(0.0, band.top()), min(1.0, band.right()), min(1.0, band.bottom())

    def _judge(self) -> None:
        if not self.view.band.contains(self._face):
            self.answer_ready(False, tr("The face must be inside."))
            return
        size = self.view.picture_size
        width_px, height_px = size.width() * self.view.band.width(), size.height() * self.view.band.height()
        shape = width_px / max(height_px, 1.0)
        near = [name for name, ratio in SHAPES.items() if abs(shape / ratio - 1) < NEAR_SHAPE]
        named = near[0] if near else f"{shape:.2f} : 1"
        self.answer_ready(
            True,
            tr(
                "Width to height {shape}. Drag the frame or its edges, or press arrow keys, with Shift for its size; "
                "the wheel zooms."
            ).format(shape=named),
        )
