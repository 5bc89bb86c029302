"""Where things live: the program's version, the files that come with it, and the user's folders."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import platformdirs


def version() -> str:
    """The installed program's version; a checkout that was never installed has none."""
    try:
        return metadata.version("portrait-puppet")
    except metadata.PackageNotFoundError:
        return "not installed"


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
