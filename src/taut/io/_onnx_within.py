"""Finds the tensors that a graph holds elsewhere than among its initialisers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from taut.errors import FormatError
from taut.io._onnx_wire import LENGTH, Data, Field, fields

NODE: Final = 1  # of GraphProto
FUNCTION: Final = 25  # of ModelProto
_DEEPEST: Final = 100  # protobuf's own limit

# By the message the fields that are a tensor, a sparse one, and those that lead on to others.
_TENSORS: Final = {"node": (), "attribute": (5, 10), "graph": (5,), "function": ()}
_SPARSE: Final = {"node": (), "attribute": (22, 23), "graph": (15,), "function": ()}
_ONWARD: Final = {
    "node": {5: "attribute"},
    "attribute": {6: "graph", 11: "graph"},
    "graph": {1: "node"},
    "function": {7: "node", 11: "attribute"},
}


def tensors_within(data: Data, one: Field, where: str) -> Iterator[tuple[Field, bool]]:
    """The tensors in attributes and subgraphs of a node, or of a function, and which are dense.

    Raises:
        FormatError: it is damaged, or lies too deep.
    """
    kind = "function" if one.number == FUNCTION else "node"
    yield from _within(data, one, kind, where, 0)


def _within(
    data: Data, message: Field, kind: str, where: str, depth: int
) -> Iterator[tuple[Field, bool]]:
    if depth > _DEEPEST:
        raise FormatError(f"{where}: near byte {message.begin}: messages lie too deep")
    for one in fields(data, message.begin, message.end, where):
        if one.wire != LENGTH:
            continue
        if one.number in _TENSORS[kind] or one.number in _SPARSE[kind]:
            yield one, one.number in _TENSORS[kind]
        elif one.number in _ONWARD[kind]:
            yield from _within(data, one, _ONWARD[kind][one.number], where, depth + 1)
