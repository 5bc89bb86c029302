"""What every output to a file has in common: it appears whole, or not at all."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import av.error

from puppet.types import Frame, Image, PuppetError


class SinkError(PuppetError, OSError):
    """Frames cannot be written where they should go."""


class FileSink(ABC):
    """Collects frames under a temporary name beside `path`; `close` puts them in place, `discard` removes them.

    As a context manager it closes after a clean exit and after Ctrl-C, so that what was done is kept, and discards
    after any other exception. Without any frame, closing leaves nothing. An existing output is replaced only upon
    success. Ctrl-C waits until a frame is written whole. Raises SinkError, after which nothing is left behind.
    """

    def __init__(self, path: Path | str, *, width_px: int, height_px: int, alpha: bool = False) -> None:
        self.path = Path(path)
        self.frame_count = 0
        self._shape = height_px, width_px, 4 if alpha else 3
        self._target = self.path.resolve()
        self._temporary = self._target.with_name(f".{self._target.stem}-{secrets.token_hex(4)}{self._target.suffix}")
        self._resources = ExitStack()
        self._open = True
        with self._guarded():
            problem = self._problem()
            if problem:
                raise SinkError(f"{self.path} cannot be written: {problem}.")
            self._begin()

    def send(self, frame: Frame) -> None:
        """Append one frame; its image must have the sink's size, and be RGBA for a sink with alpha."""
        if not self._open:
            raise SinkError(f"{self.path} is closed and takes no more frames.")
        if frame.image.shape != self._shape:
            raise SinkError(f"{self.path} takes pictures of shape {self._shape}, not {frame.image.shape}.")
        with self._guarded():
            self._write(frame.image)
            self.frame_count += 1

    def close(self) -> None:
        """Finish the output and put it in place."""
        if self._open and self.frame_count:
            with self._guarded():
                self._finish()
                self._resources.close()
                self._publish()
                self._open = False
        self.discard()

    def discard(self) -> None:
        """Leave nothing behind; after `close`, nothing happens."""
        if self._open:
            self._open = False
            with suppress(OSError, av.error.FFmpegError):  # an unfinished file need not end well
                self._resources.close()
            with suppress(OSError):
                self._remove()

    def _problem(self) -> str | None:
        """What stands against writing there, as far as looking tells; `_begin` finds the rest."""
        if not self._target.parent.is_dir():
            return f"there is no folder {self.path.parent}"
        return "it is a folder" if self._target.is_dir() else None

    @abstractmethod
    def _begin(self) -> None:
        """Create the temporary output; what `_resources` holds is closed before it is put in place or removed."""

    @abstractmethod
    def _write(self, image: Image) -> None:
        """Append one picture."""

    @abstractmethod
    def _finish(self) -> None:
        """Complete the temporary output."""

    def _publish(self) -> None:
        os.replace(self._temporary, self._target)

    def _remove(self) -> None:
        self._temporary.unlink(missing_ok=True)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Let nothing interrupt the block, and turn its failure into a sentence with nothing left behind."""
        try:
            with _interrupt_deferred():
                yield
        except PuppetError:
            self.discard()
            raise
        except (OSError, av.error.FFmpegError) as error:
            self.discard()
            raise SinkError(f"{self.path} cannot be written: {error.strerror}.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, KeyboardInterrupt):
            self.close()
        else:
            self.discard()


@contextmanager
def _interrupt_deferred() -> Iterator[None]:
    """Let Ctrl-C act after the block: an encoder that loses one packet spoils the pictures after it."""
    previous = signal.getsignal(signal.SIGINT)
    if previous is None or threading.current_thread() is not threading.main_thread():
        yield  # the signal never arrives here
        return
    interrupts: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if interrupts:
        signal.raise_signal(signal.SIGINT)
