"""Weights -> ONNX graphs, which every runner but torch's own reads.

A graph holds no weights: it points into the safetensors file beside it, so that both stay one truth and a graph has
a few kilobytes. Shapes are static, operators stock, and the portrait's psi and features are inputs: another portrait
needs no other graph.
"""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from onnx.external_data_helper import set_external_data
from torch import Tensor, nn

from engines import canvas
from engines import weights as stored
from engines.frame import Frame
from engines.geometry import COARSE_PX, SIDE_PX
from engines.pytorch import Embed, Judge, Repaint, filled, stored_name
from engines.runner import EMBEDDED

OPSET: Final = 18
SEEN: Final = (1, SIDE_PX, SIDE_PX, 7)
HEAD: Final = (1, COARSE_PX, COARSE_PX, 4)


@dataclass(frozen=True, slots=True)
class Graph:
    """One ONNX file."""

    name: str
    module: type[nn.Module]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    half: bool = False  # convolutions in fp16; normalisation statistics stay in fp32
    side_px: int = 0  # of a Frame


_REPAINT = ("seen", "head", "psi", "features"), ("flow", "residual")
GRAPHS: Final = (
    Graph("embed", Embed, ("seen",), EMBEDDED),
    Graph("repaint", Repaint, *_REPAINT),
    Graph("repaint-fp16", Repaint, *_REPAINT, half=True),
    *(
        Graph(f"frame-{side_px}", Frame, (*canvas.shapes(side_px), "psi", "features"), ("picture",), True, side_px)
        for side_px in canvas.SIDES_PX
    ),
)


CRITIC_GRAPHS: Final = (Graph("judge", Judge, ("seen",), ("score",)),)


def build(weights: Path) -> list[Path]:
    """Write all GRAPHS, or all of a critic, beside `weights`, and say where.

    Raises `weights.WeightsError` if those are no weights of ours.
    """
    model, graphs = ("critic", CRITIC_GRAPHS) if stored.holds(weights, model="critic") else ("ours", GRAPHS)
    modules = {graph.name: filled(graph.module(), weights, model=model) for graph in graphs}
    return [_written(graph, _exported(graph, modules[graph.name]), weights) for graph in graphs]


def example(graph: Graph) -> tuple[Tensor, ...]:
    """Random inputs of the right shapes."""
    embedded = Embed().eval()
    seen = torch.randint(0, 256, SEEN, dtype=torch.uint8)
    if graph.module is Judge:
        return (seen[..., :6].contiguous(),)
    if graph.module is Embed:
        return (seen,)
    with torch.inference_mode():
        psi, features, _ = (part.clone() for part in embedded(seen))
    if graph.module is Repaint:
        return (seen, torch.randn(HEAD), psi, features)
    arrays = {name: np.zeros(shape, dtype) for name, (shape, dtype) in canvas.shapes(graph.side_px).items()}
    return (*map(torch.from_numpy, arrays.values()), psi, features)


def _exported(graph: Graph, module: nn.Module) -> onnx.ModelProto:
    module = module.half() if graph.half else module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of its own parts
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            module,
            example(graph),
            input_names=graph.inputs,
            output_names=graph.outputs,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _written(graph: Graph, model: onnx.ModelProto, weights: Path) -> Path:
    offsets = stored.offsets(weights)
    initializers, casts = list(model.graph.initializer), []
    for tensor in initializers:
        if stored_name(tensor.name) in offsets:
            start, stop = offsets[stored_name(tensor.name)]
            if tensor.data_type == TensorProto.FLOAT:
                casts.append(helper.make_node("Cast", [f"{tensor.name}.half"], [tensor.name], to=TensorProto.FLOAT))
                tensor.name, tensor.data_type = f"{tensor.name}.half", TensorProto.FLOAT16
            tensor.raw_data = b"elsewhere"
            set_external_data(tensor, weights.name, offset=start, length=stop - start)
            tensor.ClearField("raw_data")
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:], model.graph.value_info[:], model.metadata_props[:]
    model.graph.node.extend(nodes)
    for part in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        part.ClearField("metadata_props")  # where in the exporting program it came from, paths included
        part.ClearField("doc_string")
    path = weights.with_name(f"{graph.name}.onnx")
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(model.SerializeToString(deterministic=True))
    os.replace(partial, path)
    onnx.checker.check_model(str(path))
    return path
