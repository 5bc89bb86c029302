"""A stand-in for an NVIDIA card: CUDA's runtime with memory of its own, and both kinds of TensorRT on it.

It is as strict as the card: work waits in a stream until that is waited for, memory is where it was allocated and of
that size, a page-locked array is freed once, and an engine runs only for its card and with all addresses set. What an
engine computes, ONNX Runtime does.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from cuda.bindings import runtime as real

OK = real.cudaError_t.cudaSuccess
INVALID = real.cudaError_t.cudaErrorInvalidValue
Work = Callable[[], None]


@dataclass
class FakeCard:
    """In place of `cuda.bindings.runtime`: the calls that we make, with its enumerations."""

    capability: str = "8.9"
    driver: int = 13000
    free_bytes: int = 2**30
    recordable: bool = True
    copies: list[tuple[str, int]] = field(default_factory=list)  # ("up" or "down", bytes) as they were done
    launches: int = 0  # of CUDA graphs

    def __post_init__(self) -> None:
        self.memory: dict[int, bytearray] = {}  # address on the card -> what is there
        self.locked: dict[int, np.ndarray] = {}  # address here -> the memory
        self.streams: dict[int, list[Work]] = {}
        self._recording: list[Work] | None = None
        self._graphs: dict[int, list[Work]] = {}
        self._next = 0x7F0000000000

    cudaError_t = real.cudaError_t
    cudaMemcpyKind = real.cudaMemcpyKind
    cudaStreamCaptureMode = real.cudaStreamCaptureMode
    cudaStreamNonBlocking = real.cudaStreamNonBlocking
    cudaGetErrorString = staticmethod(real.cudaGetErrorString)

    def cudaGetDeviceProperties(self, device: int) -> tuple[Any, ...]:
        assert device == 0
        major, minor = map(int, self.capability.split("."))
        return OK, SimpleNamespace(name=b"NVIDIA Fake 4070", major=major, minor=minor)

    def cudaDriverGetVersion(self) -> tuple[Any, ...]:
        return OK, self.driver

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:
        if size > self.free_bytes:
            return real.cudaError_t.cudaErrorMemoryAllocation, None
        self.free_bytes -= size
        address = self._new()
        self.memory[address] = bytearray(size)
        return OK, address

    def cudaFree(self, address: int) -> tuple[Any, ...]:
        self.free_bytes += len(self.memory.pop(address))
        return (OK,)

    def cudaMallocHost(self, size: int) -> tuple[Any, ...]:
        memory = np.full(size, 0xAA, np.uint8)
        self.locked[memory.ctypes.data] = memory
        return OK, memory.ctypes.data

    def cudaFreeHost(self, address: int) -> tuple[Any, ...]:
        del self.locked[address]
        return (OK,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        assert flags == real.cudaStreamNonBlocking
        stream = self._new()
        self.streams[stream] = []
        return OK, stream

    def cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        del self.streams[stream]
        return (OK,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        assert self._recording is None
        for work in self.streams[stream]:
            work()
        self.streams[stream].clear()
        return (OK,)

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: Any, stream: int) -> tuple[Any, ...]:
        upload = kind == real.cudaMemcpyKind.cudaMemcpyHostToDevice
        assert upload or kind == real.cudaMemcpyKind.cudaMemcpyDeviceToHost
        there, here = (to, source) if upload else (source, to)
        if there not in self.memory or here not in self.locked or size != len(self.memory[there]):
            return (INVALID,)
        assert size == len(self.locked[here])

        def copy() -> None:
            self.copies.append(("up" if upload else "down", size))
            if upload:
                self.memory[there][:] = self.locked[here].tobytes()
            else:
                self.locked[here][:] = np.frombuffer(self.memory[there], np.uint8)

        self.queue(stream, copy)
        return (OK,)

    def cudaStreamBeginCapture(self, stream: int, mode: Any) -> tuple[Any, ...]:
        assert stream in self.streams
        assert mode == real.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._recording = []
        return (OK,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:
        recorded, self._recording = self._recording, None
        assert recorded is not None
        if not self.recordable:
            return real.cudaError_t.cudaErrorStreamCaptureInvalidated, None
        graph = self._new()
        self._graphs[graph] = recorded
        return OK, graph

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[Any, ...]:
        executable = self._new()
        self._graphs[executable] = list(self._graphs[graph])
        return OK, executable

    def cudaGraphLaunch(self, executable: int, stream: int) -> tuple[Any, ...]:
        assert self._recording is None
        self.launches += 1
        self.streams[stream] += self._graphs[executable]
        return (OK,)

    def cudaGraphDestroy(self, graph: int) -> tuple[Any, ...]:
        del self._graphs[graph]
        return (OK,)

    cudaGraphExecDestroy = cudaGraphDestroy

    def queue(self, stream: int, work: Work) -> None:
        """Not done before the stream is waited for; while it records, not at all."""
        (self.streams[stream] if self._recording is None else self._recording).append(work)

    def is_empty(self) -> bool:
        """Whether everything on the card was given back."""
        return not (self.memory or self.streams or self._graphs)

    def _new(self) -> int:
        self._next += 2**20
        return self._next


class FakeTensorRT(ModuleType):
    """In place of `tensorrt_rtx`, or with `rtx=False` of `tensorrt`, for the `card`."""

    def __init__(self, card: FakeCard, *, rtx: bool = True) -> None:
        super().__init__("tensorrt_rtx" if rtx else "tensorrt")
        self.__version__ = "1.7.1" if rtx else "11.4.0"
        self.card, self.rtx = card, rtx
        self.builds = 0
        self.compilations = 0  # of an engine's kernels
        self.corrupt: Callable[[str, np.ndarray], np.ndarray] = lambda _, array: array  # what engines make wrong
        self.ILogger, self.IProgressMonitor = Log, Monitor
        self.NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", {"STRONGLY_TYPED": 1})
        self.Builder = lambda log: Builder(self, log)
        self.OnnxParser = OnnxParser
        self.Runtime = lambda log: Runtime(self, log)
        self.nptype = {"UINT8": np.uint8, "FLOAT": np.float32}.__getitem__
        if rtx:
            self.ComputeCapability = enum.Enum("ComputeCapability", ["SM75", "SM80", "SM86", "SM89", "SM120"])
            self.IRuntimeCache = RuntimeCache


class Log:
    """ILogger."""

    Severity = enum.Enum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"])

    def log(self, severity: Any, msg: str) -> None:
        raise NotImplementedError

    def error(self, text: str) -> None:
        self.log(self.Severity.VERBOSE, "all is well")
        self.log(self.Severity.ERROR, f"{text}\nand more")
        self.log(self.Severity.ERROR, "what follows from it")


class Monitor:
    """IProgressMonitor."""


@dataclass
class Builder:
    """Makes an engine that is the graph's path, the card and the library that it is for."""

    tensorrt: FakeTensorRT
    log: Log

    def create_network(self, flags: int) -> SimpleNamespace:
        assert flags == 1 << self.tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return SimpleNamespace(graph=None)

    def create_builder_config(self) -> SimpleNamespace:
        config = SimpleNamespace(progress_monitor=None, targets=[])
        if self.tensorrt.rtx:
            config.set_compute_capability = lambda capability, i: config.targets.insert(i, capability.name)
        return config

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        self.tensorrt.builds += 1
        monitor = config.progress_monitor
        monitor.phase_start("Building engine", None, 2)
        for step in range(2):
            monitor.phase_start("Optimizing graph", "Building engine", 4)
            if not all(monitor.step_complete("Optimizing graph", part) for part in range(4)):
                self.log.error("Build canceled by user")
                return None
            monitor.phase_finish("Optimizing graph")
            monitor.step_complete("Building engine", step)
        monitor.phase_finish("Building engine")
        here = f"SM{self.tensorrt.card.capability.replace('.', '')}"
        about = {"graph": str(network.graph), "for": config.targets or [here], "by": self.tensorrt.__version__}
        return b"engine" + json.dumps(about).encode()


