"""`puppet doctor`: what it finds here, and what it says when something is wrong."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engines import BACKENDS, EngineUnavailable, load
from puppet.__main__ import main
from puppet.camera import CameraInfo
from puppet.doctor import Finding, examine
from puppet.preflight import Preflight
from puppet.settings import asset
from puppet.types import Engine


def broken(name: str) -> Engine:
    raise EngineUnavailable(f"no {name} today")


def findings() -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(BACKENDS, load)}


def test_main_job_works_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    report: dict[str, Any] = json.loads(printed.out)
    assert report["ok"] is True
    found = {finding["name"]: finding for finding in report["findings"]}
    assert {"puppet", "python", "mediapipe", "bundled files", "engine warp", "cameras", "virtual camera"} <= set(found)
    assert found["a portrait moves"]["ok"]
    for finding in report["findings"]:
        assert finding["detail"]
        assert finding["ok"] == (finding["advice"] == "")


def test_a_line_for_people_on_each(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.load", broken)
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[0] == "FAILED" and "no auto today" in line for line in lines)
    assert any(line.split()[0] == "missing" and "no warp today" in line for line in lines)
    assert lines[-1].startswith("The main job does not work")


def test_changed_and_missing_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(asset(""), tmp_path / "assets")
    monkeypatch.setattr("puppet.doctor.asset", lambda name: tmp_path / "assets" / name)
    assert findings()["bundled files"].ok
    with (tmp_path / "assets" / "sample.motion").open("ab") as file:
        file.write(b"?")
    assert "sample.motion" in findings()["bundled files"].detail
    (tmp_path / "assets" / "portraits" / "hopper.jpg").unlink()
    finding = findings()["bundled files"]
    assert (finding.ok, finding.vital) == (False, True)
    assert "hopper.jpg" in finding.detail


def test_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("puppet.doctor.cache_dir", lambda: tmp_path / "file" / "puppet")
    finding = findings()["cache folder"]
    assert (finding.ok, finding.vital) == (False, False)
    assert str(tmp_path) in finding.detail


def test_library_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PySide6.QtWidgets", None)  # as if it could not be imported
    finding = findings()["PySide6"]
    assert (finding.ok, finding.vital) == (False, True)
    assert "start.py" in finding.advice


def test_cameras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("puppet.camera.cameras", lambda: [CameraInfo(0, "Good Cam"), CameraInfo(2, "Old Cam")])
    assert findings()["cameras"].detail == "0: Good Cam, 2: Old Cam"


def test_virtual_camera_that_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    class Opened(SimpleNamespace):
        def __enter__(self) -> Opened:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    status = SimpleNamespace(device="/dev/video7")
    monkeypatch.setattr("puppet.virtual_camera.VirtualCamera", lambda: Opened(status=status))
    finding = findings()["virtual camera"]
    assert finding.ok
    assert "/dev/video7" in finding.detail


def test_virtual_camera_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    check = Preflight(problem="It is not there.", advice="Buy one.")
    monkeypatch.setattr("puppet.virtual_camera.preflight", lambda device: check)
    finding = findings()["virtual camera"]
    assert (finding.ok, finding.vital) == (False, False)
    assert (finding.detail, finding.advice) == ("It is not there.", "Buy one.")
