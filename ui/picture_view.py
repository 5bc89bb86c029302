"""A still picture to point at: fitted into the widget, zoomed with the wheel, moved with the right button."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPalette, QPixmap, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from puppet.types import Image
from ui.preview import to_qimage

MOST_ZOOM = 12.0
WHEEL_STEP = 1.25
SHADE = QColor(0, 0, 0, 150)  # over what is not chosen, and behind writing


class PictureView(QWidget):
    """Places in the picture are fractions of its width and height. Subclasses paint over it and take the mouse."""

    def __init__(self, image: Image, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pixmap = QPixmap.fromImage(to_qimage(image))
        self._zoom = 1.0
        self._centre = QPointF(0.5, 0.5)  # the place in the picture that is in the middle of the widget
        self._dragged: QPointF | None = None
        self.setMinimumSize(320, 240)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)

    def sizeHint(self) -> QSize:  # Qt's name
        return self._pixmap.size().scaled(720, 540, Qt.AspectRatioMode.KeepAspectRatio)

    @property
    def picture_size(self) -> QSize:
        """In px."""
        return self._pixmap.size()

    @property
    def accent(self) -> QColor:
        return self.palette().color(QPalette.ColorRole.Highlight)

    def area(self) -> QRectF:
        """Where the whole picture lies in the widget, beyond its edges when zoomed."""
        size = self._pixmap.size().toSizeF().scaled(self.size().toSizeF(), Qt.AspectRatioMode.KeepAspectRatio)
        size *= self._zoom
        left = self.width() / 2 - self._centre.x() * size.width()
        top = self.height() / 2 - self._centre.y() * size.height()
        return QRectF(QPointF(left, top), size)

    def to_widget(self, place: QPointF) -> QPointF:
        area = self.area()
        return QPointF(area.x() + place.x() * area.width(), area.y() + place.y() * area.height())

    def to_picture(self, position: QPointF) -> QPointF:
        """The place under a position in the widget, the nearest in the picture."""
        area = self.area()
        x, y = (position.x() - area.x()) / area.width(), (position.y() - area.y()) / area.height()
        return QPointF(min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0))

    def zoom_by(self, factor: float, around: QPointF) -> None:
        """Enlarge the picture; the place under `around`, a position in the widget, stays where it is."""
        place = self.to_picture(around)
        self._zoom = min(max(self._zoom * factor, 1.0), MOST_ZOOM)
        self._move(place, around)

    def _move(self, place: QPointF, position: QPointF) -> None:
        """Bring a place of the picture to a position in the widget, but no empty space into it."""
        size = self.area().size()
        x = place.x() + (self.width() / 2 - position.x()) / size.width()
        y = place.y() + (self.height() / 2 - position.y()) / size.height()
        room = 0.5 / self._zoom
        self._centre = QPointF(min(max(x, room), 1 - room), min(max(y, room), 1 - room))
        self.update()

    def wheelEvent(self, event: QWheelEvent) -> None:  # Qt's name
        self.zoom_by(WHEEL_STEP ** (event.angleDelta().y() / 120), event.position())

    def mousePressEvent(self, event: QMouseEvent) -> None:  # Qt's name
        if event.button() in (Qt.MouseButton.RightButton, Qt.MouseButton.MiddleButton):
            self._dragged = self.to_picture(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # Qt's name
        if self._dragged is not None:
            self._move(self._dragged, event.position())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # Qt's name
        self._dragged = None

    def paintEvent(self, event: QPaintEvent) -> None:  # Qt's name
        painter = QPainter(self)
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawPixmap(self.area(), self._pixmap, QRectF(self._pixmap.rect()))
        self.paint_over(painter)
        if self.hasFocus():
            painter.setPen(self.accent)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5))
        painter.end()

    def paint_over(self, painter: QPainter) -> None:
        """Draw upon the picture, in the widget's coordinates."""
