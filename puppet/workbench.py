"""The commands of those who measure, train and judge: bench, build, evaluate, study, train."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path


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
        figures = f"{pace.p50_ms:7.1f} ms, 95 % within {pace.p95_ms:.1f} ms, {pace.gmacs_per_s:.0f} GMAC/s"
        print(f"  {pace.runner:12}" + (pace.reason or figures))
    return 0


def train(args: argparse.Namespace) -> int:
    from puppet.settings import cache_dir

    with _training_libraries():
        from engines.training import clips, loop
    logging.getLogger("engines.training").setLevel(logging.INFO)  # progress, and the time that is left
    training, validation = clips.split(clips.find_clips(args.data), clips.validation_identities())
    config = loop.Config(model=args.model, steps=args.steps, batch=args.batch)
    loop.train(training, validation, args.out, config=config, cache=cache_dir() / "training")
    return 0


def evaluate(args: argparse.Namespace) -> int:
    from engines import load

    with _training_libraries():
        from engines.neural import NeuralEngine
        from engines.training import clips, evaluation
    found = clips.find_clips(args.data)
    if args.held_out:
        _, found = clips.split(found, clips.validation_identities())
    learned = args.engine.endswith(".safetensors")
    with NeuralEngine(Path(args.engine)) if learned else load(args.engine) as engine:
        judge = evaluation.Judge()
        paint = evaluation.engine_painter(engine)
        runs = [("static", evaluation.static_painter, 1), *((engine.name, paint, shots) for shots in args.shots)]
        summaries = [
            {"shots": shots} | asdict(judge.clips(name, painter, found, shots=shots)[0])
            for name, painter, shots in runs
        ]
    if args.json:
        print(json.dumps(summaries))
    else:
        for row in summaries:
            print(
                "  ".join(
                    f"{name} {value:.3f}" if isinstance(value, float) else str(value) for name, value in row.items()
                )
            )
    return 0


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

    from engines.trt import TensorRTRunner

    with tqdm(desc="plan for the card", total=1.0, bar_format="{l_bar}{bar}| {elapsed}", disable=None) as bar:

        def report(done: float) -> bool:
            bar.update(done - bar.n)
            return True

        TensorRTRunner(weights, progress=report).close()


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
