"""Making ready this computer's NVIDIA card: the plans for all that it is to run, which are built once and kept."""

from __future__ import annotations

from pathlib import Path

from engines import pace
from engines.canvas import SIDES_PX
from engines.neural import DEFAULT, NeuralEngine
from engines.plan import Progress
from engines.runner import RunnerUnavailable
from engines.trt import TensorRTRunner, lacks_plan


def is_wanted(weights: Path = DEFAULT) -> bool:
    """Whether there is a card that could run these weights, and nothing has been built for it yet."""
    return lacks_plan(weights)


def prepare(weights: Path = DEFAULT, *, progress: Progress) -> None:
    """Build what is missing, some seconds for each plan. Raises `runner.RunnerUnavailable` with the reason.

    Also if `progress`, which is told what part is done, stopped it; what was built until then is kept.
    """
    plans = 1 + len(SIDES_PX)
    built, last, going_on = 0, 0.0, True

    def report(done: float) -> bool:
        nonlocal built, last, going_on
        built, last = built + (done < last), done
        going_on = going_on and progress((built + done) / plans)
        return going_on

    with NeuralEngine(weights, ready=TensorRTRunner(weights, progress=report)) as engine:
        for side_px in SIDES_PX:
            if going_on:
                engine.painter(side_px)
    pace.forget()
    if not going_on:
        raise RunnerUnavailable("preparing the card was stopped")
