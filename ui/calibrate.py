"""The panel of calibration: the face at rest after a countdown, guided steps for the ranges, and the match score."""

from __future__ import annotations

from typing import Final

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen, QPolygonF
from PySide6.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from calibration.collect import LOOK, MISSING, Collector, Step
from puppet import facemesh
from puppet.headpose import STABLE, fit_similarity
from puppet.types import Calibration, Landmarks, PuppetError
from ui import theme
from ui.bridge import Background
from ui.fields import SliderField
from ui.language import told, tr
from ui.score import MatchScore

COUNTED_S: Final = 3
READ_MS: Final = 2500  # how long a result stays
COUNT_SCALE: Final = 4.0  # of the digits, times the window's text
PROGRESS: Final = 1000  # steps of the bar

ALONE: Final = 0.55  # of the self-view's height, for an outline that lies over no face
INK, HALO = QColor(255, 255, 255), QColor(0, 0, 0, 150)  # seen over any picture
INK_PX, HALO_PX = 1.6, 4.0
CURVES: Final = (
    facemesh.OVAL,
    *(upper + lower[-2:0:-1] for upper, lower in zip(facemesh.LID_UPPER, facemesh.LID_LOWER, strict=True)),
    facemesh.LIP_OUTER_UPPER + facemesh.LIP_OUTER_LOWER[-2:0:-1],
    facemesh.LIP_INNER_UPPER + facemesh.LIP_INNER_LOWER[-2:0:-1],
)  # closed


