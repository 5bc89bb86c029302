"""What a session has done in threads of its own: portraits prepared, cameras and engines opened and closed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from puppet.settings import Settings
from puppet.types import Calibration, Engine, PortraitEmbedding, PuppetError
from ui.language import joined, told, tr
from ui.observed import Observed

if TYPE_CHECKING:  # what imports mediapipe is imported when the window is shown already
    from puppet.library import Entry, Library
    from puppet.live import Live, OpenedSource
    from puppet.portrait import Selection

logger = logging.getLogger(__name__)


class Gain(Protocol):
    """What tuning brought, on pictures that were kept back to judge by."""

    @property
    def held_back(self) -> int: ...
    @property
    def lpips_before(self) -> float: ...
    @property
    def lpips_after(self) -> float: ...


class Tuning(Protocol):
    """How the generator is tuned, and what was tuned is loaded; given by who composes the program. For any thread."""

    engine: str  # name of the engine that is tuned

    def tune(
        self,
        portrait: Path,
        out: Path,
        *,
        also: Sequence[Path],
        selection: Selection,
        progress: Callable[[float | None], bool],
    ) -> Gain:
        """Tune to a person, and write `out`. `progress` is told what part is done, None while that is not known yet,
        and says whether to go on.

        Stopped, it writes the best so far, or raises KeyboardInterrupt where nothing was gained. Raises PuppetError.
        """
        ...

    def load(self, portrait: Path, tuned: Path | None) -> Engine:
        """The engine with what was tuned to the picture `portrait`, or as it comes. Raises PuppetError."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Equipment:
    """What a show needs besides a portrait."""

    engine: Engine
    opened: OpenedSource
    source: Observed
    calibration: Calibration | None


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A portrait that can be shown."""

    entry: Entry
    embedding: PortraitEmbedding
    engine: Engine | None  # that was tuned to it; whoever gets it has it alone, and it goes when nobody holds it
    notice: str = ""  # what the user should know


class Preparation:
    """Makes embeddings, with an engine of its own: the live one belongs to the thread that paints. For one thread."""

    def __init__(self, library: Library, load_engine: Callable[[str], Engine], tuning: Tuning | None) -> None:
        self._library = library
        self._load_engine = load_engine
        self._tuning = tuning
        self._engine: tuple[str, Engine] | None = None
        self._outdated = False

    def renew(self) -> None:
        """Load the engine anew before the next portrait. From any thread."""
        self._outdated = True

    def prepare(self, key_or_path: str, settings: Settings) -> Prepared:
        """Raises PuppetError."""
        from puppet.backdrop import with_backdrop

        entry = self._library.entry(key_or_path)
        tuned, notice = self._tuned(entry, settings.engine.name)
        engine = tuned or self._plain(settings.engine.name)
        embedding = self._library.embed(entry, engine, long_side_px=settings.engine.long_side_px)
        return Prepared(entry, with_backdrop(embedding, settings.background.choice), tuned, notice)

    def _tuned(self, entry: Entry, name: str) -> tuple[Engine | None, str]:
        """What paints a tuned portrait, unless another engine was chosen by `name`; and why not, if it cannot."""
        if entry.tuned is None or self._tuning is None or name not in ("auto", self._tuning.engine):
            return None, ""
        try:
            return self._tuning.load(entry.picture, entry.tuned), ""
        except PuppetError as error:
            logger.warning("%s", error)
            return None, tr("{name} is shown without its tuning: {error}").format(name=entry.name, error=told(error))

    def _plain(self, name: str) -> Engine:
        if self._engine is None or self._engine[0] != name or self._outdated:
            self._outdated = False
            self.close()
            self._engine = name, self._load_engine(name)
        return self._engine[1]

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
    return replace(opened, notice=joined([missing, told(opened.notice)]))
