"""What can be said on the command line; nothing heavy is imported, so that --help is there at once."""

from __future__ import annotations

import argparse
from pathlib import Path

from puppet import __version__

LONG_SIDE_PX = 1024
SMALLEST_SIZE_PX = 64
BENCH_S = 10.0
MOST_SHOTS = 32


def parser() -> argparse.ArgumentParser:
    """The parser; `handler` in its result is the name of the command that `puppet.__main__` runs."""
    parser = argparse.ArgumentParser(
        prog="puppet",
        description="Bring a portrait to life with your face, live or in a video. Without a command: run.",
    )
    parser.add_argument("--version", action="version", version=f"puppet {__version__}")
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

    live = argparse.ArgumentParser(add_help=False)
    live.add_argument("--portrait", type=Path, metavar="P", help="picture of a face (default: a bundled one)")
    live.add_argument("--camera", metavar="N|FILE", help="camera by number or name, or a video or .motion file")
    album = argparse.ArgumentParser(add_help=False)
    album.add_argument(
        "--also",
        type=Path,
        action="append",
        default=[],
        metavar="PICTURE",
        help="a further picture or a video of the same person, for a better likeness; may be given again",
    )
    before = argparse.ArgumentParser(add_help=False)
    before.add_argument(
        "--background",
        default="own",
        metavar="B",
        help="own (default), blur, green, transparent, a colour such as #336699, or a picture file",
    )

    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    run = commands.add_parser("run", parents=[common, live], help="the window: a portrait follows you, live")
    run.add_argument("--engine", metavar="NAME", help="auto, or one that `puppet doctor` lists")
    run.add_argument("--preset", choices=("auto", "quality", "speed"), help="how fine the portrait is painted")
    run.add_argument(
        "--size", type=_size, default=0, metavar="native|N", help="longest side of the portrait in px, at most"
    )
    run.add_argument("--motion", choices=("relative", "absolute"), help="follow your changes, or lie over you")
    run.add_argument("--background", metavar="B", help="own, blur, green, transparent, #rrggbb, or a picture file")
    run.add_argument("--theme", choices=("system", "light", "dark"), help="how the window looks")
    run.add_argument("--language", choices=("en", "zh"), help="what the window speaks")
    run.add_argument(
        "--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="any other setting, e.g. motion.head=1.2"
    )
    run.add_argument("--settings", type=Path, metavar="FILE", help="instead of your own settings file")
    run.set_defaults(handler="run")

    render = commands.add_parser(
        "render",
        parents=[common, animated, driven, album, before, machine],
        help="a portrait and a driving video make a new video",
    )
    render.add_argument("portrait", type=Path, metavar="PORTRAIT", help="picture of a face")
    render.add_argument("driving", type=Path, metavar="DRIVING", help="video of a face, or a .motion file")
    render.add_argument("out", type=Path, metavar="OUT", help=".mp4, .gif, or a folder for numbered pictures")
    render.add_argument("--tuned", type=Path, metavar="FILE", help="what finetune made for this portrait")
    render.set_defaults(handler="render")

    stream = commands.add_parser(
        "stream",
        parents=[common, animated, driven, live, before, machine],
        help="the same as run, without a window: to OBS or any browser, or as a camera",
    )
    stream.add_argument(
        "--to", choices=("http", "virtual-camera"), default="http", help="a page for OBS (default), or a camera"
    )
    stream.add_argument("--port", type=int, metavar="N", help="of the page; 0 for any that is free")
    stream.set_defaults(handler="stream")

    motion = commands.add_parser("motion", parents=[common], help="record the motion of a face, without its picture")
    motion.add_argument("driving", type=Path, metavar="DRIVING", help="video of a face")
    motion.add_argument("out", type=_motion_path, metavar="OUT.motion", help="the file to write")
    motion.set_defaults(handler="motion")

    doctor = commands.add_parser("doctor", parents=[common, machine], help="check what the program leans on")
    doctor.set_defaults(handler="doctor")

    bench = commands.add_parser("bench", parents=[common, animated, machine], help="measure the speed on this computer")
    bench.add_argument(
        "--seconds", type=_seconds, default=BENCH_S, metavar="S", help=f"of the live run (default {BENCH_S:g})"
    )
    bench.set_defaults(handler="bench")

    train = commands.add_parser("train", parents=[common], help="teach the learned generator from clips of faces")
    train.add_argument("data", type=Path, metavar="DATA", help="a folder of clips, ours or as VoxCeleb2's")
    train.add_argument("out", type=Path, metavar="OUT", help="folder for checkpoint, weights, pictures and logs")
    train.add_argument(
        "--model",
        choices=("ours", "rig", "paper", "paper-128", "x2face", "pix2pixhd", "critic"),
        default="ours",
        help="a generator: ours (default), the paper's or one like its rivals; the rig that ours stands on; or the "
        "realism score's critic",
    )
    train.add_argument("--steps", type=int, default=20_000, metavar="N", help="when to end (default 20000)")
    train.add_argument("--batch", type=int, default=8, metavar="N", help="pairs a step (default 8)")
    train.add_argument(
        "--adversary",
        choices=("paper", "critic"),
        help="the second stage, against a discriminator: the paper's, or the light one of the realism score",
    )
    train.add_argument(
        "--start", type=Path, metavar="CHECKPOINT", help="begin from this, such as the first stage's checkpoint.pt"
    )
    train.add_argument(
        "--rig",
        type=Path,
        metavar="WEIGHTS",
        help="a rig for ours, or weights that hold one (default: bundled)",
    )
    train.set_defaults(handler="train")

    evaluate = commands.add_parser("evaluate", parents=[common, machine], help="judge an engine on clips of faces")
    evaluate.add_argument("engine", metavar="WEIGHTS|ENGINE", help="weights.safetensors, or an engine's name")
    evaluate.add_argument("data", type=Path, metavar="DATA", help="a folder of clips")
    evaluate.add_argument(
        "--shots",
        type=_shots,
        metavar="T,…",
        help="of how many frames of a clip each portrait is made (default 1; with --table1 1,8,32)",
    )
    evaluate.add_argument(
        "--table1", action="store_true", help="the paper's Table 1: the warp engine too, and a row for each"
    )
    evaluate.add_argument(
        "--against",
        type=Path,
        action="append",
        default=[],
        metavar="WEIGHTS",
        help="a rival that train made, such as an x2face or a pix2pixhd; may be given again",
    )
    evaluate.add_argument("--tuned", action="store_true", help="the engine tuned to each portrait too: minutes each")
    evaluate.add_argument("--clips", type=_count, metavar="N", help="of DATA at most, spread evenly (default all)")
    evaluate.add_argument(
        "--held-out", action="store_true", help="judge by the people of DATA whom the shipped weights never saw"
    )
    evaluate.set_defaults(handler="evaluate")

    finetune = commands.add_parser(
        "finetune",
        parents=[common, album, machine],
        help="make the learned generator personal, best from several pictures of one person",
    )
    finetune.add_argument("portrait", type=Path, metavar="PORTRAIT", help="picture of a face")
    finetune.add_argument("out", type=_tuned_path, metavar="OUT.tuned", help="the file to write, for render --tuned")
    finetune.set_defaults(handler="finetune")

    build = commands.add_parser("build", parents=[common], help="make the network's ONNX graphs beside its weights")
    build.add_argument("weights", type=Path, nargs="?", metavar="WEIGHTS", help="made by train (default: the bundled)")
    build.add_argument(
        "--tensorrt", action="store_true", help="instead, prepare them for this computer's NVIDIA card; needs no torch"
    )
    build.set_defaults(handler="build")

    study = commands.add_parser(
        "study",
        parents=[common, machine],
        help="a page that asks people which picture is real, or looks more like somebody",
        description="Write one page of blind questions, DIR/study.html, that needs no network; or say what answers to "
        "it mean. Each folder in DIR is a question, its files are pictures or videos (.png, .jpg, .webp, .gif, .mp4, "
        ".webm) named after what made them: with DIR/QUESTION/real.* beside ours.*, baseline.* … the page asks which "
        "one is real; with reference.* beside two or more, which looks more like the person in that.",
    )
    study.add_argument("folder", type=Path, metavar="DIR", help="a folder that holds a folder for each question")
    study.add_argument(
        "--answers",
        type=Path,
        action="append",
        metavar="CSV",
        help="what the page saved, to be counted with 95 %% intervals; may be given again",
    )
    study.set_defaults(handler="study")

    sender = commands.add_parser("virtual-camera-sender")  # unlisted: puppet.virtual_camera starts it
    sender.add_argument("--memory", required=True)
    sender.add_argument("--device")
    sender.set_defaults(handler="send_to_camera")
    return parser


def _size(text: str) -> int | None:
    """Px of the long side; None for the portrait's own."""
    if text == "native":
        return None
    if not text.isdecimal() or int(text) < SMALLEST_SIZE_PX:
        raise argparse.ArgumentTypeError(f"{text!r} is neither native nor a number of px from {SMALLEST_SIZE_PX} up")
    return int(text)


def _shots(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdecimal() and 1 <= int(part) <= MOST_SHOTS for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers from 1 to {MOST_SHOTS}, such as 1,8,32")
    return tuple(map(int, parts))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
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
    return _path(text, ".motion")


def _tuned_path(text: str) -> Path:
    return _path(text, ".tuned")


def _path(text: str, suffix: str) -> Path:
    if not text.lower().endswith(suffix):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in {suffix}")
    return Path(text)
