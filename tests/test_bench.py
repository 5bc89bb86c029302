"""`puppet bench`: a short run through the real live pipeline."""

from __future__ import annotations

import json
from typing import Any

import pytest

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
