"""The command line, and the place where everything is put together; with `workbench`, all that knows all packages."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from puppet import workbench
from puppet.arguments import parser

if TYPE_CHECKING:
    from puppet.types import Engine

PACKAGES = ("puppet", "engines", "calibration", "ui")

LARGEST_SIZE_PX = 16384
# Read when numpy and OpenCV load. Their threads wait actively for more work, which costs a frame half as much again of
# the processor's time; numpy's are not needed at all, since our products of matrices are small.
THREADS: Final = {
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_THREAD_POOL_ACTIVE_WAIT_MAIN": "0",
    "OPENCV_THREAD_POOL_ACTIVE_WAIT_WORKER": "0",
}

logger = logging.getLogger("puppet")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. The exit code is 0, 1 for a failure, 2 for bad input or usage, 130 for Ctrl-C."""
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parser().parse_args(arguments)
    if "handler" not in args:
        args = parser().parse_args([*arguments, "run"])
    debug = args.debug or os.environ.get("PUPPET_DEBUG") == "1"
    with _logging(debug=debug), _signals():
        try:
            code = HANDLERS[args.handler](args)
            if sys.stdout is not None:  # whoever started us may have closed it
                sys.stdout.flush()
        except BrokenPipeError:  # whoever read our output has gone, as in `puppet doctor | head -1`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor may the interpreter's last flush fail
            return 1
        except KeyboardInterrupt as stop:
            _say(str(stop) or ("Stopped; nothing was written." if "out" in args else "Stopped."))
            return 130
        except Exception as error:
            if debug:
                traceback.print_exc()
            return _explain(error)
    return code


def _explain(error: Exception) -> int:
    from puppet.types import PuppetError

    if isinstance(error, PuppetError):
        _say(str(error))
        return 2
    _say(
        f"An unexpected error stopped the program ({type(error).__name__}: {error}). Please report it with what the "
        "same command prints with --debug, and with the output of `puppet doctor`."
    )
    return 1


def _say(sentence: str) -> None:
    print(f"puppet: {sentence}", file=sys.stderr)


@contextmanager
def _logging(*, debug: bool) -> Iterator[None]:
    """Our own warnings go to stderr; those of libraries, and everything below, only with --debug."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("puppet: %(message)s"))
    handler.addFilter(lambda record: debug or record.name.partition(".")[0] in PACKAGES)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if debug else logging.WARNING)
    logging.captureWarnings(True)
    if not debug:
        os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        root.setLevel(level)


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM acts as Ctrl-C, so that `render` keeps what was done; and Ctrl-C acts where a shell has it ignored."""
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _check_output(out: Path, *inputs: Path) -> None:
    """Refuse, before any work is done, an output without a place, or one that would replace what it is made from."""
    from puppet.types import PuppetError

    if not out.parent.is_dir():
        raise PuppetError(f"{out} cannot be written: there is no folder {out.parent}.")
    for path in inputs:
        if out.exists() and path.exists() and out.samefile(path):
            raise PuppetError(f"{out} is the input {path} itself and would be lost; name another output.")


def _render(args: argparse.Namespace) -> int:
    from engines import load
    from engines.views import pictures_in
    from puppet.album import embed
    from puppet.backdrop import with_backdrop
    from puppet.render import render

    _check_output(args.out, args.portrait, args.driving, *args.also, *filter(None, [args.tuned]))
    logging.getLogger("puppet.album").setLevel(logging.INFO)  # how many frames of a video are taken
    with _tuned_engine(args) if args.tuned else load(args.engine, live=False) as engine:
        portrait = embed(args.portrait, engine, also=args.also, long_side_px=args.size)
        embedding = with_backdrop(portrait, args.background)
        pictures = pictures_in(embedding)
        report = render(
            embedding, args.driving, args.out, engine=engine, mode=args.motion, progress=True, realism=args.json
        )
    if args.json:
        print(json.dumps(asdict(report) | {"pictures": pictures}))
    else:
        made_of = f", made of {pictures} pictures" if args.also else ""
        print(
            f"{args.out}: {report.frames} frames, {report.width_px}x{report.height_px}, {report.fps:g} fps{made_of}; "
            f"took {report.seconds:.1f} s ({report.frames / report.seconds:.0f} fps)"
        )
    return 0


def _tuned_engine(args: argparse.Namespace) -> Engine:
    from engines.tuned import TunedEngine
    from puppet.types import PuppetError

    if args.engine not in ("auto", TunedEngine.name):
        raise PuppetError(f"What was tuned is the neural engine; leave out --engine {args.engine}.")
    return TunedEngine(args.tuned, portrait=args.portrait)


