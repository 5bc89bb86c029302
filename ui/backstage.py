"""What a session has done in threads of its own: portraits prepared, cameras and engines opened and closed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from puppet.settings import Settings
from puppet.types import Calibration, Engine, PortraitEmbedding, PuppetError
from ui.language import tr
from ui.observed import Observed

if TYPE_CHECKING:  # what imports mediapipe is imported when the window is shown already
    from puppet.library import Entry, Library
    from puppet.live import Live, OpenedSource

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Equipment:
    """What a show needs besides a portrait."""

    engine: Engine
    opened: OpenedSource
    source: Observed
    calibration: Calibration | None


class Preparation:
    """Makes embeddings, with an engine of its own: the live one belongs to the thread that paints. For one thread."""

    def __init__(self, library: Library, load_engine: Callable[[str], Engine]) -> None:
        self._library = library
        self._load_engine = load_engine
        self._engine: tuple[str, Engine] | None = None

    def prepare(self, key_or_path: str, settings: Settings) -> tuple[Entry, PortraitEmbedding]:
        """Raises PuppetError."""
        from puppet.backdrop import with_backdrop

        name = settings.engine.name
        if self._engine is None or self._engine[0] != name:
            self.close()
            self._engine = name, self._load_engine(name)
        entry = self._library.entry(key_or_path)
        embedding = self._library.embed(entry, self._engine[1], long_side_px=settings.engine.long_side_px)
        return entry, with_backdrop(embedding, settings.background.choice)

    def close(self) -> None:
        if self._engine is not None:
            self._engine[1].close()
            self._engine = None


class Opening:
    """Opens one Equipment after the other, and closes the one before. For one thread, but for `leave`."""

    def __init__(self, load_engine: Callable[[str], Engine]) -> None:
        self._load_engine = load_engine
        self._equipment: Equipment | None = None
        self._leaving: list[Live] = []

    def leave(self, live: Live) -> None:
        """Have this show closed before anything else. From any thread."""
        self._leaving.append(live)

    def open(self, settings: Settings) -> Equipment:
        """Raises PuppetError."""
        from calibration import store
        from puppet.live import open_source

        self.clear()
        opened = _opened(settings.camera.device or None)
        again = opened.camera or settings.camera.device or None
        source = Observed(opened.source, reopen=lambda: open_source(again).source)
        try:
            engine = self._load_engine(settings.engine.name)
        except PuppetError:
            source.close()
            raise
        calibration = store.load(opened.camera) if opened.camera else None
        self._equipment = Equipment(engine, opened, source, calibration)
        return self._equipment

    def clear(self) -> None:
        """Close the shows that were left, and what the last one needed."""
        engine_is_free = True
        while self._leaving:
            live = self._leaving.pop()
            live.close()
            engine_is_free = engine_is_free and live.engine_is_free
        equipment, self._equipment = self._equipment, None
        if equipment is not None:
            equipment.source.close()
            if engine_is_free:
                equipment.engine.close()


def _opened(device: str | None) -> OpenedSource:
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
