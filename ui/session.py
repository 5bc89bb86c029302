"""The live show behind the window: what it needs is opened in the background, and changed while it runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Signal

from puppet.settings import Settings
from puppet.types import Calibration, Engine, Frame, PortraitEmbedding, PuppetError, Sink
from ui.backstage import Equipment, Opening, Preparation, Prepared, Tuning
from ui.bridge import Background, Inbox
from ui.language import told, tr
from ui.observed import Observed

if TYPE_CHECKING:  # what imports mediapipe is imported behind the window, when that is shown already
    from puppet.direction import Director
    from puppet.library import Entry, Library
    from puppet.live import Live
    from puppet.pipeline import MotionSink, Tracked

logger = logging.getLogger(__name__)

FREEING_S = 60.0  # for an output that is slow; what it was given would be lost
CLOSING_S = 1.0  # for what is under way; a driver may hang


class Session(QObject):
    """Belongs to the GUI thread. `start` and the portrait of `settings.window` make a show as soon as both are ready.

    library: gives entries and embeddings. load_engine: by the name in the settings. tuning: None, if none can be had.
    """

    state_changed = Signal()
    portrait_changed = Signal(object)  # Entry
    calibrated = Signal()
    said = Signal(str, str)  # what the user should know, and "information", "warning" or "error"

    def __init__(
        self,
        settings: Settings,
        *,
        library: Library,
        load_engine: Callable[[str], Engine],
        tuning: Tuning | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.library = library
        self.tuning = tuning
        self.inbox: Inbox[Frame] = Inbox(self)
        self.faces: Inbox[Tracked] = Inbox(self)
        self.live: Live | None = None
        self._former: Live | None = None  # the one before, which may be ending still
        self.source: Observed | None = None
        self.camera = ""  # its name, while one drives the portrait
        self.entry: Entry | None = None
        self.embedding: PortraitEmbedding | None = None
        self._tuned: Engine | None = None  # to the portrait, and paints it instead of the equipment's
        self.realism: float | None = None  # of the last frame that was judged, 0..1
        self._judging = False  # or it cannot be done in this show
        self.frozen = False
        self._asked = ""  # the portrait that was chosen last, shown or not
        self._fell_back = False  # to a bundled portrait, as the one of last time cannot be had
        self.wanted = False  # whether it runs, or will as soon as it can
        self._load_engine = load_engine
        self._equipment: Equipment | None = None
        self._director: Director | None = None
        self._sinks: list[Sink] = [self.inbox]
        self._motion_sinks: list[MotionSink] = [self.faces]
        self._rests: Inbox[Calibration] = Inbox(self)
        self._rests.arrived.connect(self._keep_rest, Qt.ConnectionType.QueuedConnection)
        self._preparing, self._preparation = Background(self), Preparation(library, load_engine, tuning)
        self._staging, self._opening = Background(self), Opening(load_engine)

    @property
    def is_running(self) -> bool:
        return self.live is not None and self.live.running

    @property
    def is_tuned(self) -> bool:
        """Whether an engine that was tuned to the portrait paints it."""
        return self._tuned is not None

    def load_engine(self) -> Engine:
        """Another one of the kind that paints here, for any thread that closes it again."""
        return self._load_engine(self.settings.engine.name)

    def choose(self, key_or_path: str) -> None:
        """Bring this portrait to life as soon as it is prepared; the one before lives on until then."""
        self._asked, settings = key_or_path, self.settings
        self._preparing.run(lambda: self._preparation.prepare(key_or_path, settings), self._show, self._refuse)

    def start(self) -> None:
        """Open camera and engine, unless they are."""
        if not self.wanted:
            self.wanted = True
            self._restage()

    def stop(self) -> None:
        """Let go of the camera; the portrait stays."""
        self.wanted = False
        self._restage()

    def restart(self) -> None:
        """As after a change of camera or engine."""
        if self.wanted:
            self._restage()

    def renew_engine(self) -> None:
        """Load it anew, for what paints and for what is made of portraits: "auto" may mean another one by now."""
        self._preparation.renew()
        self.restart()
        if self._asked:
            self.choose(self._asked)

    def apply(self, settings: Settings) -> None:
        """Act upon what differs from the settings before."""
        before, self.settings = self.settings, settings
        if self.live is not None:
            self.live.controls = replace(settings.motion.controls, freeze=self.frozen)
        if self._director is not None:
            self._director.framing = settings.framing
        again = (before.camera, before.motion.mode, before.engine.name)
        if again != (settings.camera, settings.motion.mode, settings.engine.name):
            self.restart()
        if self._asked and (before.background, before.engine) != (settings.background, settings.engine):
            self.choose(self._asked)

    def freeze(self, frozen: bool) -> None:
        self.frozen = frozen
        self.apply(self.settings)
        self.state_changed.emit()

    def judge(self) -> None:
        """Have it found out how real the newest frame looks, while the show goes on; `realism` has it then.

        Where nothing else can close the engine meanwhile: in the thread that does.
        """
        if self.live is not None and self.live.running and not self._judging:
            self._judging = True
            self._staging.run(self.live.engine.realism, self._keep_realism, self._give_up_realism)

    def recalibrate(self) -> None:
        if self.live is not None:
            self.live.recalibrate()

    def calibrate(self, calibration: Calibration) -> None:
        if self.live is not None:
            self.live.calibrate(calibration)
        self._rests.send(calibration)

    def add_sink(self, sink: Sink) -> None:
        """Send it the frames, of later shows too."""
        self._sinks.append(sink)
        if self.live is not None:
            self.live.add_sink(sink)

    def add_motion_sink(self, sink: MotionSink) -> None:
        """The same for what is tracked."""
        self._motion_sinks.append(sink)
        if self.live is not None:
            self.live.add_motion_sink(sink)

    def remove_sink(self, sink: Sink | MotionSink) -> Callable[[], bool]:
        """Forget it; what comes back is to be called in the background, waits until nothing is sent to it any more,
        and tells whether that is so: if not, it hangs, and must not be closed.
        """
        self._sinks = [each for each in self._sinks if each is not sink]
        self._motion_sinks = [each for each in self._motion_sinks if each is not sink]
        lives = [live for live in (self.live, self._former) if live is not None]
        return lambda: all([live.remove_sink(sink, timeout_s=FREEING_S) for live in lives])

    def failure_of(self, sink: Sink | MotionSink | None) -> BaseException | None:
        """Why the show left this sink out, if it did."""
        failed = self.live.failed_sinks if self.live is not None else []
        return next((error for each, error in failed if each is sink), None)

    def close(self) -> None:
        """End everything, within some two seconds."""
        if self.live is not None:
            self.live.close()
            self._opening.leave(self.live)
        deadline_s = time.monotonic() + CLOSING_S
        for background, clear in (
            (self._staging, self._opening.clear),
            (self._preparing, self._preparation.close),
        ):
            if background.close(timeout_s=max(0.0, deadline_s - time.monotonic())):
                clear()
        self.live = self.source = self._equipment = self._director = self._tuned = None
        for inbox in (self.inbox, self.faces, self._rests):
            inbox.close()

    def _show(self, prepared: Prepared) -> None:
        self.entry, self.embedding, self._tuned = prepared.entry, prepared.embedding, prepared.engine
        self.realism = None
        if self._director is not None:
            self._director.lend(self.embedding, self._tuned)
        if self.live is not None:
            self.live.embedding = self.embedding
        if prepared.notice:
            self.said.emit(prepared.notice, "warning")
        self.portrait_changed.emit(self.entry)
        self._begin()

    def _set(self, equipment: Equipment) -> None:
        self._equipment = equipment
        self._begin()

    def _begin(self) -> None:
        """The show, if all is there."""
        if self._equipment is None or self.embedding is None or self.live is not None:
            return
        if self._tuned is None and self.embedding.engine != self._equipment.engine.name:
            return  # another engine was chosen, and the portrait is being prepared for it
        from puppet.direction import Director
        from puppet.live import Live
        from puppet.motion import Retargeter

        settings, equipment = self.settings, self._equipment
        director = Director(equipment.engine, settings.framing)
        director.lend(self.embedding, self._tuned)
        controls = replace(settings.motion.controls, freeze=self.frozen)
        retargeter = Retargeter(mode=settings.motion.mode, calibration=equipment.calibration, controls=controls)
        self._director, self.source, self.camera = director, equipment.source, equipment.opened.camera
        self.live = Live(
            equipment.source,
            engine=director,
            embedding=self.embedding,
            retargeter=retargeter,
            sinks=self._sinks,
            calibrated=self._rests.send,
        ).__enter__()
        for sink in self._motion_sinks:
            self.live.add_motion_sink(sink)
        if equipment.opened.notice:
            self.said.emit(told(equipment.opened.notice), "warning")
        self.state_changed.emit()

    def _restage(self) -> None:
        """Close the show, and open the next one if it is wanted; each in the background."""
        if self.live is not None:
            self._former = self.live
            self._opening.leave(self.live)
        self.live = self.source = self._equipment = self._director = self.realism = None
        self.camera = ""
        self._judging = False  # there is no answer any more
        settings = self.settings
        if self.wanted:
            self._staging.run(lambda: self._opening.open(settings), self._set, self._fail)
        else:
            self._staging.run(self._opening.clear, lambda _: None, self._fail)
        self.state_changed.emit()

    def _refuse(self, error: Exception) -> None:
        """The portrait that was asked for cannot be shown."""
        self.said.emit(_sentence(error, tr("This portrait cannot be used ({error}); choose another one.")), "error")
        if self.entry is not None:
            self._asked = self.entry.key
            self.portrait_changed.emit(self.entry)
        elif not self._fell_back:
            self._fell_back = True
            self.choose(self.library.entries()[0].key)

    def _fail(self, error: Exception) -> None:
        self.wanted = False
        self.said.emit(_sentence(error, tr("The portrait cannot be brought to life ({error}).")), "error")
        self.state_changed.emit()

    def _keep_realism(self, realism: float | None) -> None:
        self._judging, self.realism = False, realism

    def _give_up_realism(self, error: Exception) -> None:
        logger.warning("How real the portrait looks cannot be said: %s", error)
        self.realism = None

    def _keep_rest(self) -> None:
        calibration = self._rests.take()
        if calibration is None:
            return
        if self.camera:
            from calibration import store

            try:
                store.save(calibration, self.camera)
            except store.StoreError as error:
                self.said.emit(told(error), "warning")
        self.calibrated.emit()


def _sentence(error: Exception, otherwise: str) -> str:
    if isinstance(error, PuppetError):
        return told(error)
    logger.debug("An error came into the window.", exc_info=error)
    return otherwise.format(error=error)
