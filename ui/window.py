"""The window: the living portrait, the strip of portraits, the buttons, the controls, and the line of figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QGuiApplication, QKeyEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QMainWindow, QScrollArea, QStackedWidget, QVBoxLayout, QWidget

from puppet.settings import Settings
from ui import language, theme
from ui.actions import Actions
from ui.calibrate import CalibrationPanel
from ui.cameras import CameraPicker
from ui.card import CardCare
from ui.controls import ControlsPanel
from ui.language import told, tr
from ui.outputs import Outputs
from ui.portraits import PortraitStrip
from ui.session import Session
from ui.stage import Stage
from ui.statusline import StatusLine
from ui.still import still_picture
from ui.toolbar import Toolbar
from ui.watch import Watch

if TYPE_CHECKING:
    from puppet.library import Entry

LOOK_MS = 400
JUDGE_EVERY = 12  # looks: judging takes a third of what a frame does
AHEAD_MS = 3000  # after a portrait came to life, others are made ready
SIDE_PX = 340
SMALLEST = (640, 480)


class Window(QMainWindow):
    """Shows `session` and changes it; it ends with the window.

    keep: called with each settings that the user chose, to be remembered.
    """

    def __init__(self, session: Session, *, keep: Callable[[Settings], None]) -> None:
        super().__init__()
        self.session = session
        session.setParent(self)
        self._keep = keep
        self._settings = session.settings
        self.outputs = Outputs(session, self)
        self.setWindowTitle("Puppet")
        self.setMinimumSize(*SMALLEST)
        self.setAcceptDrops(True)
        self.resize(self._settings.window.width_px, self._settings.window.height_px)
        self._ahead = QTimer(self)
        self._ahead.setSingleShot(True)
        self._ahead.setInterval(AHEAD_MS)
        self._ahead.timeout.connect(self._prepare_others)
        self._build()
        for number in range(1, 10):
            QShortcut(QKeySequence(str(number)), self, lambda number=number: self._strip.choose_number(number))
        QShortcut(QKeySequence.StandardKey.Paste, self, self._paste)
        queued = Qt.ConnectionType.QueuedConnection
        session.faces.arrived.connect(self._show_face, queued)
        session.state_changed.connect(self._show_state)
        session.portrait_changed.connect(self._show_portrait)
        session.calibrated.connect(lambda: self._calibration.rest_taken())
        self.outputs.said.connect(lambda text, kind: self._stage.banner.tell(text, kind))
        self.outputs.changed.connect(self._show_state)
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._apply_theme)  # no lambda: that would outlive us
        self._looks = 0
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self._look)
        self._timer.start()

    def _build(self) -> None:
        """Everything visible, in the language that is in use."""
        settings = self._settings
        self._actions = Actions(self, settings.hotkeys)
        self._picker = CameraPicker(self.session)
        self._bar = Toolbar(self._actions, self._picker)
        self._stage = Stage(self.session)
        self._watch = Watch(self.session, self._stage.banner)
        self._strip = PortraitStrip(
            self.session.library, load_engine=self.session.load_engine, tuning=self.session.tuning
        )
        self._controls = ControlsPanel(settings)
        self._calibration = CalibrationPanel(overlay_opacity=settings.view.overlay_opacity)
        self._status = StatusLine()
        self._lay_out()
        self._connect()
        self._apply(settings)
        self._show_state()
        if self.session.entry is not None:
            self._show_portrait(self.session.entry)

    def _lay_out(self) -> None:
        scroller = QScrollArea()
        scroller.setWidgetResizable(True)
        scroller.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # it follows the focus of what is in it
        scroller.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroller.setWidget(self._controls)
        self._side = QStackedWidget()
        self._side.setObjectName("side")
        self._side.setFixedWidth(SIDE_PX)
        self._side.addWidget(scroller)
        self._side.addWidget(self._calibration)
        left = QVBoxLayout()
        left.setSpacing(0)
        left.addWidget(self._stage, stretch=1)
        row = QVBoxLayout()
        row.setContentsMargins(theme.SPACE_PX, theme.SPACE_PX, theme.SPACE_PX, 0)
        row.addWidget(self._strip)
        left.addLayout(row)
        middle = QHBoxLayout()
        middle.setSpacing(0)
        middle.addLayout(left, stretch=1)
        middle.addWidget(self._side)
        central = QWidget()
        whole = QVBoxLayout(central)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(self._bar)
        whole.addLayout(middle, stretch=1)
        whole.addWidget(self._status)
        self.setCentralWidget(central)

    def _connect(self) -> None:
        actions, session = self._actions, self.session
        actions["start"].triggered.connect(lambda on: session.start() if on else session.stop())
        actions["freeze"].triggered.connect(session.freeze)
        actions["virtual_camera"].triggered.connect(self.outputs.camera.show)
        actions["stream"].triggered.connect(self.outputs.stream.show)
        actions["record"].triggered.connect(
            lambda on: self.outputs.record("mp4") if on else self.outputs.stop_recording()
        )
        actions["snapshot"].triggered.connect(self._snap)
        actions["self_view"].triggered.connect(lambda on: self._change({"view.self_view": on}))
        actions["panel"].triggered.connect(lambda on: self._change({"window.panel": on}))
        actions["calibrate"].triggered.connect(lambda: self.calibrate(True))  # again, if it is being done already
        actions["full_screen"].triggered.connect(self._fill_screen)
        self._bar.record_wanted.connect(self.outputs.record)
        self._bar.address_wanted.connect(self.outputs.copy_address)
        self._picker.chosen.connect(lambda device: self._change({"camera.device": device}))
        self._strip.chosen.connect(self._choose)
        self._strip.said.connect(lambda text, error: self._stage.banner.tell(text, "error" if error else "information"))
        further, banner = self._strip.further, self._stage.banner
        further.working.connect(lambda text: banner.stand("further", text, "information", cancel=further.give_up))
        self._controls.changed.connect(self.take)
        self._controls.freeze_toggled.connect(session.freeze)
        self._calibration.rest_wanted.connect(session.recalibrate)
        self._calibration.calibrated.connect(session.calibrate)
        self._calibration.overlay_changed.connect(lambda share: self._change({"view.overlay_opacity": share}))
        self._calibration.closed.connect(lambda: self.calibrate(False))

    def tend(self, care: CardCare) -> None:
        """Say what becomes of the graphics card, and have it paint once it is ready."""
        care.working.connect(lambda text: self._stage.banner.stand("card", text, "information", cancel=care.give_up))
        care.said.connect(lambda text, error: self._stage.banner.tell(text, "warning" if error else "information"))
        care.ready.connect(self.session.renew_engine)

    # What the user does.

    def choose(self, key_or_path: str) -> None:
        """Show the still picture of a portrait, and bring it to life as soon as can be."""
        self._strip.set_busy(key_or_path)
        self.session.choose(key_or_path)

    def show_still(self, entry: Entry) -> None:
        """What there is to see before anything has been prepared."""
        picture = still_picture(entry.picture)
        if picture is not None and self._stage.newest is None:
            self._stage.show_still(picture)
        self._strip.show_chosen(entry.key)

    def _choose(self, key: str) -> None:
        self._change({"window.portrait": key})
        self.choose(key)

    def _change(self, changes: dict[str, object]) -> None:
        self.take(self._settings.changed(changes))

    def take(self, settings: Settings) -> None:
        before = self._settings
        if settings == before:
            return
        self._settings = settings
        self._keep(settings)
        if settings.window.theme != before.window.theme:
            self._apply_theme()
        if settings.hotkeys != before.hotkeys:
            self._actions.use(settings.hotkeys)
        if settings.window.language != before.window.language:
            language.use(settings.window.language)
            QTimer.singleShot(0, self, self._rebuild)  # not while one of the widgets that go is telling us so
        self._apply(settings)

    def _apply(self, settings: Settings) -> None:
        self.session.apply(settings)
        self._controls.show_settings(settings)
        calibrating = self._side.currentWidget() is self._calibration
        self._stage.show_settings(settings.view, self_view=settings.view.self_view or calibrating)
        self._side.setVisible((settings.window.panel or calibrating) and not self.isFullScreen())
        self._actions["self_view"].setChecked(settings.view.self_view)
        self._actions["panel"].setChecked(settings.window.panel)
        self._picker.refresh()

    def calibrate(self, wanted: bool = True) -> None:
        self._actions["calibrate"].setChecked(wanted)
        self._side.setCurrentIndex(int(wanted))
        self._apply(self._settings)
        if wanted:
            self._calibration.begin_rest()

    def _fill_screen(self, wanted: bool) -> None:
        self.setWindowState(self.windowState() ^ Qt.WindowState.WindowFullScreen)
        self._actions["full_screen"].setChecked(wanted)
        for widget in (self._bar, self._strip, self._status):
            widget.setVisible(not wanted)
        self._apply(self._settings)

    def _snap(self) -> None:
        if self._stage.newest is not None:
            self.outputs.snapshot(self._stage.newest)

    def _paste(self) -> None:
        self._strip.take(QGuiApplication.clipboard().mimeData())

    # What the show does.

    def _show_face(self) -> None:
        tracked = self.session.faces.take()
        if tracked is not None:
            self._stage.show_face(tracked.landmarks)
            if self._calibration.isVisible():
                self._calibration.feed(tracked.landmarks)

    def _show_portrait(self, entry: Entry) -> None:
        self._strip.set_busy(None)
        self._strip.show_chosen(entry.key)
        self._ahead.start()
        if self.session.embedding is not None:
            self._calibration.set_portrait(self.session.embedding.portrait.landmarks)

    def _prepare_others(self) -> None:
        if self.session.wanted and not self.session.is_running:  # first, this one is to live
            self._ahead.start()
            return
        self._strip.prepare(long_side_px=self._settings.engine.long_side_px)

    def _show_state(self) -> None:
        wanted = {
            "start": self.session.wanted,
            "freeze": self.session.frozen,
            "virtual_camera": self.outputs.camera.wanted,
            "stream": self.outputs.stream.wanted,
            "record": self.outputs.record_wanted,
        }
        for name, on in wanted.items():
            self._actions[name].setChecked(on)
        self._actions["start"].setText(tr("Stop") if wanted["start"] else tr("Start"))
        self._actions.refresh_icons()
        self._bar.show_address(self.outputs.address)
        self._bar.show_recording(self.outputs.record_wanted)
        self._controls.show_frozen(self.session.frozen)
        self._picker.refresh()

    def _look(self) -> None:
        live = self.session.live
        self.outputs.check()
        self._watch.look()
        if live is not None:
            live.distracted = self._strip.is_preparing
            self._looks += 1
            if self._looks % JUDGE_EVERY == 0 and not live.economy:
                self.session.judge()
        self._status.show_figures(
            live.timings.snapshot() if live is not None else {},
            engine=live.engine.name if live is not None else "",
            why=self._why_engine(),
            stopped=not self.session.wanted,
            realism=self.session.realism if live is not None and not live.economy else None,
        )
        self._status.show_outputs(self.outputs.summary())

    def _why_engine(self) -> str:
        live = self.session.live
        if live is not None and live.economy:
            return tr("a slow computer: {economy}").format(economy=told(live.economy))
        if self.session.is_tuned:
            return tr("tuned to this person")
        return tr("the best that runs here") if self._settings.engine.name == "auto" else tr("as you chose")

    # Qt's events.

    def changeEvent(self, event: QEvent) -> None:  # Qt's name
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._actions.refresh_icons()
            self._picker.refresh()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # Qt's name
        if event.key() != Qt.Key.Key_Escape:
            super().keyPressEvent(event)
        elif self.isFullScreen():
            self._fill_screen(False)
        elif self._actions["calibrate"].isChecked():
            self.calibrate(False)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # Qt's name
        if self._strip.can_take(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # Qt's name
        self._strip.take(event.mimeData())
        event.acceptProposedAction()

    def closeEvent(self, event: QCloseEvent) -> None:  # Qt's name
        self._timer.stop()
        self._ahead.stop()
        size, frame = self.normalGeometry().size(), self._settings.window
        if not self.isFullScreen():
            frame = replace(frame, width_px=max(size.width(), SMALLEST[0]), height_px=max(size.height(), SMALLEST[1]),
                            maximised=self.isMaximized())  # fmt: skip
        self._keep(replace(self._settings, window=frame))
        self.hide()
        self.outputs.close()
        self._close_down()
        self.session.close()
        event.accept()

    def _apply_theme(self) -> None:
        theme.apply(self._settings.window.theme)

    def _rebuild(self) -> None:
        self._close_down()
        self._actions.remove()
        self._build()

    def _close_down(self) -> None:
        for widget in (self._strip, self._calibration, self._picker):
            widget.close_down()
