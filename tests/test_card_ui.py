"""The graphics card is made ready behind the window: what is said meanwhile, how it ends, and what paints then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QApplication, QPushButton
from pytestqt.qtbot import QtBot

from engines import load
from engines.runner import RunnerUnavailable
from puppet.camera import Paced
from puppet.library import Library
from puppet.live import Live, OpenedSource
from puppet.settings import Settings
from puppet.types import Engine
from puppet.video import VideoFile
from ui import app
from ui.card import CardCare
from ui.stage import Stage
from ui.window import Window

PATIENCE_MS = 60_000


class FakeCard:
    """Is ready once it was told to be, step by step."""

    def __init__(self, *, wanted: bool = True, trouble: str = "") -> None:
        self.wanted, self.trouble = wanted, trouble
        self.steps = threading.Semaphore(0)
        self.stopped = self.done = False
        self.worked_in = ""

    def is_wanted(self) -> bool:
        return self.wanted

    def prepare(self, progress: Callable[[float], bool]) -> None:
        self.worked_in = threading.current_thread().name
        for step in range(4):
            assert self.steps.acquire(timeout=PATIENCE_MS / 1000)
            if not progress(step / 4):
                self.stopped = True
                raise RunnerUnavailable("preparing the card was stopped")
        if self.trouble:
            raise RunnerUnavailable(self.trouble)
        self.done = True


class Heard:
    def __init__(self, care: CardCare) -> None:
        self.working: list[str] = []
        self.said: list[tuple[str, bool]] = []
        self.ready = 0
        care.working.connect(self.working.append)
        care.said.connect(lambda text, error: self.said.append((text, error)))
        care.ready.connect(self._count)

    def _count(self) -> None:
        self.ready += 1


@pytest.fixture
def tend(qapp: QApplication) -> Iterator[Callable[[FakeCard], tuple[CardCare, Heard]]]:
    parent = QObject()
    cares: list[CardCare] = []

    def begun(card: FakeCard) -> tuple[CardCare, Heard]:
        care = CardCare(card, parent)
        cares.append(care)
        heard = Heard(care)
        care.begin()
        return care, heard

    yield begun
    assert all([care.close() for care in cares])


def wait_for(qtbot: QtBot, condition: Callable[[], object]) -> None:
    qtbot.waitUntil(lambda: bool(condition()), timeout=PATIENCE_MS)


def test_progress_is_said_and_then_that_it_paints(
    qtbot: QtBot, tend: Callable[[FakeCard], tuple[CardCare, Heard]]
) -> None:
    card = FakeCard()
    _, heard = tend(card)
    wait_for(qtbot, lambda: heard.working)
    assert heard.working == ["Preparing the graphics card, once and for all: 0 %"]
    card.steps.release(2)
    wait_for(qtbot, lambda: "25 %" in heard.working[-1])
    assert not heard.ready
    card.steps.release(2)
    wait_for(qtbot, lambda: heard.ready)
    assert heard.working[-1] == ""
    assert heard.said == [("The graphics card paints from now on.", False)]
    assert card.worked_in == "puppet-background"


def test_ready_card_is_left_in_peace(qtbot: QtBot, tend: Callable[[FakeCard], tuple[CardCare, Heard]]) -> None:
    card = FakeCard(wanted=False)
    _, heard = tend(card)
    qtbot.wait(300)
    assert (heard.working, heard.said, heard.ready, card.worked_in) == ([], [], 0, "")


def test_why_it_does_not_paint_is_said(qtbot: QtBot, tend: Callable[[FakeCard], tuple[CardCare, Heard]]) -> None:
    card = FakeCard(trouble="the card has no memory left")
    card.steps.release(4)
    _, heard = tend(card)
    wait_for(qtbot, lambda: heard.said)
    assert heard.said == [("The graphics card does not paint (the card has no memory left).", True)]
    assert heard.working[-1] == ""
    assert not heard.ready


def test_it_can_be_given_up(qtbot: QtBot, tend: Callable[[FakeCard], tuple[CardCare, Heard]]) -> None:
    card = FakeCard()
    care, heard = tend(card)
    wait_for(qtbot, lambda: heard.working)
    care.give_up()
    card.steps.release(4)
    wait_for(qtbot, lambda: card.stopped and heard.working[-1] == "")
    assert (heard.said, heard.ready) == ([], 0)


def test_window_shows_it_and_loads_the_engine_anew(
    qapp: QApplication, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "CARD_MS", 0)
    monkeypatch.setattr("puppet.live.open_source", lambda wanted: OpenedSource(Paced(VideoFile(data / "turn.mp4"))))
    card = FakeCard()
    shown: list[Live] = []  # which said that the card is prepared
    again: list[Live] = []

    def load_engine(name: str) -> Engine:
        return load("neural" if card.done else "warp")

    def look() -> None:
        window = next(each for each in qapp.topLevelWidgets() if isinstance(each, Window))
        text = window.findChild(Stage).banner.text
        if not shown and window.session.is_running and "Preparing the graphics card" in text:
            assert any(each.text() == "Cancel" for each in window.findChildren(QPushButton) if each.isVisible())
            shown.append(window.session.live)
            card.steps.release(4)
        elif shown and window.session.is_running and window.session.live is not shown[0]:
            again.append(window.session.live)
        if again or time.monotonic() > latest_s:
            window.close()

    latest_s = time.monotonic() + PATIENCE_MS / 1000
    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(50)
    settings = Settings().changed({"engine.size_px": 128})
    app.run(settings, load_engine=load_engine, file=tmp_path / "s.toml", library=Library(tmp_path), card=card)
    timer.stop()
    assert again
    assert again[0].embedding.engine == "neural"
