"""The commands of those who measure, train and judge: bench, build, evaluate, finetune, study, train."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engines.training.apart import Gain
    from puppet.portrait import Selection
    from puppet.types import Engine


def bench(args: argparse.Namespace) -> int:
    from engines import load
    from engines.benchmark import GMACS, ceiling_gmacs_per_s, paces
    from engines.neural import DEFAULT
    from puppet import bench as live
    from puppet.portrait import embed
    from puppet.recording import Recording
    from puppet.settings import asset, sample_portraits

    with load(args.engine) as engine:
        puppet, driver = (embed(path, engine, long_side_px=args.size) for path in sample_portraits()[:2])
        motion = Recording.load(asset("sample.motion"))
        report = live.bench(engine, driver=driver, puppet=puppet, motion=motion, seconds=args.seconds)
    ceiling, runners = ceiling_gmacs_per_s(), list(paces(DEFAULT))
    if args.json:
        network = {"gmacs": GMACS, "ceiling_gmacs_per_s": ceiling, "runners": [asdict(pace) for pace in runners]}
        print(json.dumps(asdict(report) | {"network": network}))
        return 0
    print(f"live: {report.fps:.1f} fps of 30, {report.width_px}x{report.height_px}, engine {report.engine}")
    for stage, p50_ms in report.p50_ms.items():
        print(f"  {stage:10}{p50_ms:7.1f} ms, 95 % within {report.p95_ms[stage]:.1f} ms")
    print("  dropped   " + ", ".join(f"{count} before {stage}" for stage, count in report.drops.items()))
    print(f"offline: {report.offline_fps:.1f} fps, decoding and encoding included")
    print(f"network: {GMACS} GMACs a frame; this computer's cores do {ceiling:.0f} GMAC/s in float32 at most")
    for pace in runners:
        print(f"  {pace.runner:12}{pace}")
    return 0


def train(args: argparse.Namespace) -> int:
    from puppet.settings import cache_dir
    from puppet.types import PuppetError

    with _training_libraries():
        from engines.neural import DEFAULT
        from engines.training import clips, loop, losses
        from engines.training.critic import CriticTrainer
        from engines.training.rigged import rig_of
    model = args.model
    if args.adversary and model in {"critic", "rig"}:
        raise PuppetError(f"A {model} is no generator; name --adversary with one, or leave it out.")
    if args.rig and model == "rig":
        raise PuppetError("A rig is trained without another; leave --rig out.")
    logging.getLogger("engines.training").setLevel(logging.INFO)  # progress, and the time that is left
    training, validation = clips.split(clips.find_clips(args.data), clips.validation_identities())
    config = loop.Config(model=model, steps=args.steps, batch=args.batch)
    if args.adversary:
        config = replace(config, discriminator=args.adversary, weights=losses.ADVERSARIAL)
    if model == "rig":
        config = replace(config, learning_rate=loop.RIG_RATE, weights=losses.FLOW)
    rig = None if model == "rig" else rig_of(args.rig or DEFAULT)
    trained = CriticTrainer if model == "critic" else partial(loop.Trainer, rig=rig)
    loop.train(
        training,
        validation,
        args.out,
        config=config,
        cache=cache_dir() / "training",
        rig=rig,
        start=args.start,
        trained=trained,
    )
    return 0


def evaluate(args: argparse.Namespace) -> int:
    from engines import load

    with _training_libraries():
        from engines.neural import DEFAULT, NeuralEngine
        from engines.training import clips, table
        from engines.training.evaluation import Judge
        from engines.training.shots import spread
    found = clips.find_clips(args.data)
    if args.held_out:
        _, found = clips.split(found, clips.validation_identities())
    if args.clips:
        found = [found[index] for index in sorted(spread(range(len(found)), args.clips))]
    weights = Path(args.engine) if args.engine.endswith(".safetensors") else None
    with NeuralEngine(weights) if weights else load(args.engine) as engine, load("warp") as warp:
        rows = table.contestants(
            engine,
            args.against,
            shots=args.shots or (table.SHOTS if args.table1 else (1,)),
            warp=warp if args.table1 else None,
            tuned_from=(weights or DEFAULT) if args.tuned else None,
        )
        results = Judge().compare(rows, found, progress=True)
    summaries = [summary for summary, _ in results]
    if args.json:
        known = [
            {name: None if value != value else value for name, value in asdict(each).items()} for each in summaries
        ]
        print(json.dumps(known))  # what is not a number is null
    elif args.table1:
        print(table.as_text(summaries))
    else:
        for summary in summaries:
            figures = asdict(summary).items()
            print(
                "  ".join(f"{name} {value:.3f}" if isinstance(value, float) else str(value) for name, value in figures)
            )
    return 0


def finetune(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    with _training_libraries():
        from engines.training.tuning import tune
    logging.getLogger("puppet.album").setLevel(logging.INFO)  # how many frames of a video are taken
    bar_format = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    with tqdm(desc="tuning", total=1.0, bar_format=bar_format, disable=None) as bar:

        def show(done: float) -> bool:
            bar.update(done - bar.n)
            return True

        report = tune(args.portrait, args.out, also=args.also, progress=show)
    judged = "pictures that were kept back" if report.held_back else "the picture, from motions that were kept back"
    gain = f"{100 * (1 - report.lpips_after / report.lpips_before):.0f} % nearer to {judged}"
    if report.stopped:
        raise KeyboardInterrupt(f"Stopped; {args.out} holds the best so far, {gain}.")
    if args.json:
        print(json.dumps(asdict(report)))
    else:
        count = f"{report.pictures} picture{'s' * (report.pictures > 1)}"
        print(f"{args.out}: tuned to {count} in {report.seconds:.0f} s; {gain} (LPIPS).")
    return 0


class Tuning:
    """What `finetune` does, for the window; see `ui.backstage.Tuning`."""

    engine = "neural"

    def tune(
        self,
        portrait: Path,
        out: Path,
        *,
        also: Sequence[Path],
        selection: Selection,
        progress: Callable[[float | None], bool],
    ) -> Gain:
        from engines.training import apart

        with _training_libraries():
            return apart.tune(portrait, out, also=also, selection=selection, progress=progress)

    def load(self, portrait: Path, tuned: Path | None) -> Engine:
        from engines.neural import NeuralEngine
        from engines.tuned import TunedEngine

        return TunedEngine(tuned, portrait=portrait) if tuned else NeuralEngine()


def build(args: argparse.Namespace) -> int:
    from engines.neural import DEFAULT

    weights = args.weights or DEFAULT
    if args.tensorrt:
        _prepare_card(weights)
        return 0
    with _training_libraries():
        from engines import build as graphs
    for path in graphs.build(weights):
        print(path)
    return 0


def _prepare_card(weights: Path) -> None:
    from tqdm import tqdm

    from engines.preparation import prepare

    with tqdm(desc="plans for the card", total=1.0, bar_format="{l_bar}{bar}| {elapsed}", disable=None) as bar:

        def report(done: float) -> bool:
            bar.update(done - bar.n)
            return True

        prepare(weights, progress=report)


class Card:
    """The graphics card, for the window; see `ui.backstage.Card`."""

    def is_wanted(self) -> bool:
        from engines import preparation

        return preparation.is_wanted()

    def prepare(self, progress: Callable[[float], bool]) -> None:
        from engines import preparation

        preparation.prepare(progress=progress)


def study(args: argparse.Namespace) -> int:
    from puppet import study

    if args.answers:
        shares = study.tally(args.folder, args.answers)
        print(study.as_json(shares) if args.json else "\n".join(map(study.sentence, shares)))
        return 0
    page, questions = study.write_page(args.folder)
    if args.json:
        print(json.dumps({"page": str(page), "questions": len(questions)}))
    else:
        print(f"{page}: {len(questions)} questions; open it in a browser, or pass it on.")
    return 0


@contextmanager
def _training_libraries() -> Iterator[None]:
    from puppet.types import PuppetError

    try:
        yield
    except ImportError as error:
        raise PuppetError(
            f"The library {error.name} is missing, which only training needs: pip install 'portrait-puppet[train]'."
        ) from error
