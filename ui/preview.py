"""Paints the newest frame, as large as the window allows."""

from __future__ import annotations

import cv2
import numpy as np
from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent, QRegion
from PySide6.QtWidgets import QSizePolicy, QWidget

from puppet.types import Image
from ui import theme

CHECK_PX = 10  # of the squares behind what is transparent


def to_qimage(image: Image) -> QImage:
    """A view of an (H, W, 3) RGB or (H, W, 4) RGBA uint8 array, which must outlive it."""
    height_px, width_px, channels = image.shape
    kind = QImage.Format.Format_RGBA8888 if channels == 4 else QImage.Format.Format_RGB888
    return QImage(image.data, width_px, height_px, image.strides[0], kind)


def _as_on_screen(image: Image) -> QImage:
    """A view of an (H, W, 4) uint8 array of blue, green, red and nothing, which must outlive it: Qt copies it."""
    return QImage(image.data, image.shape[1], image.shape[0], image.strides[0], QImage.Format.Format_RGB32)


def fitted(image: Image, width_px: int, height_px: int, *, mirrored: bool = False) -> Image:
    """`image` at the largest size of its own shape that fits. Qt's smooth scaling takes three times as long."""
    scale = min(width_px / image.shape[1], height_px / image.shape[0])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    if mirrored:
        image = np.asarray(cv2.flip(image, 1), np.uint8)
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return np.ascontiguousarray(scaled, dtype=np.uint8)


class Preview(QWidget):
    """A picture in the middle of a quiet field."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.mirrored = False
        self._image: Image | None = None
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)  # all of it is painted below
        self.setMinimumSize(240, 180)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def show_image(self, image: Image) -> None:
        """Keep `image`, (H, W, 3) or (H, W, 4) uint8, and paint it soon; nobody may write to it any more."""
        self._image = image
        self.update()

    def sizeHint(self) -> QSize:  # Qt's name
        return QSize(640, 640)

    def paintEvent(self, event: QPaintEvent) -> None:  # Qt's name
        area = QRect()
        painter = QPainter(self)
        if self._image is not None:
            opaque = self._image.shape[2] == 3
            # Qt would do this to what is shown, which is larger, and takes longer.
            image = np.asarray(cv2.cvtColor(self._image, cv2.COLOR_RGB2BGRA), np.uint8) if opaque else self._image
            ratio = self.devicePixelRatio()
            width_px, height_px = round(self.width() * ratio), round(self.height() * ratio)
            scaled = fitted(image, width_px, height_px, mirrored=self.mirrored)
            area.setSize(QSize(round(scaled.shape[1] / ratio), round(scaled.shape[0] / ratio)))
            area.moveCenter(self.rect().center())
            if not opaque:
                _paint_squares(painter, area)
            painter.drawImage(area, _as_on_screen(scaled) if opaque else to_qimage(scaled))
        painter.setClipRegion(QRegion(self.rect()).subtracted(QRegion(area)))
        painter.fillRect(self.rect(), QColor(theme.colours().stage))
        painter.end()


def _paint_squares(painter: QPainter, area: QRect) -> None:
    colours = theme.colours()
    painter.fillRect(area, QColor(colours.raised))
    for row, top in enumerate(range(area.top(), area.bottom(), CHECK_PX)):
        for left in range(area.left() + row % 2 * CHECK_PX, area.right(), 2 * CHECK_PX):
            painter.fillRect(QRect(left, top, CHECK_PX, CHECK_PX).intersected(area), QColor(colours.line))