def _stream(args: argparse.Namespace) -> int:
    from calibration import store
    from engines import load
    from puppet.backdrop import with_backdrop
    from puppet.headless import open_output, show
    from puppet.live import open_source
    from puppet.portrait import embed
    from puppet.settings import sample_portraits

    with load(args.engine) as engine, open_output(args.to, port=args.port) as (sink, place):
        portrait = embed(args.portrait or sample_portraits()[0], engine, long_side_px=args.size)
        embedding = with_backdrop(portrait, args.background)
        opened = open_source(args.camera)
        calibration = store.load(opened.camera) if opened.camera else None
        if args.json:
            about = {"to": args.to, "place": place, "engine": engine.name, "camera": opened.camera}
            print(json.dumps(about), flush=True)
        elif args.to == "http":
            print(f"{place}\nOpen it in OBS as a Browser source, or in a browser here. Ctrl-C ends it.", flush=True)
        else:
            print(f"Other programs see the portrait as the camera {place}. Ctrl-C ends it.", flush=True)
        show(opened, embedding, sink, engine=engine, mode=args.motion, calibration=calibration, keep=store.save)
    return 0


def _finetune(args: argparse.Namespace) -> int:
    _check_output(args.out, args.portrait, *args.also)
    return workbench.finetune(args)


def _motion(args: argparse.Namespace) -> int:
    from puppet.render import record

    _check_output(args.out, args.driving)
    recording = record(args.driving, progress=True)
    recording.save(args.out)
    print(f"{args.out}: {len(recording)} frames, {float(recording.fps):g} fps")
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from engines import BACKENDS, load
    from puppet.doctor import examine

    findings = []
    for finding in examine(BACKENDS, load):
        findings.append(finding)
        if not args.json:
            mark = "ok" if finding.ok else "FAILED" if finding.vital else "missing"
            print(f"{mark:8}{finding.name:17}{finding.detail}", flush=True)
            if finding.advice:
                print(f"{'':25}-> {finding.advice}")
    well = all(finding.ok or not finding.vital for finding in findings)
    if args.json:
        print(json.dumps({"ok": well, "findings": [asdict(finding) for finding in findings]}))
    else:
        print("The main job works." if well else "The main job does not work; see FAILED above.")
    return 0 if well else 1


def _send_to_camera(args: argparse.Namespace) -> int:
    from puppet import sender

    sender.run(memory=args.memory, device=args.device)
    return 0


def _run(args: argparse.Namespace) -> int:
    from engines import load
    from puppet import settings as stored
    from puppet.library import Library
    from ui import app

    file = args.settings or stored.settings_path()
    settings = stored.load(file).changed(_chosen(args) | stored.parsed(args.set))
    app.run(settings, load_engine=load, file=file, library=Library(), tuning=workbench.Tuning(), card=workbench.Card())
    return 0


def _chosen(args: argparse.Namespace) -> dict[str, str | int]:
    """The settings that were given as flags of `run`."""
    for path in (args.portrait, Path(args.camera) if args.camera and Path(args.camera).suffix else None):
        _check_input(path)
    flags = {
        "camera.device": args.camera,
        "window.portrait": str(args.portrait.resolve()) if args.portrait else None,
        "window.theme": args.theme,
        "window.language": args.language,
        "engine.name": args.engine,
        "engine.preset": args.preset,
        "engine.size_px": LARGEST_SIZE_PX if args.size is None else args.size or None,  # None is the portrait's own
        "motion.mode": args.motion,
    }
    if args.background:
        kind = {"#": "colour"}.get(args.background[0], "picture" if Path(args.background).suffix else args.background)
        flags["background.kind"] = kind
        if kind in ("colour", "picture"):
            flags[f"background.{kind}"] = args.background
    return {name: value for name, value in flags.items() if value is not None}


def _check_input(path: Path | None) -> None:
    from puppet.types import PuppetError

    if path is not None and not path.exists():
        raise PuppetError(f"There is no file {path}; check its name.")


HANDLERS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "bench": workbench.bench,
    "build": workbench.build,
    "doctor": _doctor,
    "evaluate": workbench.evaluate,
    "finetune": _finetune,
    "motion": _motion,
    "render": _render,
    "run": _run,
    "send_to_camera": _send_to_camera,
    "stream": _stream,
    "study": workbench.study,
    "train": workbench.train,
}


def program() -> NoReturn:
    """The command as a process of its own, which ends well though a thread was left behind in foreign code.

    Such a thread (in a camera's driver, or at a portrait that nobody waits for any more) dies when it comes back while
    the interpreter is ending, and takes the process down with it.
    """
    code = main()
    if any(thread.daemon for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    program()
