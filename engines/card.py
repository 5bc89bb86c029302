"""The NVIDIA card: which one it is, memory that it has in common with arrays here, and work that it does in order."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from cuda.bindings import runtime as cuda
from numpy.typing import NDArray

from engines.runner import RunnerUnavailable
from puppet.types import Closing


class CardError(RunnerUnavailable):
    """The card cannot do something, or has no memory for it; the text says what CUDA says."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a plan depends on."""

    name: str
    capability: str  # "8.9"
    driver: str  # the CUDA version that it brings, "13.0"

    @classmethod
    def first(cls) -> Self:
        """The one that CUDA takes when nobody chooses. Raises `CardError` if there is none, or its driver is old."""
        properties = _done(cuda.cudaGetDeviceProperties(0))
        version = _done(cuda.cudaDriverGetVersion())
        capability = f"{properties.major}.{properties.minor}"
        return cls(properties.name.decode(), capability, f"{version // 1000}.{version % 1000 // 10}")


@dataclass(frozen=True, slots=True)
class Mirrored:
    """An array in two places, which `Stream.upload` and `Stream.download` make equal."""

    host: NDArray[Any]  # in page-locked memory, which the card reads and writes by itself
    address: int  # on the card


class Stream(Closing):
    """Work that the card does in order, and the memory for it, which goes with `close`; one thread at a time."""

    def __init__(self) -> None:
        self._held = ExitStack()
        self._stream = _done(cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking))
        self._held.callback(cuda.cudaStreamDestroy, self._stream)

    @property
    def handle(self) -> int:
        return int(self._stream)

    def hold(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Mirrored:
        """Memory for such an array. What is here stays as long as somebody looks at it, also after `close`."""
        size = int(np.prod(shape)) * dtype.itemsize
        address = _done(cuda.cudaMalloc(size))
        self._held.callback(cuda.cudaFree, address)
        locked = _done(cuda.cudaMallocHost(size))
        memory = (ctypes.c_ubyte * size).from_address(locked)
        weakref.finalize(memory, cuda.cudaFreeHost, locked)
        return Mirrored(np.frombuffer(memory, dtype).reshape(shape), address)

    def upload(self, array: Mirrored) -> None:
        """Queue the copy to the card; `array.host` must not change before `wait` returns."""
        kind = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        _done(cuda.cudaMemcpyAsync(array.address, array.host.ctypes.data, array.host.nbytes, kind, self._stream))

    def download(self, array: Mirrored) -> None:
        """Queue the copy from the card; it is in `array.host` once `wait` returns."""
        kind = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        _done(cuda.cudaMemcpyAsync(array.host.ctypes.data, array.address, array.host.nbytes, kind, self._stream))

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """A CUDA graph of what `work` queues: the result queues all of that in one go. Nothing is done yet."""
        _done(cuda.cudaStreamBeginCapture(self._stream, cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal))
        try:
            work()
        finally:
            graph = _done(cuda.cudaStreamEndCapture(self._stream))
        self._held.callback(cuda.cudaGraphDestroy, graph)
        executable = _done(cuda.cudaGraphInstantiate(graph, 0))
        self._held.callback(cuda.cudaGraphExecDestroy, executable)
        return partial(self._launch, executable)

    def wait(self) -> None:
        """Return when everything queued is done. Raises `CardError` if any of it failed."""
        _done(cuda.cudaStreamSynchronize(self._stream))

    def close(self) -> None:
        self._held.close()

    def _launch(self, executable: Any) -> None:
        _done(cuda.cudaGraphLaunch(executable, self._stream))


def _done(answer: tuple[Any, ...]) -> Any:
    """The value that such a call of CUDA brought. Raises `CardError` if it brought an error."""
    error, *values = answer
    if error != cuda.cudaError_t.cudaSuccess:
        _, text = cuda.cudaGetErrorString(error)
        raise CardError(f"the NVIDIA card cannot be used ({text.decode()})")
    return values[0] if values else None
