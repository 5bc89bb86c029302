"""The neural engine is chosen unasked only where it keeps up, and that is measured once a week."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import engines
from engines import EngineUnavailable, neural, pace
from engines.neural import NeuralEngine


def test_measured_once_a_week(tmp_path: Path) -> None:
    measured = iter([7.0, 9.0, 11.0])
    assert pace.remembered("a", lambda: next(measured), folder=tmp_path) == 7
    assert pace.remembered("a", lambda: next(measured), folder=tmp_path) == 7
    assert pace.remembered("b", lambda: next(measured), folder=tmp_path) == 9
    for file in tmp_path.iterdir():
        os.utime(file, (0, 0))
    assert pace.remembered("a", lambda: next(measured), folder=tmp_path) == 11


def test_damaged_memory_and_locked_folder_only_cost_time(tmp_path: Path) -> None:
    pace.remembered("a", lambda: 7.0, folder=tmp_path)
    next(tmp_path.iterdir()).write_text("?")
    assert pace.remembered("a", lambda: 8.0, folder=tmp_path) == 8
    assert pace.remembered("a", lambda: 9.0, folder=tmp_path / next(tmp_path.iterdir()).name) == 9


def test_auto_is_neural_where_it_keeps_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "remembered", lambda subject, measure: 1.0)
    with engines.load() as engine:
        assert isinstance(engine, NeuralEngine)


def test_auto_is_warp_where_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "remembered", lambda subject, measure: 1000.0)
    with engines.load() as engine:
        assert engine.name == "warp"
    with pytest.raises(EngineUnavailable, match="25 fps out of reach"):
        NeuralEngine.unasked(live=True)
    with engines.load("neural") as engine:
        assert engine.name == "neural"


def test_a_file_may_take_longer_than_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "remembered", lambda subject, measure: 30.0)
    monkeypatch.setattr(pace, "BUDGET_MS", {os.cpu_count(): 24.0})
    with engines.load() as engine:
        assert engine.name == "warp"
    with engines.load(live=False) as engine:
        assert engine.name == "neural"


def test_pace_is_that_of_real_painting() -> None:
    assert 0.5 < neural._pace_ms() < 10_000
