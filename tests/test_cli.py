"""The command line: what it refuses, and how it says so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from puppet import __version__
from puppet.__main__ import main
from puppet.recording import Recording
from puppet.settings import asset
from puppet.video import VideoFile

PORTRAIT = asset("portraits/hopper.jpg")
SAMPLE = asset("sample.motion")


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of a few frames."""
    sample = Recording.load(SAMPLE)
    path = tmp_path_factory.mktemp("brief") / "brief.motion"
    Recording(sample.fps, sample.width_px, sample.height_px, sample.faces[:5]).save(path)
    return path


def as_text(path: Path) -> Path:
    path.write_text("no picture at all", encoding="utf-8")
    return path


def truncated_jpeg(path: Path) -> Path:
    path.write_bytes(PORTRAIT.read_bytes()[:3000])
    return path


def one_pixel(path: Path) -> Path:
    cv2.imwrite(str(path), np.zeros((1, 1, 3), np.uint8))
    return path


def plain_wall(path: Path) -> Path:
    cv2.imwrite(str(path), np.full((256, 256, 3), 180, np.uint8))
    return path


def nothing(path: Path) -> Path:
    path.touch()
    return path


def missing(path: Path) -> Path:
    return path


def a_folder(path: Path) -> Path:
    path.mkdir()
    return path


def endless(path: Path) -> Path:
    path.symlink_to("/dev/zero")
    return path


