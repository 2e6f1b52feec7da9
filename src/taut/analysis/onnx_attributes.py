"""The attributes of an ONNX node, with what they are where the node does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import NodeProto


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
