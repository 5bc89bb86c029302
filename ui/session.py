"""The live show behind the window: what it needs is opened in the background, and changed while it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Signal

from puppet.settings import Settings
from puppet.types import Calibration, Engine, Frame, PortraitEmbedding, PuppetError, Sink
from ui.bridge import Background, Inbox
from ui.language import tr
from ui.observed import Observed

if TYPE_CHECKING:  # what imports mediapipe is imported behind the window, when that is shown already
    from puppet.direction import Director
    from puppet.library import Entry, Library
    from puppet.live import Live, OpenedSource
    from puppet.pipeline import MotionSink, Tracked

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """What a show needs besides a portrait."""

    engine: Engine
    opened: OpenedSource
    source: Observed
    calibration: Calibration | None


class Session(QObject):
    """Belongs to the GUI thread. `start` and the portrait of `settings.window` make a show as soon as both are ready.

    library: gives entries and embeddings. load_engine: by the name in the settings.
    """

    state_changed = Signal()
    portrait_changed = Signal(object)  # Entry
    calibrated = Signal()
    said = Signal(str, str)  # what the user should know, and "information", "warning" or "error"

    def __init__(self, settings: Settings, *, library: Library, load_engine: Callable[[str], Engine]) -> None:
        super().__init__()
        self.settings = settings
        self.library = library
        self.inbox: Inbox[Frame] = Inbox()
        self.faces: Inbox[Tracked] = Inbox()
        self.live: Live | None = None
        self.source: Observed | None = None
        self.camera = ""  # its name, while one drives the portrait
        self.entry: Entry | None = None
        self.embedding: PortraitEmbedding | None = None
        self.frozen = False
        self._fell_back = False  # to a bundled portrait, as the one of last time cannot be had
        self.wanted = False  # whether it runs, or will as soon as it can
        self._load_engine = load_engine
        self._stage: Stage | None = None
        self._director: Director | None = None
        self._sinks: list[Sink] = [self.inbox]
        self._motion_sinks: list[MotionSink] = [self.faces]
        self._rests: Inbox[Calibration] = Inbox()
        self._rests.arrived.connect(self._keep_rest, Qt.ConnectionType.QueuedConnection)
        self._preparing = Background(self)
        self._engine_aside: tuple[str, Engine] | None = None  # of its thread; the live one belongs to the animator's
        self._staging = Background(self)
        self._staged: Stage | None = None  # of its thread: what it opened last
        self._leaving: list[Live] = []  # to be closed in its thread

    @property
    def is_running(self) -> bool:
        return self.live is not None and self.live.running

    def load_engine(self) -> Engine:
        """Another one of the kind that paints here, for any thread that closes it again."""
        return self._load_engine(self.settings.engine.name)

    def choose(self, key_or_path: str) -> None:
        """Bring this portrait to life as soon as it is prepared; the one before lives on until then."""
        settings = self.settings
        self._preparing.run(lambda: self._prepare(key_or_path, settings), self._show, self._refuse)

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
        if self.entry is not None and (before.background, before.engine) != (settings.background, settings.engine):
            self.choose(self.entry.key)

    def freeze(self, frozen: bool) -> None:
        self.frozen = frozen
        self.apply(self.settings)
        self.state_changed.emit()

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

    def remove_sink(self, sink: Sink | MotionSink) -> Callable[[], object]:
        """Forget it; what comes back waits until it is free to be closed, and is to be called in the background."""
        self._sinks = [each for each in self._sinks if each is not sink]
        self._motion_sinks = [each for each in self._motion_sinks if each is not sink]
        live = self.live
        return lambda: live is not None and live.remove_sink(sink)

    def close(self) -> None:
        """End everything, within some two seconds."""
        if self.live is not None:
            self.live.close()
        self._preparing.close()
        if self._staging.close():
            self._clear()
        if self._engine_aside is not None:
            self._engine_aside[1].close()
        self.live = self.source = self._stage = None
        self.inbox.close()

    # In the background.

    def _prepare(self, key_or_path: str, settings: Settings) -> tuple[Entry, PortraitEmbedding]:
        from puppet.backdrop import with_backdrop

        name = settings.engine.name
        if self._engine_aside is not None and self._engine_aside[0] != name:
            self._engine_aside[1].close()
            self._engine_aside = None
        if self._engine_aside is None:
            self._engine_aside = name, self._load_engine(name)
        entry = self.library.entry(key_or_path)
        embedding = self.library.embed(entry, self._engine_aside[1], long_side_px=settings.engine.long_side_px)
        return entry, with_backdrop(embedding, settings.background.choice)

    def _open(self, settings: Settings) -> Stage:
        from calibration import store
        from puppet.live import open_source

        self._clear()
        device = settings.camera.device or None
        opened = self._opened(device)
        again = opened.camera or device
        source = Observed(opened.source, reopen=lambda: open_source(again).source)
        try:
            engine = self._load_engine(settings.engine.name)
        except PuppetError:
            source.close()
            raise
        calibration = store.load(opened.camera) if opened.camera else None
        self._staged = Stage(engine, opened, source, calibration)
        return self._staged

    def _opened(self, device: str | None) -> OpenedSource:
        """What `device` says; if that is a camera which is not there today, the first that works."""
        from puppet.camera import CameraNotFound, cameras
        from puppet.live import open_source

        is_camera = device is not None and not Path(device).suffix and not Path(device).exists()
        if device is None or not is_camera or device in {info.name for info in cameras()}:
            return open_source(device)
        try:
            if device.isdecimal():
                return open_source(device)
        except CameraNotFound as error:
            logger.warning("%s", error)
        missing = tr("The camera {name} is not there.").format(name=device)
        opened = open_source(None)
        return replace(opened, notice=f"{missing} {opened.notice}")

    def _clear(self) -> None:
        """Close what the show before needed."""
        while self._leaving:
            self._leaving.pop().close()
        staged, self._staged = self._staged, None
        if staged is not None:
            staged.source.close()
            staged.engine.close()

    # In the GUI thread.

    def _show(self, prepared: tuple[Entry, PortraitEmbedding]) -> None:
        self.entry, self.embedding = prepared
        if self.live is not None:
            self.live.embedding = self.embedding
        self.portrait_changed.emit(self.entry)
        self._begin()

    def _set(self, stage: Stage) -> None:
        self._stage = stage
        self._begin()

    def _begin(self) -> None:
        """The show, if all is there."""
        if self._stage is None or self.embedding is None or self.live is not None:
            return
        from puppet.direction import Director
        from puppet.live import Live
        from puppet.motion import Retargeter

        settings, stage = self.settings, self._stage
        director = Director(stage.engine, settings.framing)
        controls = replace(settings.motion.controls, freeze=self.frozen)
        retargeter = Retargeter(mode=settings.motion.mode, calibration=stage.calibration, controls=controls)
        self._director, self.source, self.camera = director, stage.source, stage.opened.camera
        self.live = Live(
            stage.source,
            engine=director,
            embedding=self.embedding,
            retargeter=retargeter,
            sinks=self._sinks,
            calibrated=self._rests.send,
        ).__enter__()
        for sink in self._motion_sinks:
            self.live.add_motion_sink(sink)
        if stage.opened.notice:
            self.said.emit(stage.opened.notice, "warning")
        self.state_changed.emit()

    def _restage(self) -> None:
        """Close the show, and open the next one if it is wanted; each in the background."""
        if self.live is not None:
            self._leaving.append(self.live)
        self.live = self.source = self._stage = self._director = None
        self.camera = ""
        settings = self.settings
        if self.wanted:
            self._staging.run(lambda: self._open(settings), self._set, self._fail)
        else:
            self._staging.run(self._clear, lambda _: None, self._fail)
        self.state_changed.emit()

    def _refuse(self, error: Exception) -> None:
        """The portrait that was asked for cannot be shown."""
        self.said.emit(_sentence(error, tr("This portrait cannot be used ({error}); choose another one.")), "error")
        if self.entry is not None:
            self.portrait_changed.emit(self.entry)
        elif not self._fell_back:
            self._fell_back = True
            self.choose(self.library.entries()[0].key)

    def _fail(self, error: Exception) -> None:
        self.wanted = False
        self.said.emit(_sentence(error, tr("The portrait cannot be brought to life ({error}).")), "error")
        self.state_changed.emit()

    def _keep_rest(self) -> None:
        calibration = self._rests.take()
        if calibration is None:
            return
        if self.camera:
            from calibration import store

            try:
                store.save(calibration, self.camera)
            except store.StoreError as error:
                self.said.emit(str(error), "warning")
        self.calibrated.emit()


def _sentence(error: Exception, otherwise: str) -> str:
    if isinstance(error, PuppetError):
        return str(error)
    logger.debug("An error came into the window.", exc_info=error)
    return otherwise.format(error=error)
