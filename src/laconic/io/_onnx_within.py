"""Counts the tensors that a graph holds elsewhere than among its initialisers."""

from __future__ import annotations

from typing import Final

from laconic.errors import FormatError
from laconic.io._onnx_wire import LENGTH, Data, Field, fields

NODE: Final = 1  # of GraphProto
FUNCTION: Final = 25  # of ModelProto
_DEEPEST: Final = 100  # protobuf's own limit

# By the message the fields that are a tensor, and those that lead on to others.
_TENSORS: Final = {"node": (), "attribute": (5, 10, 22, 23), "graph": (5, 15), "function": ()}
_ONWARD: Final = {
    "node": {5: "attribute"},
    "attribute": {6: "graph", 11: "graph"},
    "graph": {1: "node"},
    "function": {7: "node", 11: "attribute"},
}


def tensors_within(data: Data, one: Field, where: str) -> int:
    """How many tensors the attributes and subgraphs of a node, or of a function, hold.

    Raises:
        FormatError: it is damaged, or lies too deep.
    """
    kind = "function" if one.number == FUNCTION else "node"
    return _count(data, one, kind, where, 0)


def _count(data: Data, message: Field, kind: str, where: str, depth: int) -> int:
    if depth > _DEEPEST:
        raise FormatError(f"{where}: near byte {message.begin}: messages lie too deep")
    count = 0
    for one in fields(data, message.begin, message.end, where):
        if one.wire != LENGTH:
            continue
        if one.number in _TENSORS[kind]:
            count += 1
        elif one.number in _ONWARD[kind]:
            count += _count(data, one, _ONWARD[kind][one.number], where, depth + 1)
    return count
