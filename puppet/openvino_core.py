"""OpenVINO's one core, for the networks that find a face and for those that paint.

Its Python package would import a module that reports usage to its vendor; it does without, and so do we.
"""

from __future__ import annotations

import sys
from functools import cache

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # not importable from now on

import openvino  # noqa: E402


@cache
def core() -> openvino.Core:
    """One for as long as the program runs: with the last one go its libraries, in which signals would still end."""
    return openvino.Core()
