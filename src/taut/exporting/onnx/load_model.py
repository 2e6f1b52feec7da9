"""An .onnx file in memory, with the values that it keeps in other files."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taut.exporting.onnx.bodies import bodies
from taut.networks.onnx_functions import nodes_in
from taut.networks.onnx_packages import need

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

_PACKED: Final = {21: 4, 22: 4, 23: 4, 25: 2, 26: 2}  # types of fewer than 8 bits a value


def load_model(path: Path) -> ModelProto:
    """A whole model. Values in another file that tell no length are as many as their shape says."""
    onnx = need("onnx")
    model: ModelProto = onnx.load(str(path), load_external_data=False)
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            told = {entry.key for entry in tensor.external_data}
            if "length" not in told:
                tensor.external_data.add(key="length", value=str(_nbytes(tensor)))
    need("onnx.external_data_helper").load_external_data_for_model(model, str(path.parent))
    return model


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    """The tensors of all graphs and functions."""
    yield from model.graph.initializer
    for graph in (model.graph, *model.functions):
        for node in nodes_in(graph.node):
            for body in bodies(node):
                yield from body.initializer
            for attribute in node.attribute:
                yield from (attribute.t, *attribute.tensors)


def _nbytes(tensor: TensorProto) -> int:
    kind = tensor.data_type
    width = 8 * int(need("onnx.helper").tensor_dtype_to_np_dtype(kind).itemsize)
    bits: int = prod(tensor.dims) * _PACKED.get(kind, width)
    return -(-bits // 8)