@dataclass
class OnnxParser:
    network: SimpleNamespace
    log: Log

    def parse_from_file(self, path: str) -> bool:
        try:
            onnx.load(path)
        except Exception as error:
            self.log.error(str(error))
            return False
        self.network.graph = Path(path)
        return True


@dataclass
class Runtime:
    tensorrt: FakeTensorRT
    log: Log

    def deserialize_cuda_engine(self, blob: bytes) -> Engine | None:
        if not blob.startswith(b"engine"):
            return self.log.error("Serialization assertion failed")
        about = json.loads(blob.removeprefix(b"engine"))
        if f"SM{self.tensorrt.card.capability.replace('.', '')}" not in about["for"]:
            return self.log.error("the engine is for another compute capability")
        return Engine(self.tensorrt, self.log, Path(about["graph"]))


class Engine:
    def __init__(self, tensorrt: FakeTensorRT, log: Log, graph: Path) -> None:
        self._tensorrt, self._log = tensorrt, log
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.arrays = {each.name: each for each in [*self.session.get_inputs(), *self.session.get_outputs()]}
        self.num_io_tensors = len(self.arrays)

    def get_tensor_name(self, index: int) -> str:
        return list(self.arrays)[index]

    def get_tensor_shape(self, name: str) -> list[int]:
        return self.arrays[name].shape

    def get_tensor_dtype(self, name: str) -> str:
        return {"tensor(uint8)": "UINT8", "tensor(float)": "FLOAT"}[self.arrays[name].type]

    def create_runtime_config(self) -> SimpleNamespace:
        assert self._tensorrt.rtx
        config = SimpleNamespace(create_runtime_cache=lambda: RuntimeCache(self._tensorrt))
        config.set_runtime_cache = lambda cache: vars(config).update(cache=cache)
        return config

    def create_execution_context(self, config: SimpleNamespace | None = None) -> Context | None:
        if self._tensorrt.card.free_bytes < 100:
            return self._log.error("out of memory")
        if config is not None and not config.cache.kernels:
            self._tensorrt.compilations += 1
            config.cache.kernels = b"kernels"
        return Context(self, self._tensorrt)


