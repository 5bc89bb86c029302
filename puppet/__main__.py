"""The command line, and the place where everything is put together: the only file that knows all four packages."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # each handler imports what it needs, so that --help is there at once
    from puppet.live import Live, Source
    from puppet.types import Calibration, PortraitEmbedding, Sink

PACKAGES = ("puppet", "engines", "calibration", "ui")
LONG_SIDE_PX = 1024
SMALLEST_SIZE_PX = 64
BENCH_S = 10.0

logger = logging.getLogger("puppet")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. The exit code is 0, 1 for a failure, 2 for bad input or usage, 130 for Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    args = parser.parse_args(arguments)
    if "handler" not in args:
        args = parser.parse_args([*arguments, "run"])
    debug = args.debug or os.environ.get("PUPPET_DEBUG") == "1"
    with _logging(debug=debug), _signals():
        try:
            code: int = args.handler(args)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read our output has gone, as in `puppet doctor | head -1`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor may the interpreter's last flush fail
            return 1
        except KeyboardInterrupt as stop:
            _say(str(stop) or "Stopped.")
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="puppet",
        description="Bring a portrait to life with your face, live or in a video. Without a command: run.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.add_argument("--debug", action="store_true", help="show every message, and tracebacks of errors")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    machine = argparse.ArgumentParser(add_help=False)
    machine.add_argument("--json", action="store_true", help="print the result as one line of JSON")
    animated = argparse.ArgumentParser(add_help=False)
    animated.add_argument("--engine", default="auto", metavar="NAME", help="auto, or one that `puppet doctor` lists")
    animated.add_argument(
        "--size",
        type=_size,
        default=LONG_SIDE_PX,
        metavar="native|N",
        help=f"longest side of the picture in px, at most the portrait's own (default {LONG_SIDE_PX})",
    )
    driven = argparse.ArgumentParser(add_help=False)
    driven.add_argument(
        "--motion",
        choices=("relative", "absolute"),
        default="relative",
        help="follow the driver's changes since rest (default), or lie exactly over the driver's face",
    )

    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    run = commands.add_parser(
        "run", parents=[common, animated, driven], help="the window: a portrait follows you, live"
    )
    run.add_argument("--portrait", type=Path, metavar="P", help="picture of a face (default: a bundled one)")
    run.add_argument("--camera", metavar="N|FILE", help="camera by number or name, or a video or .motion file")
    run.set_defaults(handler=_run)

    render = commands.add_parser(
        "render", parents=[common, animated, driven, machine], help="a portrait and a driving video make a new video"
    )
    render.add_argument("portrait", type=Path, metavar="PORTRAIT", help="picture of a face")
    render.add_argument("driving", type=Path, metavar="DRIVING", help="video of a face, or a .motion file")
    render.add_argument("out", type=Path, metavar="OUT", help=".mp4, .gif, or a folder for numbered pictures")
    render.set_defaults(handler=_render)

    motion = commands.add_parser("motion", parents=[common], help="record the motion of a face, without its picture")
    motion.add_argument("driving", type=Path, metavar="DRIVING", help="video of a face")
    motion.add_argument("out", type=_motion_path, metavar="OUT.motion", help="the file to write")
    motion.set_defaults(handler=_motion)

    doctor = commands.add_parser("doctor", parents=[common, machine], help="check what the program leans on")
    doctor.set_defaults(handler=_doctor)

    bench = commands.add_parser("bench", parents=[common, animated, machine], help="measure the speed on this computer")
    bench.add_argument(
        "--seconds", type=_seconds, default=BENCH_S, metavar="S", help=f"of the live run (default {BENCH_S:g})"
    )
    bench.set_defaults(handler=_bench)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when asked: that takes as long as all the rest of the command line."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from puppet.settings import version

        print(f"puppet {version()}")
        parser.exit()


def _size(text: str) -> int | None:
    """Px of the long side; None for the portrait's own."""
    if text == "native":
        return None
    if not text.isdecimal() or int(text) < SMALLEST_SIZE_PX:
        raise argparse.ArgumentTypeError(f"{text!r} is neither native nor a number of px from {SMALLEST_SIZE_PX} up")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to 3600")
    return seconds


def _motion_path(text: str) -> Path:
    if not text.lower().endswith(".motion"):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .motion")
    return Path(text)


def _keep_apart(out: Path, *inputs: Path) -> None:
    """Refuse an output that would replace what it is made from."""
    from puppet.types import PuppetError

    for path in inputs:
        if out.exists() and path.exists() and out.samefile(path):
            raise PuppetError(f"{out} is the input {path} itself and would be lost; name another output.")


