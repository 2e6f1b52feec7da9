"""How a node takes its weight: along which axis its outputs lie, and which axes share a scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import AttributeProto, NodeProto


def attributes(node: NodeProto) -> Mapping[str, AttributeProto]:
    """The attributes of a node by name."""
    return {attribute.name: attribute for attribute in node.attribute}


def form_of(node: NodeProto, index: int, axes: int) -> tuple[str, int, tuple[int, ...]] | None:
    """Kind, axis of outputs, and axes that share a scale; None where a node has no such part."""
    match node.op_type, index:
        case "Conv", 1:
            return "conv", 0, tuple(range(1, axes))
        case "ConvTranspose", 1:
            return "stored", 1, (0, *range(2, axes))
        case "MatMul", 0:
            return "stored", axes - 2, (axes - 1,)
        case "MatMul", 1:
            return "matmul" if axes == 2 else "stored", axes - 1, (axes - 2,)
        case "Gemm", 0 | 1:
            return _gemm_form(node, index)
        case "Gather", 0:
            return _gather_form(node, axes)
        case (("LSTM" | "GRU" | "RNN"), (1 | 2)):
            return "stored", 1, (2,)
    return None


def _gemm_form(node: NodeProto, index: int) -> tuple[str, int, tuple[int, ...]]:
    """The same of a Gemm, whose rows are the constant's own or, turned, its columns."""
    given = attributes(node)
    name = ("transA", "transB")[index]
    turned = name in given and bool(given[name].i)
    axis = int(turned) if index == 0 else int(not turned)
    return ("stored", "matmul")[index], axis, (1 - axis,)


def _gather_form(node: NodeProto, axes: int) -> tuple[str, int, tuple[int, ...]]:
    """The same of a table: rows along the first axis have integers, others are stored."""
    given = attributes(node)
    along = (given["axis"].i if "axis" in given else 0) % axes
    return "gather" if along == 0 else "stored", 0, tuple(range(1, axes))
