"""Garbage is collected in the window's thread, and nowhere else."""

from __future__ import annotations

import gc
import threading
import weakref

from pytestqt.qtbot import QtBot

from ui.collector import Collector


class Ring:
    """Garbage that only the collector can find."""

    def __init__(self, ended_in: list[int]) -> None:
        self.itself = self
        weakref.finalize(self, lambda: ended_in.append(threading.get_ident()))


def test_garbage_of_other_threads_ends_in_this_one(qtbot: QtBot) -> None:
    ended_in: list[int] = []
    with Collector():
        assert not gc.isenabled()

        def litter() -> None:
            Ring(ended_in)
            held = [[] for _ in range(50_000)]  # enough for several collections, were they allowed
            del held

        thread = threading.Thread(target=litter)
        thread.start()
        thread.join()
        assert not ended_in
        kept = [[] for _ in range(2_000)]
        qtbot.waitUntil(lambda: bool(ended_in))
        assert kept
    assert gc.isenabled()
    assert ended_in == [threading.get_ident()]
