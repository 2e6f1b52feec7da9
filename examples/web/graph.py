"""A network's graph as a small .onnx, whose weights lie in the safetensors file of a Taut file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

import taut

PLACE = "model.safetensors"
"""What the graph calls the file with the weights, wherever it comes from."""


def write_graph(
    network: nn.Module,
    inputs: Mapping[str, Tensor],
    weights: Path,
    out: Path,
    *,
    free: Sequence[str],
    prefix: str = "",
) -> None:
    """Export `network` without its weights: those of the Taut file `weights` are named by place.

    `free` names the axes, from the first on, that may have any size. A parameter is the tensor of
    its name without `prefix`; what the file has not, such as constants, stays in the graph.

    Raises:
        ValueError: a parameter of the network is not in the file as it is.
    """
    places = _places(weights)
    model = export(network, inputs, free=free, optimize=False)  # weights lie as they are
    for tensor in model.graph.initializer:
        name = tensor.name.removeprefix(prefix)
        if name not in places or tensor.data_type != onnx.TensorProto.FLOAT:
            if tensor.name in dict(network.named_parameters()):
                raise ValueError(f'{weights}: has no tensor "{name}"')
            continue
        begin, end, shape = places[name]
        if list(tensor.dims) != shape or end - begin != 4 * prod(shape):
            raise ValueError(f'{weights}: tensor "{name}" is no float32 of {list(tensor.dims)}')
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        told = {"location": PLACE, "offset": begin, "length": end - begin}
        for key, value in told.items():
            tensor.external_data.add(key=key, value=str(value))
    out.write_bytes(model.SerializeToString())


def export(
    network: nn.Module, inputs: Mapping[str, Tensor], *, free: Sequence[str], optimize: bool = True
) -> onnx.ModelProto:
    """The network as an ONNX model, whole, without what no runtime reads."""
    axes = {axis: torch.export.Dim(name) for axis, name in enumerate(free)}
    program = torch.onnx.export(
        network, tuple(inputs.values()), dynamo=True, optimize=optimize, input_names=list(inputs),
        dynamic_shapes=(axes,) * len(inputs), opset_version=18, verbose=False,
    )  # fmt: skip
    _strip(program.model_proto)
    return program.model_proto


def _strip(model: onnx.ModelProto) -> None:
    """Leave out what no runtime reads: where each node came from, and shapes between nodes."""
    graph = model.graph
    for field in ("value_info", "metadata_props", "doc_string"):
        graph.ClearField(field)
    named = [*graph.node, *graph.initializer, *graph.input, *graph.output, model]
    for one in [*named, *(node for function in model.functions for node in function.node)]:
        for field in ("metadata_props", "doc_string"):
            one.ClearField(field)
    for function in model.functions:
        for field in ("value_info", "metadata_props", "doc_string"):
            function.ClearField(field)


def _places(weights: Path) -> dict[str, tuple[int, int, list[int]]]:
    """Where each tensor lies in what the Taut file decompresses to: begin, end, shape."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, PLACE)
        taut.decompress(weights, path)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return {
        name: (*(8 + length + at for at in entry["data_offsets"]), entry["shape"])
        for name, entry in header.items()
    }