def _render(args: argparse.Namespace) -> int:
    from engines import load
    from puppet.portrait import embed
    from puppet.render import render

    _keep_apart(args.out, args.portrait, args.driving)
    with load(args.engine) as engine:
        embedding = embed(args.portrait, engine, long_side_px=args.size)
        report = render(embedding, args.driving, args.out, engine=engine, mode=args.motion, progress=True)
    if args.json:
        print(json.dumps(asdict(report)))
    else:
        print(
            f"{args.out}: {report.frames} frames, {report.width_px}x{report.height_px}, {report.fps:g} fps; "
            f"took {report.seconds:.1f} s ({report.frames / report.seconds:.0f} fps)"
        )
    return 0


def _motion(args: argparse.Namespace) -> int:
    from puppet.render import record

    _keep_apart(args.out, args.driving)
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


def _bench(args: argparse.Namespace) -> int:
    from engines import load
    from puppet.bench import bench
    from puppet.portrait import embed
    from puppet.recording import Recording
    from puppet.settings import asset, sample_portraits

    with load(args.engine) as engine:
        puppet, driver = (embed(path, engine, long_side_px=args.size) for path in sample_portraits()[:2])
        motion = Recording.load(asset("sample.motion"))
        report = bench(engine, driver=driver, puppet=puppet, motion=motion, seconds=args.seconds)
    if args.json:
        print(json.dumps(asdict(report)))
        return 0
    print(f"live: {report.fps:.1f} fps of 30, {report.width_px}x{report.height_px}, engine {report.engine}")
    for stage, p50_ms in report.p50_ms.items():
        print(f"  {stage:10}{p50_ms:7.1f} ms, 95 % within {report.p95_ms[stage]:.1f} ms")
    print("  dropped   " + ", ".join(f"{count} before {stage}" for stage, count in report.drops.items()))
    print(f"offline: {report.offline_fps:.1f} fps, decoding and encoding included")
    return 0


def _run(args: argparse.Namespace) -> int:
    from calibration import store
    from engines import load
    from puppet.live import Live
    from puppet.motion import Retargeter
    from puppet.portrait import embed
    from puppet.settings import sample_portraits
    from ui import app

    def embed_aside(path: Path) -> PortraitEmbedding:
        """With an engine of its own, because the live one belongs to the thread that paints."""
        with load(args.engine) as engine:
            return embed(path, engine, long_side_px=args.size)

    portraits = sample_portraits()
    chosen = args.portrait or portraits[0]
    with load(args.engine) as engine:
        embedding = embed(chosen, engine, long_side_px=args.size)
        source, camera, notice = _open_source(args.camera)
        calibration = store.load(camera) if camera else None
        if calibration is not None:
            notice = "Your face at rest is known from last time; press C to take it anew."

        def keep(calibration: Calibration) -> None:
            if camera:
                try:
                    store.save(calibration, camera)
                except store.StoreError as error:
                    logger.warning("%s", error)

        def make_live(sink: Sink) -> Live:
            retargeter = Retargeter(mode=args.motion, calibration=calibration)
            return Live(
                source, engine=engine, embedding=embedding, retargeter=retargeter, sinks=[sink], calibrated=keep
            )

        app.run(make_live, embed=embed_aside, portraits=portraits, chosen=chosen, notice=notice)
    return 0


def _open_source(wanted: str | None) -> tuple[Source, str, str]:
    """What drives the portrait; the camera's name, if it is one; and what the user should know of it."""
    from puppet.camera import Paced, Webcam, cameras
    from puppet.recording import Recording
    from puppet.settings import asset
    from puppet.video import CameraError, VideoFile

    known = {str(info.device): info.name for info in cameras()}
    if wanted is None:
        reason = "No camera was found."
        for device, name in known.items():
            try:
                return Webcam(int(device)), name, ""
            except CameraError as error:
                reason = str(error)
        notice = f"{reason} The bundled motion plays instead; connect a camera and start again."
        logger.warning(notice)
        return Paced(Recording.load(asset("sample.motion"))), "", notice
    if wanted.isdecimal():
        return Webcam(int(wanted)), known.get(wanted, wanted), ""
    path = Path(wanted)
    if path.is_char_device() or wanted in known.values():
        return Webcam(wanted), wanted, ""
    return Paced(Recording.load(path) if path.suffix.lower() == ".motion" else VideoFile(path)), "", ""


if __name__ == "__main__":
    sys.exit(main())
