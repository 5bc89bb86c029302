"""Tuning the generator to one person at home, from a few pictures (section 3.4 of Zakharov et al. 2019).

It starts from what training left: psi' = P ê of the pictures' mean embedding, which from then on is a constant of this
person, and the weights as they are. On trial, some pictures are kept back, which tells for how many steps they come
nearer; then it learns anew from all of them for as long. A single picture makes pseudo-pairs, of which some are kept
back, and the trial is all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from engines.neural import DEFAULT
from engines.training import losses
from engines.training.loop import Config
from engines.training.own import own_pairs
from engines.training.pseudo import pseudo_pairs
from engines.training.tuner import Figures, Tuner
from engines.tuned import Tuned, digest
from puppet.album import gather
from puppet.overlay import Album
from puppet.portrait import WHOLE, Selection
from puppet.types import Portrait, PuppetError

CONFIG: Final = Config(
    steps=200,
    batch=4,
    learning_rate=1e-4,
    warm_up=20,
    # VGG16's loss of a part gains less, and takes a third of the time.
    weights=losses.Weights(whole=3, crop=0, identity=0.5),
    bf16=torch.backends.cpu.get_cpu_capability().startswith("AVX512"),  # others would only imitate it
)
ALONE_STEPS: Final = 50  # of a single picture, which is soon known by heart
MOST_S: Final = 480.0  # however slow the computer is, trial and all
EVERY: Final = 25  # steps, what is kept back is looked at
PATIENCE: Final = 4  # such looks without a gain
LEAST_GAIN: Final = 0.01  # of LPIPS, for which a file is worth writing
OPENINGS_SLACK: Final = 1.02  # by which mouth and eyes may be farther from the truth

Progress = Callable[[float], bool]  # told what part is done, 0..1; returns whether to go on


class NoGainError(PuppetError, ValueError):
    """Tuning to these pictures would not make the puppet more like them."""


class TuningStopped(KeyboardInterrupt):
    """Ctrl-C, or whoever was told of the progress, ended it before anything was gained."""


@dataclass(frozen=True, slots=True)
class Report:
    """What tuning did; all differences are of the pictures kept back, or of the pseudo-pairs of a single one."""

    pictures: int  # of the person, the portrait included
    held_back: int  # of these, on trial; none of a single one
    steps: int  # of the trial
    best_step: int  # of these; for as long as that, it learnt from all pictures
    seconds: float
    lpips_before: float  # AlexNet
    lpips_after: float
    openings_before: float  # mean difference in mouth and eyes, 0..1
    openings_after: float
    stopped: bool  # before its end


@dataclass(frozen=True, slots=True)
class _Kept:
    figures: Figures
    step: int
    state: dict[str, Tensor]


class _Course:
    """How far it has come, which `progress` is told and may stop; the clock ends what takes too long."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._begun_s = progress, time.monotonic()
        self.stopped = False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun_s

    def goes_on(self, part: float, *, start: float, end: float) -> bool:
        """Whether to, where `part` (0..1) is done of the stretch from `start` to `end` of the whole (0..1)."""
        spent = self.seconds / MOST_S
        self.stopped = not self._progress(min(end, max(start + part * (end - start), spent)))
        return not self.stopped and spent < end


def tune(
    portrait: Path,
    out: Path,
    *,
    also: Sequence[Path] = (),
    selection: Selection = WHOLE,
    base: Path = DEFAULT,
    progress: Progress = lambda done: True,
) -> Report:
    """Tune to who is selected in the picture file `portrait`, in further pictures and videos too, and write `out`.

    Raises what `tuned_to` and `album.gather` raise, and TunedError; then `out` is what it was.
    """
    tuned, report = tuned_to(
        gather(portrait, also, selection=selection), digest(portrait), base=base, progress=progress
    )
    tuned.save(out)
    return report


def tuned_to(
    portrait: Portrait,
    key: str,
    *,
    base: Path = DEFAULT,
    config: Config = CONFIG,
    progress: Progress = lambda done: True,
) -> tuple[Tuned, Report]:
    """Tune to a portrait or an album, known by `key` from then on.

    KeyboardInterrupt, or `progress`, stops it: the best of the trial is kept, as the report says. Raises NoGainError
    where there is none, or TuningStopped if it was stopped before.
    """
    course = _Course(progress)
    if isinstance(portrait, Album) and portrait.views:
        own = own_pairs(portrait, base=base)
    else:
        own, config = pseudo_pairs(portrait, base=base), replace(config, steps=min(config.steps, ALONE_STEPS))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trial = Tuner(own, own.trained, base=base, config=config, device=device)
    before = trial.judge()
    best = _Kept(before, 0, trial.state())
    # By which there is more to learn from than on trial; nothing more of a single picture.
    growth = own.pictures / (own.pictures - own.held_back) if own.held_back else 0.0
    state: dict[str, Tensor] | None = None
    try:
        while trial.step < config.steps and trial.step - best.step < PATIENCE * EVERY:
            if not course.goes_on(trial.step / config.steps, start=0, end=1 / (1 + growth)):
                break
            trial.learn()
            if trial.step % EVERY == 0 or trial.step == config.steps:
                now = trial.judge()
                if now.lpips < best.figures.lpips and _harmless(now, before):
                    best = _Kept(now, trial.step, trial.state())
        if growth and best.figures.lpips <= (1 - LEAST_GAIN) * before.lpips and not course.stopped:
            longer = replace(config, steps=round(growth * config.steps))
            final = Tuner(own, range(len(own.pairs.pairs)), base=base, config=longer, device=device)
            learnt = _learnt(final, round(growth * best.step), course, start=1 / (1 + growth))
            if learnt and final.judge().lpips <= best.figures.lpips:  # of what it knows by now: else it went astray
                state = final.state()
    except KeyboardInterrupt:
        course.stopped = True
    after = best.figures
    if after.lpips > (1 - LEAST_GAIN) * before.lpips:
        if course.stopped:
            raise TuningStopped("Stopped before anything was gained; nothing was written.")
        raise NoGainError(
            f"Tuning brought nothing nearer to what was kept back to judge by (LPIPS {after.lpips:.4f}, before "
            f"{before.lpips:.4f}) without harm, so nothing was written; give more, and more different, pictures with "
            "--also."
        )
    report = Report(
        pictures=own.pictures,
        held_back=own.held_back,
        steps=trial.step,
        best_step=best.step,
        seconds=round(course.seconds, 1),
        lpips_before=before.lpips,
        lpips_after=after.lpips,
        openings_before=before.openings,
        openings_after=after.openings,
        stopped=course.stopped,
    )
    tensors = {name: value.numpy() for name, value in (state or best.state).items()}
    return Tuned(tensors, digest(base), key, lpips_before=before.lpips, lpips_after=after.lpips), report


def _harmless(now: Figures, before: Figures) -> bool:
    openings = now.openings <= OPENINGS_SLACK * before.openings
    return openings and now.unlikeness <= before.unlikeness


def _learnt(tuner: Tuner, steps: int, course: _Course, *, start: float) -> bool:
    """Take so many steps, the rest of the course; whether it was not cut short."""
    while tuner.step < steps:
        if not course.goes_on(tuner.step / steps, start=start, end=1):
            return False
        tuner.learn()
    return True