@dataclass
class RuntimeCache:
    tensorrt: FakeTensorRT
    kernels: bytes = b""

    def deserialize(self, blob: bytes) -> bool:
        assert self.tensorrt.card.streams, "CUDA has no context yet"
        self.kernels = blob
        return True

    def serialize(self) -> memoryview:
        return memoryview(self.kernels)


class Context:
    def __init__(self, engine: Engine, tensorrt: FakeTensorRT) -> None:
        self._engine, self._tensorrt = engine, tensorrt
        self._addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert name in self._engine.arrays
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        card = self._tensorrt.card
        assert self._addresses.keys() == self._engine.arrays.keys()
        memory = {name: card.memory[address] for name, address in self._addresses.items()}
        arrays = {name: np.frombuffer(part, self._dtype(name)) for name, part in memory.items()}
        for name, array in arrays.items():
            assert array.size == np.prod(self._engine.arrays[name].shape), name

        def compute() -> None:
            inputs = {each.name: arrays[each.name].reshape(each.shape) for each in self._engine.session.get_inputs()}
            names = [each.name for each in self._engine.session.get_outputs()]
            for name, output in zip(names, self._engine.session.run(names, inputs), strict=True):
                memory[name][:] = self._tensorrt.corrupt(name, output).astype(self._dtype(name)).tobytes()

        card.queue(stream, compute)
        return True

    def _dtype(self, name: str) -> Any:
        return self._tensorrt.nptype(self._engine.get_tensor_dtype(name))
