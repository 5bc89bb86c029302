"""A place for the newest item, and threads that work on items. Threads start here only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """A place for one item: `put` replaces what was not taken yet and never blocks. Any thread may call it.

    Iterating takes items until the slot is closed. An item that lies there when it closes can still be taken.
    """

    def __init__(self) -> None:
        self.drops = 0  # items that were replaced before anybody took them
        self.closed = False
        self._item: T | None = None
        self._changed = threading.Condition()

    def put(self, item: T) -> bool:
        """Leave `item` for the taker; False if the slot is closed and nobody will come for it."""
        with self._changed:
            if self.closed:
                return False
            self.drops += self._item is not None
            self._item = item
            self._changed.notify()
            return True

    def take(self, timeout_s: float | None = None) -> T | None:
        """Wait for an item and take it; None when the time is over, or when the slot is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self.closed, timeout_s)
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Wake whoever waits and accept nothing more."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while (item := self.take()) is not None:
            yield item


class Worker:
    """A thread that hands each of `items` to `step` until they end, `step` returns False, or one of them raises.

    It keeps the error and then calls `ended(error)`. It does not keep the process alive.
    """

    def __init__(
        self,
        name: str,
        items: Iterable[T],
        step: Callable[[T], bool],
        *,
        ended: Callable[[BaseException | None], None] = lambda error: None,
    ) -> None:
        self.name = name
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(items, step, ended), name=f"puppet-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> bool:
        """Whether the thread has ended within the time, or never began."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(
        self, items: Iterable[T], step: Callable[[T], bool], ended: Callable[[BaseException | None], None]
    ) -> None:
        try:
            for item in items:
                if not step(item):
                    break
        except BaseException as error:  # not swallowed: whoever started the thread finds it, or gets it raised
            self.error = error
        ended(self.error)


@contextmanager
def ahead(items: Iterator[T]) -> Iterator[Iterator[T]]:
    """All of `items`, in order, each made in another thread while the one before it is in use; no more than that.

    What making one raises is raised where it is taken. Upon exit nothing is being made any longer.
    """
    with ThreadPoolExecutor(1, "puppet-ahead") as thread:

        def begin() -> Future[list[T]]:
            return thread.submit(list, islice(items, 1))

        def taken() -> Iterator[T]:
            coming = begin()
            while made := coming.result():
                coming = begin()
                yield from made

        yield taken()


class Call(Generic[T]):
    """`op` under way in a thread of its own. It cannot be ended, only abandoned: drivers may hang.

    What it returns after that is handed to `discard`, there.
    """

    def __init__(self, name: str, op: Callable[[], T], *, discard: Callable[[T], None]) -> None:
        self._op, self._discard = op, discard
        self._results: list[T] = []
        self._abandoned = False
        self._lock = threading.Lock()
        self._worker = Worker(name, [None], self._run)
        self._worker.start()

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended within the time."""
        return self._worker.join(timeout_s)

    def result(self) -> T:
        """What it returned; raises what it raised. Once it has ended."""
        if self._worker.error:
            raise self._worker.error
        return self._results[0]

    def abandon(self) -> None:
        """Nobody wants the result any more."""
        with self._lock:
            self._abandoned = True
            results, self._results = self._results, []
        for result in results:
            self._discard(result)

    def _run(self, _: None) -> bool:
        result = self._op()
        with self._lock:
            if not self._abandoned:
                self._results.append(result)
                return False
        self._discard(result)
        return False


def run_with_timeout(op: Callable[[], T], *, timeout_s: float, discard: Callable[[T], None]) -> T:
    """Return what `op` returns, or raise what it raises; TimeoutError if it takes longer than `timeout_s`.

    For calls into drivers, which may hang; what `op` returns too late is handed to `discard`, in another thread.
    """
    call = Call("driver call", op, discard=discard)
    if not call.wait(timeout_s):
        call.abandon()
        raise TimeoutError(f"The call took more than {timeout_s:g} s.")
    return call.result()
