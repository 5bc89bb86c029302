"""One portrait of the strip: its face, which moves under the mouse, and the digit that chooses it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QLineF, QMimeData, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDropEvent,
    QEnterEvent,
    QFocusEvent,
    QKeyEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPalette,
    QPen,
    QPixmap,
)
from PySide6.QtWidgets import QAbstractButton, QWidget

from puppet.types import Image
from ui.preview import to_qimage

SIDE_PX = 84
KEYS = 9  # so many portraits have a digit
GAP_PX = 4  # between the picture and the ring around the chosen one
RING_PX = 2
ROUND_PX = 10
BADGE_PX = 18
BADGE_MARGIN_PX = 5
BUSY_STEP_DEG = 30
BUSY_INTERVAL_MS = 80
SHADE = QColor(0, 0, 0, 150)


class Tile(QAbstractButton):
    """Clicked with the mouse, Space or Enter. `film_wanted` comes when the mouse does, once until it has a film.

    dropped: something with files or a picture, which are to be this portrait's too; once it accepts drops.
    """

    film_wanted = Signal()
    dropped = Signal(QMimeData)

    def __init__(self, *, number: int, film_fps: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._number = number
        self._still = QPixmap()
        self._film: list[QPixmap] = []
        self._frame = 0
        self._busy_deg: int | None = None
        self._dragged_over = False
        self._player = QTimer(self, interval=round(1000 / film_fps))
        self._player.timeout.connect(self._advance)
        self._waiting = QTimer(self, interval=BUSY_INTERVAL_MS)
        self._waiting.timeout.connect(self._turn)
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        self.setFixedSize(self.sizeHint())

    def sizeHint(self) -> QSize:  # Qt's name
        return QSize(SIDE_PX, SIDE_PX)

    @property
    def moving(self) -> bool:
        return self._player.isActive()

    def show_still(self, image: Image) -> None:
        self._still = QPixmap.fromImage(to_qimage(image))
        self.update()

    def show_film(self, frames: Sequence[Image]) -> None:
        """Play it now if the mouse is still here, and whenever it comes again."""
        self._film = [QPixmap.fromImage(to_qimage(frame)) for frame in frames]
        if self.underMouse():
            self._player.start()

    def show_busy(self, busy: bool) -> None:
        self._busy_deg = 0 if busy else None
        if busy:
            self._waiting.start()
        else:
            self._waiting.stop()
        self.update()

    def nextCheckState(self) -> None:  # Qt's name
        """A click asks for the portrait; it is the chosen one when the strip is told so."""

    def keyPressEvent(self, event: QKeyEvent) -> None:  # Qt's name
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.click()
        else:
            super().keyPressEvent(event)

    def enterEvent(self, event: QEnterEvent) -> None:  # Qt's name
        super().enterEvent(event)
        if self._film:
            self._player.start()
        else:
            self.film_wanted.emit()

    def leaveEvent(self, event: QEvent) -> None:  # Qt's name
        super().leaveEvent(event)
        self._player.stop()
        self._frame = 0
        self.update()

    def focusInEvent(self, event: QFocusEvent) -> None:  # Qt's name
        super().focusInEvent(event)
        self.update()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # Qt's name
        mime = event.mimeData()
        if mime.hasImage() or any(url.isLocalFile() for url in mime.urls()):
            event.acceptProposedAction()
            self._show_dragged_over(True)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:  # Qt's name
        self._show_dragged_over(False)

    def dropEvent(self, event: QDropEvent) -> None:  # Qt's name
        self._show_dragged_over(False)
        event.acceptProposedAction()
        self.dropped.emit(event.mimeData())

    def _show_dragged_over(self, so: bool) -> None:
        self._dragged_over = so
        self.update()

    def _advance(self) -> None:
        self._frame = (self._frame + 1) % len(self._film)
        self.update()

    def _turn(self) -> None:
        if self._busy_deg is not None:
            self._busy_deg = (self._busy_deg + BUSY_STEP_DEG) % 360
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # Qt's name
        painter = QPainter(self)
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        palette = self.palette()
        whole = QRectF(self.rect())
        inside = whole.adjusted(GAP_PX, GAP_PX, -GAP_PX, -GAP_PX)
        shape = QPainterPath()
        shape.addRoundedRect(inside, ROUND_PX, ROUND_PX)
        painter.save()
        painter.setClipPath(shape)
        painter.fillRect(inside, palette.color(QPalette.ColorRole.Button))
        shown = self._film[self._frame] if self.moving else self._still
        if not shown.isNull():
            painter.drawPixmap(inside, shown, QRectF(shown.rect()))
        if self.underMouse():
            painter.fillRect(inside, QColor(255, 255, 255, 18))
        painter.restore()
        if self.isChecked() or self.hasFocus():
            self._paint_ring(painter, whole, palette)
        if self._number <= KEYS:
            self._paint_badge(painter, inside, palette)
        if self._dragged_over or self._busy_deg is not None:
            self._paint_sign(painter, shape)
        painter.end()

    def _paint_sign(self, painter: QPainter, shape: QPainterPath) -> None:
        """A plus, since what is dropped is added, or an arc that turns."""
        painter.fillPath(shape, SHADE)
        painter.setPen(QPen(Qt.GlobalColor.white, 3, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        square = QRectF(0, 0, BADGE_PX, BADGE_PX)
        square.moveCenter(shape.boundingRect().center())
        if self._dragged_over:
            x, y = square.center().x(), square.center().y()
            painter.drawLines(
                [QLineF(square.left(), y, square.right(), y), QLineF(x, square.top(), x, square.bottom())]
            )
        elif self._busy_deg is not None:
            painter.drawArc(square, -16 * self._busy_deg, 16 * 270)

    def _paint_ring(self, painter: QPainter, whole: QRectF, palette: QPalette) -> None:
        """In the accent's colour around the chosen one; in the text's, inside that, around the one with the focus."""
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for so, role, inset in (
            (self.isChecked(), QPalette.ColorRole.Highlight, 0),
            (self.hasFocus(), QPalette.ColorRole.WindowText, RING_PX),
        ):
            if so:
                edge = inset + RING_PX / 2
                painter.setPen(QPen(palette.color(role), RING_PX))
                round_px = ROUND_PX + 3 - inset
                painter.drawRoundedRect(whole.adjusted(edge, edge, -edge, -edge), round_px, round_px)

    def _paint_badge(self, painter: QPainter, inside: QRectF, palette: QPalette) -> None:
        badge = QRectF(0, 0, BADGE_PX, BADGE_PX)
        badge.moveTopLeft(inside.topLeft())
        badge.translate(BADGE_MARGIN_PX, BADGE_MARGIN_PX)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(palette.color(QPalette.ColorRole.Highlight) if self.isChecked() else SHADE)
        painter.drawEllipse(badge)
        font = self.font()
        font.setPixelSize(11)
        font.setBold(True)
        painter.setFont(font)
        role = QPalette.ColorRole.HighlightedText
        painter.setPen(palette.color(role) if self.isChecked() else QColor(Qt.GlobalColor.white))
        painter.drawText(badge, Qt.AlignmentFlag.AlignCenter, str(self._number))
