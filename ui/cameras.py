"""The camera picker: a button with the name of what drives the portrait, and a list of cameras as they see now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, QPointF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QHideEvent, QIcon, QPainter, QPixmap, QShowEvent
from PySide6.QtWidgets import (
    QFileDialog,
    QFrame,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from puppet.settings import asset
from puppet.types import Image
from ui import theme
from ui.bridge import Background
from ui.language import tr
from ui.preview import fitted, to_qimage
from ui.session import Session

if TYPE_CHECKING:
    from puppet.camera import CameraInfo

THUMBNAIL = QSize(112, 84)
LIVE_MS = 100
WIDTH_PX = 340
MOST_ROWS = 4
NAME_PX = 110
SAMPLE = str(asset("sample.motion"))
BROWSE = "\0browse"  # no device is called that
VIDEOS = "*.mp4 *.mov *.mkv *.webm *.avi *.motion"


class CameraPicker(QToolButton):
    """Opens the list; `chosen` carries a device for the settings."""

    chosen = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._background = Background(self)
        self._list = _CameraList(self, session, self._background)
        self._list.picked.connect(self._pick)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.setIconSize(QSize(theme.ICON_PX, theme.ICON_PX))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setToolTip(tr("Choose what drives the portrait"))
        self.setMaximumWidth(NAME_PX + 60)
        self.clicked.connect(self._open)
        self.refresh()

    def refresh(self) -> None:
        """Show what drives the portrait now."""
        device = self._session.settings.camera.device
        name = self._session.camera or (_name(device) if device else tr("Camera"))
        self.setText(self.fontMetrics().elidedText(name, Qt.TextElideMode.ElideRight, NAME_PX))
        self.setAccessibleName(tr("Camera: {name}").format(name=name))
        self.setIcon(theme.icon("camera"))

    def close_down(self) -> None:
        self._list.hide()
        self._background.close()

    def _open(self) -> None:
        self._list.open_at(self.mapToGlobal(QPoint(0, self.height() + 4)))

    def _pick(self, device: str) -> None:
        if device != BROWSE:
            self.chosen.emit(device)
            return
        dialog = QFileDialog(self, tr("Choose a video of a face"), "", f"{tr('Videos and motion')} ({VIDEOS})")
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.chosen)
        dialog.open()


class _CameraList(QFrame):
    """Pops up below the button. While it is open, the camera in use is shown live; of others there is one picture."""

    picked = Signal(str)

    def __init__(self, parent: QWidget, session: Session, background: Background) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self._session = session
        self._background = background
        self.setObjectName("popup")
        self._hint = QLabel(tr("Your picture is shown in this list only."))
        self._hint.setProperty("role", "hint")
        self._list = QListWidget()
        self._list.setIconSize(THUMBNAIL)
        self._list.setAccessibleName(tr("Cameras"))
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.setWordWrap(True)
        self._list.setSpacing(1)
        self._list.itemActivated.connect(self._take)
        self._list.itemClicked.connect(self._take)
        column = QVBoxLayout(self)
        column.setContentsMargins(theme.SPACE_PX, theme.SPACE_PX, theme.SPACE_PX, theme.SPACE_PX)
        column.addWidget(self._list)
        column.addWidget(self._hint)
        self._timer = QTimer(self)
        self._timer.setInterval(LIVE_MS)
        self._timer.timeout.connect(self._refresh_current)

    def open_at(self, place: QPoint) -> None:
        self._fill([])
        self.setFixedWidth(WIDTH_PX)
        self.move(place)
        self.show()
        self._list.setFocus()

    def showEvent(self, event: QShowEvent) -> None:  # Qt's name
        super().showEvent(event)
        self._timer.start()
        self._background.run(_known_cameras, self._fill, lambda error: None)

    def hideEvent(self, event: QHideEvent) -> None:  # Qt's name
        super().hideEvent(event)
        self._timer.stop()

    def _fill(self, cameras: list[CameraInfo]) -> None:
        self._list.clear()
        current = self._session.camera
        for info in cameras:
            self._add(info.name, info.name, "camera")
        if current and current not in {info.name for info in cameras}:
            self._add(current, current, "camera")
        self._add(tr("Bundled motion, without a camera"), SAMPLE, "portrait")
        device = self._session.settings.camera.device
        if not current and device and device != SAMPLE:
            self._add(_name(device), device, "folder")
        self._add(tr("Video or motion file …"), BROWSE, "folder")
        row_px = self._list.sizeHintForRow(0)
        rows = min(MOST_ROWS, self._list.count())
        self._list.setFixedHeight(rows * (row_px + 2 * self._list.spacing()) + 2 * self._list.frameWidth() + 2)
        self.adjustSize()
        others = [info for info in cameras if info.name != current]
        if others:
            self._background.run(lambda: _looks(others), self._show_looks, lambda error: None)

    def _add(self, text: str, device: str, drawing: str) -> None:
        item = QListWidgetItem(text)
        item.setData(Qt.ItemDataRole.UserRole, device)
        item.setIcon(_drawn(drawing))
        item.setToolTip(text)
        self._list.addItem(item)
        wanted = self._session.camera or self._session.settings.camera.device
        if device == wanted:
            self._list.setCurrentItem(item)

    def _refresh_current(self) -> None:
        source = self._session.source
        if source is None or source.newest is None:
            return
        self._show_looks({self._session.camera or self._session.settings.camera.device: source.newest.image})

    def _show_looks(self, looks: dict[str, Image]) -> None:
        for row in range(self._list.count()):
            item = self._list.item(row)
            picture = looks.get(item.data(Qt.ItemDataRole.UserRole))
            if picture is not None:
                item.setIcon(_look(picture, self.devicePixelRatio()))

    def _take(self, item: QListWidgetItem) -> None:
        self.hide()
        self.picked.emit(item.data(Qt.ItemDataRole.UserRole))


def _name(device: str) -> str:
    if device == SAMPLE:
        return tr("Bundled motion")
    return tr("Camera {number}").format(number=device) if device.isdecimal() else Path(device).name


def _drawn(name: str) -> QIcon:
    """A drawing in the middle of a thumbnail."""
    field = QPixmap(THUMBNAIL)
    field.fill(QColor(theme.colours().raised))
    drawing = theme.pixmap(name, colour=theme.colours().muted, ratio=1)
    return _laid(field, drawing)


def _look(picture: Image, ratio: float) -> QIcon:
    """A camera's picture, as a mirror shows it, in the middle of a thumbnail."""
    small = fitted(picture, round(THUMBNAIL.width() * ratio), round(THUMBNAIL.height() * ratio), mirrored=True)
    drawing = QPixmap.fromImage(to_qimage(small))
    drawing.setDevicePixelRatio(ratio)
    field = QPixmap(THUMBNAIL * ratio)
    field.setDevicePixelRatio(ratio)
    field.fill(QColor(theme.colours().stage))
    return _laid(field, drawing)


def _laid(field: QPixmap, drawing: QPixmap) -> QIcon:
    left = (THUMBNAIL.width() - drawing.deviceIndependentSize().width()) / 2
    top = (THUMBNAIL.height() - drawing.deviceIndependentSize().height()) / 2
    painter = QPainter(field)
    painter.drawPixmap(QPointF(left, top), drawing)
    painter.end()
    icon = QIcon(field)
    icon.addPixmap(field, QIcon.Mode.Selected)  # which Qt would tint
    return icon


def _known_cameras() -> list[CameraInfo]:
    from puppet.camera import cameras

    return cameras()


def _looks(cameras: list[CameraInfo]) -> dict[str, Image]:
    """One picture of each that gives one; the camera is let go at once."""
    from puppet.camera import CameraError, Webcam

    looks = {}
    for info in cameras:
        try:
            with Webcam(info.device) as camera:
                looks[info.name] = next(iter(camera)).image
        except (CameraError, StopIteration):
            continue
    return looks
