"""`puppet render` and `puppet motion`, from file to file, with the real tracker, engine and encoder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines import BACKENDS
from engines.warp import WarpEngine
from puppet.__main__ import main
from puppet.picture import read_picture
from puppet.portrait import embed
from puppet.recording import Recording
from puppet.render import render
from puppet.settings import asset
from puppet.tracking import FaceTracker
from puppet.types import Image, Motion, PortraitEmbedding
from puppet.video import VideoFile

PORTRAIT = asset("portraits/hopper.jpg")
STAGES = ["decode", "track", "retarget", "animate", "encode"]


@pytest.fixture(scope="module")
def rendered(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The bundled portrait, following the test clip, in a process of its own."""
    out = tmp_path_factory.mktemp("rendered") / "out.mp4"
    command = [sys.executable, "-m", "puppet", "render", PORTRAIT, data / "face.mp4", out, "--size", "256", "--json"]
    return out, subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def recording(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test clip's motion, as `puppet motion` writes it."""
    path = tmp_path_factory.mktemp("recorded") / "face.motion"
    assert main(["motion", str(data / "face.mp4"), str(path)]) == 0
    return path


def report_of(stdout: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(stdout.splitlines()[-1])
    return report


def tilts(clip: Path) -> np.ndarray:
    """The head's roll in every frame, radians."""
    with VideoFile(clip) as video, FaceTracker() as track:
        faces = [track(frame) for frame in video]
    return np.array([np.arctan2(face.pose[1, 0], face.pose[0, 0]) for face in faces if face])


def test_json_is_all_that_is_printed(rendered: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, done = rendered
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
    report = report_of(done.stdout)
    assert (report["frames"], report["no_face"]) == (61, 0)
    assert report["engine"] in BACKENDS  # as fast as this computer allows
    assert list(report["p50_ms"]) == list(report["p95_ms"]) == STAGES
    assert all(0 < report["p50_ms"][stage] <= report["p95_ms"][stage] for stage in STAGES)


def test_one_frame_for_each_driving_frame(data: Path, rendered: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    out, done = rendered
    with VideoFile(data / "face.mp4") as driving, VideoFile(out) as video:
        frames = list(video)
        assert len(frames) == sum(1 for _ in driving)
        assert (video.fps, video.has_audio) == (driving.fps, driving.has_audio)
    report = report_of(done.stdout)
    assert frames[0].image.shape == (report["height_px"], report["width_px"], 3)
    assert max(frames[0].image.shape) == 256
    assert report["fps"] == pytest.approx(float(driving.fps), abs=0.001)


def test_portrait_tilts_as_the_driver_does(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    assert main(["render", str(PORTRAIT), str(data / "turn.mp4"), str(out), "--size", "256"]) == 0
    painted, wanted = tilts(out), tilts(data / "turn.mp4")
    assert np.ptp(painted) > 0.2
    assert np.corrcoef(painted, wanted)[0, 1] > 0.9


def test_recorded_motion_drives_like_its_video(
    rendered: tuple[Path, subprocess.CompletedProcess[str]],
    recording: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out.mp4"
    assert main(["render", str(PORTRAIT), str(recording), str(out), "--size", "256", "--json"]) == 0
    report = report_of(capsys.readouterr().out)
    assert report["frames"] == 61
    assert report["p50_ms"]["track"] == 0
    pairs = zip(VideoFile(out), VideoFile(rendered[0]), strict=True)
    differences = [np.abs(ours.image.astype(int) - theirs.image).mean() for ours, theirs in pairs]
    assert np.mean(differences) < 2.0  # the encoder's


def test_lost_face_is_held_and_eased_to_rest(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = Recording.load(recording)
    faces = (None,) * 5 + seen.faces[:40] + (None,) * 45
    driving = tmp_path / "gaps.motion"
    Recording(seen.fps, seen.width_px, seen.height_px, faces).save(driving)
    out = tmp_path / "frames"
    assert main(["render", str(PORTRAIT), str(driving), str(out), "--size", "128", "--json"]) == 0
    report = report_of(capsys.readouterr().out)
    assert (report["frames"], report["no_face"]) == (90, 50)
    first, lost, last = (read_picture(sorted(out.iterdir())[index]).astype(int) for index in (0, 46, -1))
    assert np.abs(last - first).mean() < 0.5  # the portrait's own rest, before and after
    assert np.abs(lost - first).mean() > 1.0


def test_native_size_is_the_portraits_own(recording: Path, tmp_path: Path) -> None:
    seen = Recording.load(recording)
    driving = tmp_path / "short.motion"
    Recording(seen.fps, seen.width_px, seen.height_px, seen.faces[:3]).save(driving)
    out = tmp_path / "out.gif"
    assert main(["render", str(PORTRAIT), str(driving), str(out), "--size", "native"]) == 0
    height_px, width_px = read_picture(PORTRAIT).shape[:2]
    with VideoFile(out) as video:
        assert (video.width_px, video.height_px) == (width_px // 2 * 2, height_px // 2 * 2)


def test_engine_that_can_tell_is_asked_for_the_realism_now_and_then(tmp_path: Path) -> None:
    asked = []

    class Critical(WarpEngine):
        def realism(self) -> float:
            asked.append(len(asked))
            return 0.25 if len(asked) % 2 else 0.75

    out, motion = tmp_path / "out.mp4", asset("sample.motion")
    with Critical() as engine:
        portrait = embed(PORTRAIT, engine, long_side_px=128)
        report = render(portrait, motion, out, engine=engine, realism=True)
        assert len(asked) == 20
        assert report.realism == 0.5
        assert render(portrait, motion, out, engine=engine).realism is None
    assert len(asked) == 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_in_the_middle_keeps_what_was_done(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    painted = 0

    class Stopped(WarpEngine):
        def animate(self, embedding: PortraitEmbedding, motion: Motion) -> Image:
            nonlocal painted
            painted += 1
            if painted == 10:
                signal.raise_signal(number)
            return super().animate(embedding, motion)

    monkeypatch.setattr("engines.warp.WarpEngine", Stopped)
    out = tmp_path / "out.mp4"
    command = ["render", str(PORTRAIT), str(asset("sample.motion")), str(out), "--size", "128", "--engine", "warp"]
    assert main(command) == 130
    assert capsys.readouterr().err == f"puppet: Stopped; {out} holds the first 9 frames.\n"
    assert sum(1 for _ in VideoFile(out)) == 9
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send Ctrl-C to one process")
def test_stopped_at_any_moment_leaves_a_playable_file_or_none(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    command = [sys.executable, "-m", "puppet", "render", PORTRAIT, asset("sample.motion"), out, "--size", "128"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.iterdir()):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    if out.exists():
        frames = sum(1 for _ in VideoFile(out))
        assert errors == f"puppet: Stopped; {out} holds the first {frames} frames.\n"
        assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    else:
        assert errors == f"puppet: Stopped; {out} was not written.\n"
        assert not list(tmp_path.iterdir())