class CalibrationPanel(QWidget):
    """Takes the user through calibration; the window brings the tracked faces and acts on the signals.

    rest_wanted: take the rest anew from the next second; `rest_taken` answers it.
    calibrated: a whole Calibration, from the guided steps.
    """

    rest_wanted = Signal()
    calibrated = Signal(object)
    overlay_changed = Signal(float)
    closed = Signal()

    def __init__(self, *, overlay_opacity: float, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._portrait: Landmarks | None = None
        self._collector: Collector | None = None
        self._step = Step.REST
        self._left_s = 0  # of the countdown
        self._taking = False
        self._background = Background(self)
        self._clock = QTimer(self)
        self._clock.setInterval(1000)
        self._clock.timeout.connect(self._count)
        self._reading = QTimer(self)
        self._reading.setSingleShot(True)
        self._reading.setInterval(READ_MS)
        self._reading.timeout.connect(lambda: self._say(""))
        self._dismiss = QToolButton()
        self._score = MatchScore()
        self._rest = _button(tr("Take my face at rest"), tr("Counts down from three, then looks at you for a second"))
        self._rest.setProperty("role", "primary")
        self._rest.clicked.connect(self.begin_rest)
        self._guide = _button(
            tr("Measure eyes and mouth"), tr("Guided steps of some seconds: rest, eyes shut, mouth open")
        )
        self._guide.clicked.connect(self._begin_guide)
        self._cancel = _button(tr("Cancel"), tr("Keep the calibration as it was"))
        self._cancel.clicked.connect(self._stop)
        self._digits = QLabel()
        self._prompt = QLabel()
        self._progress = QProgressBar()
        self._progress.setRange(0, PROGRESS)
        self._progress.setTextVisible(False)
        self._progress.setAccessibleName(tr("Progress"))
        self._lay_out(overlay_opacity)
        self._show_state()

    def feed(self, landmarks: Landmarks | None) -> None:
        """The newest tracked face; None if there is none in the picture."""
        self._score.show_match(landmarks, self._portrait)
        if self._taking:
            self._prompt.setText(tr("Hold still …") if landmarks is not None else told(MISSING))
        if self._collector is not None:
            self._collect(self._collector, landmarks)

    def set_portrait(self, landmarks: Landmarks) -> None:
        """The face to be matched."""
        self._portrait = landmarks

    def begin_rest(self) -> None:
        """Count down, then want the rest; a measurement under way is given up."""
        self._stop()
        self._left_s = COUNTED_S
        self._clock.start()
        self._say(told(LOOK))
        self._show_state()

    def rest_taken(self) -> None:
        """The rest that was wanted is known."""
        if self._taking:
            self._taking = False
            self._say(tr("Your face at rest is known."), passing=True)
            self._show_state()

    def close_down(self) -> None:
        """Give up whatever is under way, and end the thread."""
        self._stop()
        self._background.close()

    def changeEvent(self, event: QEvent) -> None:  # Qt's name
        if event.type() == QEvent.Type.PaletteChange:
            self._dismiss.setIcon(theme.icon("close"))
        super().changeEvent(event)

    def _lay_out(self, overlay_opacity: float) -> None:
        title = QLabel(tr("Calibration"))
        title.setProperty("role", "heading")
        self._dismiss.setProperty("role", "quiet")
        self._dismiss.setIcon(theme.icon("close"))
        self._dismiss.setIconSize(QSize(16, 16))
        self._dismiss.setToolTip(tr("Close the calibration"))
        self._dismiss.setAccessibleName(tr("Close the calibration"))
        self._dismiss.clicked.connect(self._close)
        head = QHBoxLayout()
        head.addWidget(title, stretch=1)
        head.addWidget(self._dismiss)
        outline = SliderField(
            tr("&Outline"),
            0.0,
            limits=(0.0, 1.0),
            tooltip=tr("How clearly the portrait's outline lies over your self-view, for you to take its pose"),
        )
        outline.set_value(overlay_opacity)
        outline.changed.connect(lambda opacity: self.overlay_changed.emit(opacity))
        big = self._digits.font()
        big.setPointSizeF(COUNT_SCALE * big.pointSizeF())
        big.setBold(True)
        self._digits.setFont(big)
        for label in (self._digits, self._prompt):
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._prompt.setWordWrap(True)
        self._prompt.setMinimumHeight(2 * self._prompt.fontMetrics().lineSpacing())  # so that texts move nothing

        whole = QVBoxLayout(self)
        whole.setContentsMargins(theme.MARGIN_PX, theme.MARGIN_PX, theme.MARGIN_PX, theme.MARGIN_PX)
        whole.setSpacing(theme.SPACE_PX)
        whole.addLayout(head)
        whole.addWidget(
            _paragraph(
                tr(
                    "The portrait moves as you move away from your face at rest. "
                    "Take the portrait's pose, then let it be taken."
                )
            )
        )
        whole.addWidget(self._score)
        whole.addWidget(outline)
        whole.addSpacing(theme.SPACE_PX)
        whole.addWidget(self._rest)
        whole.addSpacing(theme.SPACE_PX)
        whole.addWidget(_paragraph(tr("Once for you and this camera: how far your eyes shut and your mouth opens.")))
        whole.addWidget(self._guide)
        whole.addSpacing(theme.SPACE_PX)
        whole.addWidget(self._digits)
        whole.addWidget(self._prompt)
        whole.addWidget(self._progress)
        whole.addWidget(self._cancel)
        whole.addStretch(1)

    def _count(self) -> None:
        self._left_s -= 1
        if self._left_s == 0:
            self._clock.stop()
            self._taking = True
            self._say(tr("Hold still …"))
            self.rest_wanted.emit()
        self._show_state()

    def _begin_guide(self) -> None:
        self._stop()
        self._collector, self._step = Collector(), Step.REST
        self._show_state()

    def _collect(self, collector: Collector, landmarks: Landmarks | None) -> None:
        if self._step is Step.DONE:  # it is being fitted
            return
        prompt = collector.feed(landmarks)
        self._say(told(prompt.text))
        self._progress.setValue(round(PROGRESS * prompt.progress))
        if prompt.step is self._step:
            return
        self._step = prompt.step
        QApplication.beep()  # to somebody whose eyes are shut
        if prompt.step is Step.DONE:
            self._background.run(
                collector.calibration,
                lambda calibration: self._fitted(collector, calibration),
                lambda error: self._not_fitted(collector, error),
            )

    def _fitted(self, collector: Collector, calibration: Calibration) -> None:
        if collector is self._collector:
            self._stop()
            self._say(tr("Your eyes and mouth are measured."), passing=True)
            self.calibrated.emit(calibration)

    def _not_fitted(self, collector: Collector, error: Exception) -> None:
        if not isinstance(error, PuppetError):
            raise error
        if collector is self._collector:
            self._stop()
            self._say(told(error))

    def _stop(self) -> None:
        self._clock.stop()
        self._left_s, self._taking, self._collector = 0, False, None
        self._say("")
        self._show_state()

    def _close(self) -> None:
        self._stop()
        self.closed.emit()

    def _say(self, text: str, *, passing: bool = False) -> None:
        self._prompt.setText(text)
        if passing:
            self._reading.start()
        else:
            self._reading.stop()

    def _show_state(self) -> None:
        guiding = self._collector is not None
        busy = guiding or self._taking or self._left_s > 0
        self._digits.setText(str(self._left_s))
        self._digits.setVisible(self._left_s > 0)
        self._progress.setVisible(guiding)
        if not guiding:
            self._progress.setValue(0)
        self._cancel.setVisible(busy)
        self._rest.setEnabled(not busy)
        self._guide.setEnabled(not busy)


def paint_outline(
    painter: QPainter,
    portrait: Landmarks,
    *,
    over: Landmarks | None,
    area: QRectF,
    opacity: float,
    mirrored: bool,
) -> None:
    """Draw the portrait's face, eyes and mouth as curves over the user's face in the self-view.

    over: the user's face in the camera's picture, whose place and size the outline takes, but not its turn; None puts
    it in the middle. area: where that picture lies in the painter's units. mirrored: left and right are swapped there.
    """
    points = portrait.points[:, :2].astype(np.float64)
    if over is None:
        oval = points[list(facemesh.OVAL)]
        low, high = oval.min(axis=0), oval.max(axis=0)
        points = (points - (low + high) / 2.0) * (ALONE * area.height() / (high[1] - low[1]))
        points += (area.width() / 2.0, area.height() / 2.0)
    else:
        face = over.points[STABLE, :2].astype(np.float64)
        points = fit_similarity(points[STABLE], face, rotation=np.eye(2))(points)
        points *= (area.width() / over.width_px, area.height() / over.height_px)
    if mirrored:
        points[:, 0] = area.width() - points[:, 0]
    path = QPainterPath()
    for curve in CURVES:
        path.addPolygon(QPolygonF([area.topLeft() + QPointF(*points[index]) for index in curve]))
        path.closeSubpath()
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setClipRect(area, Qt.ClipOperation.IntersectClip)
    painter.setOpacity(opacity)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for colour, width_px in ((HALO, HALO_PX), (INK, INK_PX)):
        painter.setPen(QPen(colour, width_px))
        painter.drawPath(path)
    painter.restore()


def _button(text: str, tooltip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tooltip)
    button.setAccessibleName(text)
    return button


def _paragraph(text: str) -> QLabel:
    label = QLabel(text)
    label.setProperty("role", "hint")
    label.setWordWrap(True)
    return label
