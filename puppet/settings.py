"""What the user chose, remembered in a TOML file; and where the program's own files and folders are."""

from __future__ import annotations

import difflib
import os
import secrets
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import platformdirs

from puppet.types import Controls, PuppetError

FINE_PX, COARSE_PX = 1024, 512  # longer side of what is painted, at most
SMALL_CORES = 2  # with no more of them, the fine size does not reach 30 pictures a second
HEADER: Final = "Settings of Puppet. Edit them while it is closed; what is missing has its default."


class SettingsError(PuppetError, ValueError):
    """The settings cannot be read or kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSettings:
    """What drives the portrait."""

    device: str = ""  # name or number of a camera, or a file; empty for the first camera that works


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionSettings:
    """How the portrait follows; 1.0 is the driver's own amount."""

    head: float = 1.0
    mouth: float = 1.0
    eyes: float = 1.0
    brows: float = 1.0
    gaze: float = 1.0
    smoothing: float = 1.0
    mode: Literal["relative", "absolute"] = "relative"
    auto_blink: bool = False
    look_at_camera: bool = False
    idle: bool = True  # breathe and blink while nobody is seen

    @property
    def controls(self) -> Controls:
        """As the retargeter takes them; `freeze` is not remembered."""
        known = {each.name for each in fields(self)}
        return Controls(**{each.name: getattr(self, each.name) for each in fields(Controls) if each.name in known})


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSettings:
    """What the user sees, and how outputs are turned."""

    mirror_preview: bool = True
    mirror_output: bool = False  # programs for calls mirror what they show to the user himself
    self_view: bool = False
    landmarks: bool = True  # drawn in the self-view
    overlay_opacity: float = 0.0  # of the portrait's outline in the self-view


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundSettings:
    """What stands behind the person."""

    kind: Literal["own", "blur", "green", "transparent", "colour", "picture"] = "own"
    colour: str = "#336699"
    picture: str = ""

    @property
    def choice(self) -> str:
        """As `puppet.backdrop` understands it; a picture that was never chosen is the portrait's own background."""
        return {"colour": self.colour, "picture": self.picture or "own"}.get(self.kind, self.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class FramingSettings:
    """Which part of the painted picture is shown."""

    zoom: float = 1.0
    pan_x: float = 0.0  # -1 the left edge, 1 the right one
    pan_y: float = 0.0
    follow: bool = False  # the face, as far as the zoom leaves room


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What paints."""

    name: str = "auto"
    preset: Literal["auto", "quality", "speed"] = "auto"
    size_px: int = 0  # longer side of what is painted, at most; 0: as the preset says

    @property
    def long_side_px(self) -> int:
        """Of the painted picture, at most."""
        fine = self.preset == "quality" or (self.preset == "auto" and (os.cpu_count() or 1) > SMALL_CORES)
        return self.size_px or (FINE_PX if fine else COARSE_PX)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """The page for OBS that the window serves."""

    port: int = 8737  # the same each time, so that the address once given to OBS stays good; of nothing well known


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettings:
    """The window itself."""

    language: Literal["", "en", "zh"] = ""  # empty: the system's
    theme: Literal["system", "light", "dark"] = "system"
    portrait: str = ""  # key in the library, or a file
    panel: bool = True
    width_px: int = 1180
    height_px: int = 800
    maximised: bool = False
    recordings: str = ""  # folder; empty: the system's for videos


@dataclass(frozen=True, slots=True, kw_only=True)
class HotkeySettings:
    """Keys inside the window, as Qt writes them; 1 to 9 choose portraits."""

    start: str = "F5"
    calibrate: str = "C"
    freeze: str = "F"
    virtual_camera: str = "V"
    stream: str = "B"
    record: str = "R"
    snapshot: str = "S"
    self_view: str = "E"
    panel: str = "P"
    full_screen: str = "F11"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything; each attribute is a table of the file."""

    camera: CameraSettings = field(default_factory=CameraSettings)
    motion: MotionSettings = field(default_factory=MotionSettings)
    view: ViewSettings = field(default_factory=ViewSettings)
    background: BackgroundSettings = field(default_factory=BackgroundSettings)
    framing: FramingSettings = field(default_factory=FramingSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    stream: StreamSettings = field(default_factory=StreamSettings)
    window: WindowSettings = field(default_factory=WindowSettings)
    hotkeys: HotkeySettings = field(default_factory=HotkeySettings)

    def values(self) -> dict[str, Any]:
        """Every value by its dotted name, such as "motion.head"."""
        tables = {table.name: getattr(self, table.name) for table in fields(self)}
        return {
            f"{name}.{each.name}": getattr(table, each.name) for name, table in tables.items() for each in fields(table)
        }

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """With these values, by dotted names, instead. Raises SettingsError for a name or value that cannot be."""
        settings = self
        for name, value in changes.items():
            _check(name, value)
            table, _, key = name.partition(".")
            settings = replace(settings, **{table: replace(getattr(settings, table), **{key: value})})
        return settings


LIMITS: Final[dict[str, tuple[float, float]]] = {
    **{f"motion.{name}": (0.0, 2.0) for name in ("head", "mouth", "eyes", "brows", "gaze")},
    "motion.smoothing": (0.0, 3.0),
    "view.overlay_opacity": (0.0, 1.0),
    "engine.size_px": (0, 16384),
    "stream.port": (1024, 65535),
    "framing.zoom": (1.0, 4.0),
    "framing.pan_x": (-1.0, 1.0),
    "framing.pan_y": (-1.0, 1.0),
    "window.width_px": (640, 16384),
    "window.height_px": (480, 16384),
}
TYPES: Final[dict[str, Any]] = {
    f"{table}.{key}": kind
    for table, group in get_type_hints(Settings).items()
    for key, kind in get_type_hints(group).items()
}


def parsed(assignments: Sequence[str]) -> dict[str, Any]:
    """Values by dotted names from texts like "motion.head=1.2", for `Settings.changed`; quotes may be left out."""
    changes: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise SettingsError(f"{text!r} sets nothing; write it like motion.head=1.2.")
        try:
            changes[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            changes[name] = value
        if TYPES.get(name) is str:
            changes[name] = value.strip("\"'")
    return changes


def settings_path() -> Path:
    """The user's file; not necessarily there yet."""
    return config_dir() / "settings.toml"


def load(path: Path) -> Settings:
    """What `path` says, over the defaults; those alone if there is no such file. Raises SettingsError."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"The settings in {path} cannot be read ({error}); mend the file, or delete it.") from error
    try:
        return Settings().changed(dict(_flattened(tables)))
    except SettingsError as error:
        raise SettingsError(f"In {path}: {error}") from None


def save(path: Path, before: Settings, after: Settings) -> None:
    """Write what differs between the two into the file, and leave all else there, comments too, as it is.

    Flags that were given for one run thus never enter it. The file appears whole or not at all. Raises SettingsError.
    """
    import tomlkit
    import tomlkit.exceptions

    old = before.values()
    changes = {name: value for name, value in after.values().items() if value != old[name]}
    temporary = path.with_name(f".{secrets.token_hex(4)}.toml")
    try:
        if path.exists():
            document = tomlkit.parse(path.read_text(encoding="utf-8"))
        else:
            document = tomlkit.document()
            document.add(tomlkit.comment(HEADER))
            changes = Settings().values() | changes
        for name, value in changes.items():
            table, _, key = name.partition(".")
            if table not in document:
                document[table] = tomlkit.table()
            document[table][key] = value
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(tomlkit.dumps(document), encoding="utf-8")
        os.replace(temporary, path)
    except (OSError, UnicodeDecodeError, tomlkit.exceptions.TOMLKitError) as error:
        raise SettingsError(f"The settings cannot be kept in {path} ({error}).") from error
    finally:
        with suppress(OSError):  # it says no more than the error above
            temporary.unlink(missing_ok=True)


def _flattened(tables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for table, values in tables.items():
        if isinstance(values, dict):
            yield from ((f"{table}.{key}", value) for key, value in values.items())
        else:
            yield table, values


def _check(name: str, value: Any) -> None:
    if name not in TYPES:
        near = difflib.get_close_matches(name, TYPES, n=1)
        tables = sorted({known.partition(".")[0] for known in TYPES})
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(tables)}."
        raise SettingsError(f"There is no setting {name}; {hint}")
    kind = TYPES[name]
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            choices = ", ".join(repr(choice) for choice in get_args(kind))
            raise SettingsError(f"{name} is one of {choices}, not {value!r}.")
    elif type(value) is not kind and not (kind is float and type(value) is int):
        words = {str: "a text in quotes", float: "a number", int: "a whole number", bool: "true or false"}
        raise SettingsError(f"{name} is {words[kind]}, not {value!r}.")
    low, high = LIMITS.get(name, (None, None))
    if low is not None and high is not None and not low <= value <= high:
        raise SettingsError(f"{name} lies within {low:g} and {high:g}, unlike {value!r}.")


def asset(name: str) -> Path:
    """The bundled file `name`, e.g. "sample.motion" or "portraits/astronaut.jpg".

    Beside this module: true for an installed package, an editable one, and one frozen by PyInstaller, whose
    build keeps puppet/assets as it is.
    """
    return Path(__file__).parent / "assets" / name


def sample_portraits() -> list[Path]:
    """The bundled portraits, the default one first."""
    return sorted(asset("portraits").glob("*.jpg"))


def cache_dir() -> Path:
    """Holds only what can be made again; not necessarily there yet."""
    return platformdirs.user_cache_path("puppet", appauthor=False)


def config_dir() -> Path:
    """Holds what the user would miss: calibrations, settings; not necessarily there yet."""
    return platformdirs.user_config_path("puppet", appauthor=False)


def data_dir() -> Path:
    """Holds what the user gave: the library of portraits; not necessarily there yet."""
    return platformdirs.user_data_path("puppet", appauthor=False)
