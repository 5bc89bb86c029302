"""The window: the living portrait, a row of portraits to choose from, a line for messages and a line of figures."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QIcon, QImage, QKeySequence, QPixmap, QShortcut
from PySide6.QtWidgets import (
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from puppet.live import Live
from puppet.types import PortraitEmbedding, PuppetError
from ui.bridge import Background, FrameInbox
from ui.preview import Preview, to_qimage

logger = logging.getLogger(__name__)

STATUS_INTERVAL_MS = 400
CALIBRATING_MS = 1500  # a second for the eyes, and some to read
THUMBNAIL_PX = 64
SCROLLER_PX = 28  # a button's frame, and a scroll bar when there are many
MARGIN_PX = 10
ERROR_COLOUR = "#d9483b"  # readable on light and on dark
SHOWN = "shown"  # our own stage among Live's timings: how old a frame is when it comes into the window
STAGES = ("track", "retarget", "animate")
PICTURES = "Pictures (*.jpg *.jpeg *.png *.webp *.bmp *.tif *.tiff *.gif)"
NO_FACE = "No face is in the camera's picture, so the portrait rests. Sit in front of the camera, with some light."
CALIBRATING = "Look into the camera for a second, mouth closed, face relaxed."


class Window(QMainWindow):
    """Shows what `live` sends to `inbox`, and ends `live` when it is closed.

    embed: turns a picture file into an embedding; called in the background, while the old portrait lives on.
    portraits: to choose from; `chosen`, which need not be one of them, is the one that `live` shows already.
    notice: what the user should know from the start, such as that there is no camera.
    """

    def __init__(
        self,
        live: Live,
        inbox: FrameInbox,
        *,
        embed: Callable[[Path], PortraitEmbedding],
        portraits: Sequence[Path],
        chosen: Path,
        notice: str = "",
    ) -> None:
        super().__init__()
        self._live = live
        self._inbox = inbox
        self._embed = embed
        self._notice = notice
        self._background = Background(self)
        self._preview = Preview()
        self._buttons: dict[Path, QToolButton] = {}
        self._thumbnails = QHBoxLayout()
        self._message = QLabel()
        self._status = QLabel()
        self._lay_out()
        for path in portraits:
            self._add_portrait(path, QImage(str(path)))
        self._show_chosen(chosen, live.embedding)
        self._preview.show_image(live.embedding.portrait.image)
        self._say(notice)

        inbox.arrived.connect(self._show_newest, Qt.ConnectionType.QueuedConnection)
        self._show_newest()  # a frame that came before was announced to nobody, and only taking it lets others be
        QShortcut(QKeySequence(Qt.Key.Key_C), self, self._recalibrate)
        self._timer = QTimer(self)
        self._timer.setInterval(STATUS_INTERVAL_MS)
        self._timer.timeout.connect(self._refresh)
        self._timer.start()

    def _lay_out(self) -> None:
        self.setWindowTitle("Puppet")
        self.setAcceptDrops(True)
        open_file = QPushButton("Open picture …")
        open_file.clicked.connect(self._open_file)
        neutral = QPushButton("Neutral (C)")
        neutral.setToolTip(CALIBRATING)
        neutral.clicked.connect(self._recalibrate)
        self._thumbnails.setContentsMargins(0, 0, 0, 0)
        self._thumbnails.setAlignment(Qt.AlignmentFlag.AlignLeft)
        strip = QWidget()
        strip.setLayout(self._thumbnails)
        scroller = QScrollArea()
        scroller.setWidget(strip)
        scroller.setWidgetResizable(True)
        scroller.setFrameShape(QFrame.Shape.NoFrame)
        scroller.setFixedHeight(THUMBNAIL_PX + SCROLLER_PX)
        row = QHBoxLayout()
        row.addWidget(scroller, stretch=1)
        row.addWidget(open_file)
        row.addWidget(neutral)
        self._message.setWordWrap(True)
        self._message.setMinimumHeight(2 * self._message.fontMetrics().lineSpacing())  # so that texts move nothing
        small = self._status.font()
        small.setPointSizeF(0.85 * small.pointSizeF())
        self._status.setFont(small)
        self._status.setFixedHeight(self._status.fontMetrics().lineSpacing() + 2)

        below = QVBoxLayout()
        below.setContentsMargins(MARGIN_PX, 0, MARGIN_PX, MARGIN_PX)
        below.addLayout(row)
        below.addWidget(self._message)
        below.addWidget(self._status)
        whole = QVBoxLayout()
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(self._preview, stretch=1)
        whole.addLayout(below)
        central = QWidget()
        central.setLayout(whole)
        self.setCentralWidget(central)

    def closeEvent(self, event: QCloseEvent) -> None:  # Qt's name
        self._timer.stop()
        self._live.close()
        self._background.close()
        event.accept()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # Qt's name
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # Qt's name
        for url in event.mimeData().urls()[:1]:
            self.choose(Path(url.toLocalFile()))

    def choose(self, path: Path) -> None:
        """Bring the picture at `path` to life as soon as it is prepared."""
        self._say(f"Preparing {path.name} …")
        self._background.run(lambda: self._embed(path), partial(self._swap, path), self._refuse)

    def _swap(self, path: Path, embedding: PortraitEmbedding) -> None:
        self._live.embedding = embedding
        self._show_chosen(path, embedding)
        self._say(self._notice)
        if not self._live.running:
            self._preview.show_image(embedding.portrait.image)

    def _refuse(self, error: Exception) -> None:
        self._chosen.setChecked(True)
        if isinstance(error, PuppetError):
            self._say(str(error), error=True)
        else:
            logger.debug("A portrait could not be prepared.", exc_info=error)
            self._say(f"This picture cannot be used ({error}); choose another one.", error=True)

    def _show_chosen(self, path: Path, embedding: PortraitEmbedding) -> None:
        if path.resolve() not in self._buttons:
            self._add_portrait(path, to_qimage(embedding.portrait.image))
        self._chosen = self._buttons[path.resolve()]
        self._chosen.setChecked(True)

    def _add_portrait(self, path: Path, picture: QImage) -> None:
        """A thumbnail at the end of the row; clicking it chooses its portrait, as does the key of its number."""
        number = len(self._buttons) + 1
        keep, smooth = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        button = QToolButton()
        button.setCheckable(True)
        button.setAutoExclusive(True)
        button.setToolTip(f"{path.name} ({number})")
        button.setIcon(QIcon(QPixmap(picture.scaled(THUMBNAIL_PX, THUMBNAIL_PX, keep, smooth))))
        button.setIconSize(QSize(THUMBNAIL_PX, THUMBNAIL_PX))
        button.setShortcut(QKeySequence(str(number)) if number < 10 else QKeySequence())
        button.clicked.connect(lambda: self.choose(path))
        self._thumbnails.addWidget(button)
        self._buttons[path.resolve()] = button

    def _open_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Choose a portrait", filter=PICTURES)
        if name:
            self.choose(Path(name))

    def _recalibrate(self) -> None:
        self._live.recalibrate()
        self._say(CALIBRATING)
        QTimer.singleShot(CALIBRATING_MS, self, lambda: self._say(self._notice))

    def _show_newest(self) -> None:
        frame = self._inbox.take()
        if frame is not None:
            self._preview.show_image(frame.image)
            self._live.timings.add(SHOWN, time.monotonic_ns() - frame.time_ns)

    def _refresh(self) -> None:
        self._status.setText(self._figures())
        if not self._live.running:
            self._timer.stop()
            self._say(self._end(), error=True)
        elif not self._live.face_in_sight:
            self._say(NO_FACE)
        elif self._message.text() == NO_FACE:
            self._say(self._notice)

    def _figures(self) -> str:
        timings = self._live.timings.snapshot()
        shown = timings.pop(SHOWN, None)
        if shown is None:
            return f"engine {self._live.engine.name}"
        stages = [f"{name} {timings[name].p50_ms:.1f}" for name in STAGES if name in timings]
        return (
            f"{shown.fps:.0f} fps · {shown.p50_ms:.0f} ms behind (95 %: {shown.p95_ms:.0f}) · "
            f"{' · '.join(stages)} ms · engine {self._live.engine.name}"
        )

    def _end(self) -> str:
        error = self._live.error
        if error is None:
            return "The video has ended. Start Puppet again to play it once more."
        if isinstance(error, PuppetError):
            return str(error)
        return f"An unexpected error ended the show ({error!r}). Start Puppet again, with --debug to learn more."

    def _say(self, message: str, *, error: bool = False) -> None:
        self._message.setStyleSheet(f"color: {ERROR_COLOUR}" if error else "")
        self._message.setText(message)
