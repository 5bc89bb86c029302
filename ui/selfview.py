"""The user himself, small in a corner of the preview and nowhere else: the camera's picture and the tracked face."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from puppet.settings import ViewSettings
from puppet.types import Frame, Landmarks
from ui import theme
from ui.calibrate import paint_outline
from ui.language import tr
from ui.preview import fitted, to_qimage

if TYPE_CHECKING:
    from collections.abc import Iterable

SHARE = 0.26  # of the stage's width
WIDEST_PX, NARROWEST_PX = 320, 120
ROUND_PX = 8
DOT_PX = 1.4


class SelfView(QWidget):
    """Lies over a corner of `stage`."""

    def __init__(self, stage: QWidget) -> None:
        super().__init__(stage)
        self._stage = stage
        self.setToolTip(tr("Yourself; only you see this, and only here"))
        self.setAccessibleName(tr("Self-view"))
        self._view = ViewSettings()
        self._frame: Frame | None = None
        self._face: Landmarks | None = None
        self._portrait: Landmarks | None = None

    def show_settings(self, view: ViewSettings) -> None:
        self._view = view
        self.update()

    def show_portrait(self, portrait: Landmarks) -> None:
        """Whose outline is laid over."""
        self._portrait = portrait

    def show_face(self, frame: Frame | None, face: Landmarks | None) -> None:
        """The camera's newest picture, if it has one, and what was found in it."""
        former = self._shape()
        self._frame, self._face = frame, face
        if self._shape() != former:
            self.place()
        self.update()

    def place(self) -> None:
        """Sit in the stage's corner; to be called when that changes its size."""
        width_px = round(min(max(SHARE * self._stage.width(), NARROWEST_PX), WIDEST_PX))
        height_px = round(width_px / self._shape())
        left_px, top_px = self._stage.width() - width_px, self._stage.height() - height_px
        self.setGeometry(left_px - theme.MARGIN_PX, top_px - theme.MARGIN_PX, width_px, height_px)

    def paintEvent(self, event: QPaintEvent) -> None:  # Qt's name
        colours = theme.colours()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        outline = QPainterPath()
        outline.addRoundedRect(area, ROUND_PX, ROUND_PX)
        painter.setClipPath(outline)
        painter.fillRect(area, QColor(colours.stage))
        mirrored = self._view.mirror_preview
        if self._frame is not None:
            ratio = self.devicePixelRatio()
            size = round(self.width() * ratio), round(self.height() * ratio)
            picture = fitted(self._frame.image, *size, mirrored=mirrored)
            painter.drawImage(area, to_qimage(picture))
        if self._view.landmarks and self._face is not None:
            painter.setPen(QPen(QColor(colours.accent), DOT_PX))
            painter.drawPoints(QPolygonF(self._dots(self._face, area, mirrored=mirrored)))
        if self._view.overlay_opacity > 0 and self._portrait is not None:
            paint_outline(
                painter, self._portrait, over=self._face, area=area, opacity=self._view.overlay_opacity,
                mirrored=mirrored,
            )  # fmt: skip
        painter.setClipping(False)
        painter.setPen(QPen(QColor(colours.line), 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(outline)
        painter.end()

    @staticmethod
    def _dots(face: Landmarks, area: QRectF, *, mirrored: bool) -> list[QPointF]:
        across = face.points[:, 0] / face.width_px
        across = 1.0 - across if mirrored else across
        down = face.points[:, 1] / face.height_px
        places: Iterable[tuple[float, float]] = zip(
            (area.left() + area.width() * across).tolist(), (area.top() + area.height() * down).tolist(), strict=True
        )
        return [QPointF(x, y) for x, y in places]

    def _shape(self) -> float:
        """Width over height."""
        if self._frame is not None:
            return self._frame.image.shape[1] / self._frame.image.shape[0]
        return self._face.width_px / self._face.height_px if self._face is not None else 4 / 3
