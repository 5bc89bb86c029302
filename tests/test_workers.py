"""Working ahead: the same items in the same order, one in the making while one is in use."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from puppet.workers import ahead

PATIENCE_S = 10.0


def numbers(made: list[int], count: int) -> Iterator[int]:
    for number in range(count):
        made.append(number)
        yield number


def test_all_items_come_in_order() -> None:
    with ahead(numbers([], 50)) as items:
        assert list(items) == list(range(50))


def test_the_next_item_is_made_while_one_is_in_use() -> None:
    used, made = threading.Event(), threading.Event()

    def steps() -> Iterator[int]:
        yield 0
        assert used.wait(PATIENCE_S)
        made.set()
        yield 1

    with ahead(steps()) as items:
        assert next(items) == 0
        used.set()
        assert made.wait(PATIENCE_S)
        assert list(items) == [1]


def test_no_more_than_one_item_is_made_ahead() -> None:
    made: list[int] = []
    with ahead(numbers(made, 50)) as items:
        assert [next(items), next(items)] == [0, 1]
    assert made == [0, 1, 2]


def test_an_error_is_raised_after_the_items_before_it() -> None:
    def steps() -> Iterator[int]:
        yield 0
        raise ZeroDivisionError

    with ahead(steps()) as items:
        assert next(items) == 0
        with pytest.raises(ZeroDivisionError):
            next(items)


def test_leaving_early_ends_the_thread() -> None:
    with ahead(numbers([], 50)) as items:
        assert next(items) == 0
        assert any(thread.name.startswith("puppet-ahead") for thread in threading.enumerate())
    assert not any(thread.name.startswith("puppet-ahead") for thread in threading.enumerate())
