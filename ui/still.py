"""A picture file read for the screen alone, at once: what is shown before the portrait has been prepared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QImage, QImageReader

from puppet.types import Image

LONG_SIDE_PX = 1024


def still_picture(path: Path) -> Image | None:
    """(H, W, 3) RGB, its longer side LONG_SIDE_PX at most; None if Qt cannot read it."""
    reader = QImageReader(str(path))
    reader.setAutoTransform(True)
    size = reader.size()
    if size.isValid() and max(size.width(), size.height()) > LONG_SIDE_PX:
        bounds = QSize(LONG_SIDE_PX, LONG_SIDE_PX)
        reader.setScaledSize(size.scaled(bounds, Qt.AspectRatioMode.KeepAspectRatio))  # JPEGs decode faster so
    picture = reader.read().convertToFormat(QImage.Format.Format_RGB888)
    if picture.isNull():
        return None
    rows = np.frombuffer(picture.constBits(), np.uint8).reshape(picture.height(), picture.bytesPerLine())
    return rows[:, : 3 * picture.width()].reshape(picture.height(), picture.width(), 3).copy()
