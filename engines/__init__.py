"""Ways to turn (embedding, motion) into a picture: the one table that names them all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from puppet.types import Engine, PuppetError

logger = logging.getLogger(__name__)

# name -> "module:class", best first; "auto" takes the first one that loads.
BACKENDS: Final[dict[str, str]] = {
    "neural": "engines.neural:NeuralEngine",
    "warp": "engines.warp:WarpEngine",
}


class EngineUnavailable(PuppetError, RuntimeError):
    """An engine that was asked for by name cannot run here; the text says why."""


def load(name: str = "auto", *, live: bool = True) -> Engine:
    """The engine `name`; "auto" is the first of BACKENDS that loads. Raises `EngineUnavailable` with every reason.

    live: whether somebody waits for each frame, or all go into a file.
    """
    engine: Engine = first_of(BACKENDS, name, "engine", live=live)
    return engine


def first_of(table: Mapping[str, str], name: str, kind: str, *arguments: object, live: bool = True) -> Any:
    """The entry `name` of such a table, made with `arguments`; "auto" is the first one that can be made.

    What "auto" passes over is logged, with its reason. A class may be choosy: where it has a method `unasked`, "auto"
    makes it by that, and tells it whether it is to work `live`.
    """
    if name != "auto":
        if name not in table:
            raise EngineUnavailable(f"there is no {kind} {name!r}: choose auto or one of {', '.join(table)}")
        return _class(table[name], name, kind)(*arguments)
    reasons = []
    for candidate, place in table.items():
        try:
            wanted = _class(place, candidate, kind)
            choosy = hasattr(wanted, "unasked")
            made = wanted.unasked(*arguments, live=live) if choosy else wanted(*arguments)
        except PuppetError as error:
            reasons.append(f"{candidate}: {error}")
            logger.info("%s %s", kind, reasons[-1])
        else:
            return made
    raise EngineUnavailable(f"no {kind} can run here ({'; '.join(reasons)})")


def _class(place: str, name: str, kind: str) -> Any:
    module, _, attribute = place.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ImportError as error:
        raise EngineUnavailable(f"the {kind} {name} is not installed ({error})") from error
