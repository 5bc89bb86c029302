"""Paints the newest frame, as large as the window allows."""

from __future__ import annotations

import cv2
import numpy as np
from PySide6.QtCore import QPoint, QRect, QSize
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from puppet.types import Image

BACKDROP = QColor(24, 24, 26)


def to_qimage(image: Image) -> QImage:
    """A view of an (H, W, 3) uint8 RGB array, which must outlive it."""
    height_px, width_px = image.shape[:2]
    return QImage(image.data, width_px, height_px, image.strides[0], QImage.Format.Format_RGB888)


class Preview(QWidget):
    """A picture in the middle of a dark field. Scaling is OpenCV's: Qt's smooth scaling takes three times as long."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._image: Image | None = None
        self.setMinimumSize(240, 240)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def show_image(self, image: Image) -> None:
        """Keep `image`, (H, W, 3) uint8 RGB, and paint it soon; nobody may write to it any more."""
        self._image = image
        self.update()

    def sizeHint(self) -> QSize:  # Qt's name
        return QSize(640, 640)

    def paintEvent(self, event: QPaintEvent) -> None:  # Qt's name
        painter = QPainter(self)
        painter.fillRect(self.rect(), BACKDROP)
        if self._image is not None:
            ratio = self.devicePixelRatio()
            scaled = self._scaled(self._image, round(self.width() * ratio), round(self.height() * ratio))
            area = QRect(QPoint(), QSize(round(scaled.shape[1] / ratio), round(scaled.shape[0] / ratio)))
            area.moveCenter(self.rect().center())
            painter.drawImage(area, to_qimage(scaled))
        painter.end()

    @staticmethod
    def _scaled(image: Image, width_px: int, height_px: int) -> Image:
        """`image` at the largest size of its own shape that fits."""
        scale = min(width_px / image.shape[1], height_px / image.shape[0])
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        return np.ascontiguousarray(scaled, dtype=np.uint8)