def refusal(capsys: pytest.CaptureFixture[str], *arguments: Path | str) -> str:
    """Runs a command that must be refused; its one sentence."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("puppet: ")
    assert "Traceback" not in line
    return line


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (missing, "missing.jpg"),
        (as_text, "text.jpg"),
        (truncated_jpeg, "truncated.jpg"),
        (one_pixel, "dot.png"),
        (plain_wall, "wall.png"),
        (nothing, "empty.jpg"),
        (a_folder, "folder.jpg"),
        pytest.param(
            endless, "endless.jpg", marks=pytest.mark.skipif(sys.platform == "win32", reason="knows no such device")
        ),
    ],
)
def test_bad_portrait(
    make: Callable[[Path], Path], name: str, brief: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    portrait = make(tmp_path / name)
    folder = tmp_path / "out"
    folder.mkdir()
    assert name in refusal(capsys, "render", portrait, brief, folder / "out.mp4")
    assert not list(folder.iterdir())


@pytest.mark.parametrize("command", ["render", "motion"])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (missing, "missing.mp4"),
        (nothing, "empty.mp4"),
        (as_text, "text.mp4"),
        (as_text, "text.motion"),
        (nothing, "empty.motion"),
        (a_folder, "folder.mp4"),
        (a_folder, "folder.motion"),
    ],
)
def test_bad_driving(
    command: str, make: Callable[[Path], Path], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driving = make(tmp_path / name)
    folder = tmp_path / "out"
    folder.mkdir()
    arguments = [driving, folder / "out.mp4"] if command == "render" else [driving, folder / "out.motion"]
    portrait = [PORTRAIT] if command == "render" else []
    assert name in refusal(capsys, command, *portrait, *arguments)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("command", ["render", "motion"])
def test_driving_video_without_a_face(
    command: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    portrait = [PORTRAIT] if command == "render" else []
    out = tmp_path / ("out.mp4" if command == "render" else "out.motion")
    assert "No face" in refusal(capsys, command, *portrait, data / "no_face.mp4", out)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", ["nowhere/out.mp4", "file.txt/out.mp4", "out.xyz", "file.txt/out"])
def test_unwritable_output(out: str, brief: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file.txt").touch()
    assert out in refusal(capsys, "render", PORTRAIT, brief, tmp_path / out, "--size", "128")
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_motion_without_a_place_is_refused_before_it_is_tracked(
    monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr("puppet.render._open_driver")
    out = tmp_path / "nowhere" / "out.motion"
    assert f"there is no folder {out.parent}" in refusal(capsys, "motion", data / "face.mp4", out)


@pytest.mark.parametrize("out", ["out.mp4", "out.gif", "out"])
def test_disk_that_fills_up(out: str, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="needs a limit on the size of files")
    folder = tmp_path / "out"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "puppet", "render", PORTRAIT, SAMPLE, folder / out, "--size", "256"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000)),
    )
    assert done.returncode == 2
    assert f"puppet: {folder / out} cannot be written" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(folder.iterdir())


def test_output_that_is_an_input(brief: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    precious = tmp_path / "precious.gif"
    precious.write_bytes(PORTRAIT.read_bytes())
    assert "itself" in refusal(capsys, "render", precious, brief, tmp_path / "." / "precious.gif")
    assert "itself" in refusal(capsys, "render", PORTRAIT, precious, precious)
    assert precious.read_bytes() == PORTRAIT.read_bytes()


def test_missing_driving_with_an_output_there_already(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.mp4"
    out.touch()
    assert "missing.mp4" in refusal(capsys, "render", PORTRAIT, tmp_path / "missing.mp4", out)
    assert out.exists()


def test_group_picture_gives_the_largest_face_and_says_so(
    data: Path, brief: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.gif"
    assert main(["render", str(data / "group.jpg"), str(brief), str(out), "--size", "512"]) == 0
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("puppet: ")
    assert "largest" in warning
    assert sum(1 for _ in VideoFile(out)) == 5


def test_unknown_engine(brief: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "warp" in refusal(capsys, "render", PORTRAIT, brief, tmp_path / "out.mp4", "--engine", "steam")


@pytest.mark.parametrize(
    "arguments",
    [
        ["render"],
        ["dance"],
        ["render", "p.jpg", "d.mp4", "o.mp4", "--size", "big"],
        ["render", "p.jpg", "d.mp4", "o.mp4", "--size", "12"],
        ["render", "p.jpg", "d.mp4", "o.mp4", "--motion", "sideways"],
        ["motion", "d.mp4", "o.mp4"],
        ["bench", "--seconds", "-1"],
        ["evaluate", "warp", "clips", "--shots", "8,many"],
        ["evaluate", "warp", "clips", "--clips", "0"],
        ["study"],
    ],
)
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: puppet" in capsys.readouterr().err


def test_unexpected_error_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the moon is full")

    monkeypatch.setattr("puppet.render.record", broken)
    assert main(["motion", "driving.mp4", str(tmp_path / "out.motion")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "ZeroDivisionError: the moon is full" in line
    assert "--debug" in line
    assert main(["motion", "driving.mp4", str(tmp_path / "out.motion"), "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("PUPPET_DEBUG", "1")
    assert main(["motion", "driving.mp4", str(tmp_path / "out.motion")]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_reader_that_goes_away(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "puppet", "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout, process.stderr:
        process.stdout.close()
        assert process.wait(timeout=60) == 1
        assert process.stderr.read() == ""


def test_closed_output(brief: Path, tmp_path: Path) -> None:
    arguments = ["render", str(PORTRAIT), str(brief), str(tmp_path / "out.mp4"), "--size", "128"]
    start = f"import sys; sys.stdout = None; from puppet.__main__ import main; sys.exit(main({arguments}))"
    subprocess.run([sys.executable, "-c", start], check=True)
    assert sum(1 for _ in VideoFile(tmp_path / "out.mp4")) == 5


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"puppet {__version__}\n"


def test_thread_that_is_left_behind_in_foreign_code_does_no_harm() -> None:
    code = (
        "import threading, cv2, numpy as np\n"
        "import puppet.__main__ as program\n"
        "picture, at_work = np.zeros((480, 640, 3), np.uint8), threading.Event()\n"
        "def blur():\n"
        "    while True:\n"
        "        cv2.GaussianBlur(picture, (0, 0), 9)\n"
        "        at_work.set()\n"
        "threading.Thread(target=blur, daemon=True).start()\n"
        "at_work.wait()\n"
        "program.main = lambda: print('done') or 3\n"
        "program.program()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (3, "done\n", "")
