"""The newest picture in memory that two processes share: one writes, the other reads, and neither ever waits.

The memory has no name that a crash could leave behind: it goes with its last user. (multiprocessing.shared_memory
has one, and before Python 3.13 removes it when the first of two unrelated processes ends: python/cpython#82300.)
"""

from __future__ import annotations

import mmap
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TypeVar

import numpy as np

from puppet.types import Image

T = TypeVar("T")

SLOTS = 3  # the newest, the one that is being written, and one more, so that a reader has a whole frame's time
HEADER_BYTES = 64
ATTEMPTS = 4  # at reading, before the writer counts as too fast; one is the rule


class SharedFrames:
    """A ring of pictures, each (height_px, width_px, 3) uint8 RGB, and the count of those that were written.

    The writer makes it. It starts the reader with `token` on its command line and `inherited` as its `pass_fds`;
    the reader makes it again, of the same size, from the token.
    """

    def __init__(self, *, width_px: int, height_px: int, token: str = "") -> None:
        shape = (SLOTS, height_px, width_px, 3)
        size = HEADER_BYTES + SLOTS * height_px * width_px * 3
        if sys.platform == "win32":
            self.token = token or f"puppet-{secrets.token_hex(8)}"
            self.inherited: tuple[int, ...] = ()
            memory = mmap.mmap(-1, size, tagname=self.token)
        else:
            self._file = open(int(token), "r+b") if token else _nameless_file()
            self._file.truncate(size)
            self.token = str(self._file.fileno())
            self.inherited = (self._file.fileno(),)
            memory = mmap.mmap(self._file.fileno(), size)
        self._count = np.frombuffer(memory, np.uint64, count=1)
        self._slots = np.frombuffer(memory, np.uint8, offset=HEADER_BYTES).reshape(shape)

    @property
    def count(self) -> int:
        """How many pictures were written so far."""
        return int(self._count[0])

    @contextmanager
    def writing(self) -> Iterator[Image]:
        """The picture to paint, all of it; it becomes the newest at the end of the block. For one thread."""
        count = self.count + 1
        yield self._slots[count % SLOTS]
        self._count[0] = count

    def read(self, use: Callable[[Image], T]) -> T | None:
        """What `use` makes of the newest picture, which it must not keep; None if the writer was always faster.

        A result is given out only if no byte of its picture can have changed meanwhile.
        """
        for _ in range(ATTEMPTS):
            count = self.count
            result = use(self._slots[count % SLOTS])
            if self.count - count < SLOTS - 1:
                return result
        return None

    def close(self) -> None:
        """Let go of it; the memory goes with the arrays that look into it."""
        if sys.platform != "win32":
            self._file.close()


def _nameless_file() -> IO[bytes]:
    if sys.platform == "linux":
        return open(os.memfd_create("puppet"), "r+b")
    return tempfile.TemporaryFile()
