"""The attributes of an ONNX node, with what they are where the node does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from taut.networks.onnx_packages import need

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

_MOST: Final = 16  # axes


def whole(node: NodeProto, name: str, usual: int = 0) -> int:
    """A whole number."""
    return next((int(a.i) for a in node.attribute if a.name == name), usual)


def decimal(node: NodeProto, name: str) -> float:
    """A float; 1 if the node does not say."""
    return next((float(a.f) for a in node.attribute if a.name == name), 1.0)


def numbers(node: NodeProto, name: str, usual: tuple[int, ...]) -> tuple[int, ...]:
    """Several whole numbers."""
    return next((tuple(a.ints) for a in node.attribute if a.name == name), usual)


def words(node: NodeProto, name: str) -> str:
    """A text; "" if the node does not say."""
    return next((bytes(a.s).decode() for a in node.attribute if a.name == name), "")


def constants_of(graph: GraphProto) -> dict[str, tuple[int, ...]]:
    """The short lists of whole numbers that a graph has as initialisers or constants, by name."""
    onnx = need("onnx")
    held = {one.name: one for one in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            own = [a.t for a in node.attribute if a.name == "value"]
            held.update(zip(node.output, own, strict=False))
    return {
        name: tuple(onnx.numpy_helper.to_array(one).reshape(-1).tolist())
        for name, one in held.items()
        if one.data_type == onnx.TensorProto.INT64 and sum(one.dims) <= _MOST
    }
