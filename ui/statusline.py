"""The line of figures at the bottom: how fast the portrait is, how old what it shows, and what paints it."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QWidget

from puppet.timings import Timing
from ui import theme
from ui.language import tr

SHOWN = "shown"  # our own stage among Live's timings: how old a frame is when it comes into the window
STAGES = ("track", "retarget", "animate")


class StatusLine(QWidget):
    """Text only; everything in full, and how real the portrait looks, is its tooltip."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("foot")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._whole = self._realism = ""
        self._figures, self._outputs = QLabel(), QLabel()
        for label in (self._figures, self._outputs):
            label.setObjectName("status")
            label.setTextFormat(Qt.TextFormat.PlainText)
            small = label.font()
            small.setPointSizeF(0.88 * small.pointSizeF())
            label.setFont(small)
            label.setFixedHeight(label.fontMetrics().height() + 2)  # whatever script the text is in
        self._figures.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.MARGIN_PX, 4, theme.MARGIN_PX, 4)
        row.setSpacing(theme.SPACE_PX)
        row.addWidget(self._figures, stretch=1)
        row.addWidget(self._outputs)

    def show_figures(
        self, timings: dict[str, Timing], *, engine: str, why: str, stopped: bool, realism: float | None = None
    ) -> None:
        """What the stages took of late; `why` says how the engine came to be the one. realism: 0..1, if it is known."""
        named = tr("engine {name} ({why})").format(name=engine, why=why) if engine else ""
        shown = timings.get(SHOWN)
        if stopped or shown is None:
            figures = [tr("Stopped") if stopped else tr("Starting …")]
        else:
            names = {"track": tr("tracking"), "retarget": tr("retargeting"), "animate": tr("painting")}
            stages = [f"{names[name]} {timings[name].p50_ms:.1f}" for name in STAGES if name in timings]
            figures = [
                tr("{fps} fps").format(fps=f"{shown.fps:.0f}"),
                tr("{p50} ms behind (95 %: {p95})").format(p50=f"{shown.p50_ms:.0f}", p95=f"{shown.p95_ms:.0f}"),
                tr("{stages} ms").format(stages=" · ".join(stages)) if stages else "",
            ]
        self._whole = "   ".join(part for part in (*figures, named) if part)
        self._realism = ""
        if realism is not None and not stopped:
            looks = tr("looks real: {percent} %").format(percent=f"{100 * realism:.0f}")
            self._realism = f"{looks} ({tr('50 %: as real as the portrait itself')})"
        self._fit()

    def show_outputs(self, text: str) -> None:
        """What leaves the window at the moment."""
        self._outputs.setText(text)

    def resizeEvent(self, event: QResizeEvent) -> None:  # Qt's name
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        metrics = self._figures.fontMetrics()
        self._figures.setText(metrics.elidedText(self._whole, Qt.TextElideMode.ElideRight, self._figures.width()))
        self.setToolTip("\n".join(part for part in (self._whole, self._realism) if part))
