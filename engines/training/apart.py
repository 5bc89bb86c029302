"""Tuning in a process of its own, for a program that goes on meanwhile.

There, neither loading torch nor training keeps the program's threads waiting, the system can put it behind the living
portrait, and it can be ended at any time, with all its memory.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from puppet.portrait import WHOLE, Selection
from puppet.types import PuppetError

POLL_S: Final = 0.2  # until it is noticed that it is not wanted any more
NICENESS: Final = 10  # where the system knows that: the portrait that lives comes first


class TuningFailedError(PuppetError, RuntimeError):
    """Tuning ended without a result, for the reason that the other process gave."""


@dataclass(frozen=True, slots=True)
class Gain:
    """What tuning brought, on pictures that were kept back to judge by."""

    held_back: int
    lpips_before: float
    lpips_after: float


def tune(
    portrait: Path,
    out: Path,
    *,
    also: Sequence[Path],
    selection: Selection = WHOLE,
    progress: Callable[[float | None], bool],
) -> Gain:
    """`tuning.tune` there. `progress` is told what part is done, None as long as that is not known.

    It says whether to go on. If not, the best so far is written, or KeyboardInterrupt raised where there is none.
    Raises ImportError where a library is missing that only training needs, and TuningFailedError.
    """
    if find_spec("torch") is None:
        raise ImportError("torch is missing", name="torch")
    context = multiprocessing.get_context("spawn")  # a copy of a process with threads may hang
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, portrait, out, also, selection), daemon=True)
    process.start()
    theirs.close()  # so that its end is noticed
    begun = False
    try:
        while True:
            if not ours.poll(POLL_S):
                if not begun and not progress(None):
                    raise KeyboardInterrupt
                continue
            match ours.recv():
                case "part", float(done):
                    begun = True
                    ours.send(progress(done))
                case "gain", Gain() as gain:
                    return gain
                case "stopped", _:
                    raise KeyboardInterrupt
                case "missing", name:
                    raise ImportError(f"{name} is missing", name=name)
                case _, reason:
                    raise TuningFailedError(str(reason))
    except (EOFError, OSError) as error:
        raise TuningFailedError(
            "The tuning's process ended unexpectedly; close other programs and try again."
        ) from error
    finally:
        process.terminate()
        process.join()
        ours.close()


def _work(pipe: Connection, portrait: Path, out: Path, also: Sequence[Path], selection: Selection) -> None:
    """In the other process. What is sent must not need torch to be read."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches it too; the program ends it in its turn
    if hasattr(os, "nice"):
        os.nice(NICENESS)

    def report(done: float) -> bool:
        try:
            pipe.send(("part", float(done)))
            return bool(pipe.recv())
        except (EOFError, OSError):
            raise SystemExit from None  # the program has ended

    try:
        from engines.training import tuning

        found = tuning.tune(portrait, out, also=also, selection=selection, progress=report)
    except KeyboardInterrupt:
        pipe.send(("stopped", None))
    except ImportError as error:
        pipe.send(("missing", error.name))
    except PuppetError as error:
        pipe.send(("refused", str(error)))
    else:
        pipe.send(("gain", Gain(found.held_back, found.lpips_before, found.lpips_after)))
