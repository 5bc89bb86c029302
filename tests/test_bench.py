"""`puppet bench`: a short run through the real live pipeline."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from engines.runner import RUNNERS
from puppet.__main__ import main


def test_figures_of_a_real_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--json", "--seconds", "1", "--size", "128"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    (line,) = printed.out.splitlines()
    report: dict[str, Any] = json.loads(line)
    assert report["engine"] == "warp"
    assert max(report["width_px"], report["height_px"]) == 128
    assert 0 < report["fps"] < 40
    assert report["offline_fps"] > 0
    assert list(report["p50_ms"]) == ["track", "retarget", "animate", "send", "age"]
    assert report["p50_ms"]["age"] > report["p50_ms"]["track"] > 0
    assert set(report["drops"]) == {"camera", "tracker", "animator", "sinks"}


def test_every_runner_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--seconds", "1", "--size", "128"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"live: [\d.]+ fps of 30, 108x128, engine warp", lines[0])
    runners = {line.split()[0]: line for line in lines[-len(RUNNERS) :]}
    assert runners.keys() == RUNNERS.keys()
    for name in ("openvino", "onnxruntime", "pytorch"):
        assert re.search(r" [\d.]+ ms, .* GMAC/s; a whole frame [\d.]+ ms, 95 % within [\d.]+ ms$", runners[name])
    assert len(runners["tensorrt"].split()) > 3  # figures, or why there are none
