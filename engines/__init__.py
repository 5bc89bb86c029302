"""Ways to turn (embedding, motion) into a picture: the one table that names them all."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from puppet.types import Engine, PuppetError

# name -> "module:class", best first; "auto" takes the first one that loads.
BACKENDS: Final[dict[str, str]] = {"warp": "engines.warp:WarpEngine"}


class EngineUnavailable(PuppetError, RuntimeError):
    """An engine that was asked for by name cannot run here; the text says why."""


def load(name: str = "auto") -> Engine:
    """The engine `name`; "auto" is the first of BACKENDS that loads. Raises `EngineUnavailable` with every reason."""
    if name != "auto" and name not in BACKENDS:
        raise EngineUnavailable(f"there is no engine {name!r}: choose auto or one of {', '.join(BACKENDS)}")
    reasons = []
    for candidate in BACKENDS if name == "auto" else (name,):
        module, _, attribute = BACKENDS[candidate].partition(":")
        try:
            engine: Engine = getattr(import_module(module), attribute)()
        except (ImportError, PuppetError) as error:
            reasons.append(f"{candidate}: {error}")
        else:
            return engine
    raise EngineUnavailable(f"no engine can run here ({'; '.join(reasons)})")
