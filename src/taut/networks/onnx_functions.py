"""The functions of an ONNX model: given their weights as arguments, and inlined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from taut.networks.onnx_packages import need

if TYPE_CHECKING:
    from onnx import FunctionProto, ModelProto, NodeProto

_Key: TypeAlias = "tuple[str, str, str]"  # domain, name and overload


def nodes_in(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Nodes, and those of their subgraphs."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from nodes_in(graph.node)


def hand_in(proto: ModelProto, given: Mapping[int, Sequence[str]]) -> None:
    """Make arguments of values: of those `given` for a function by its number, and of each caller.

    The arguments are called as the values, in the functions too.
    """
    if not given:
        return
    known = {_key(one): number for number, one in enumerate(proto.functions)}
    formal = [len(one.input) for one in proto.functions]
    wanted = _wanted(proto, known, given)
    for function, names in zip(proto.functions, wanted, strict=True):
        function.input.extend(names)
    for graph in (proto.graph, *proto.functions):
        for node in nodes_in(graph.node):
            number = known.get(_call(node))
            if number is not None and wanted[number]:
                node.input.extend([""] * (formal[number] - len(node.input)))
                node.input.extend(wanted[number])


def _wanted(
    proto: ModelProto, known: Mapping[_Key, int], given: Mapping[int, Sequence[str]]
) -> list[list[str]]:
    """The values that each function wants, for itself and for those that it calls."""
    wanted = [list(given.get(number, ())) for number in range(len(proto.functions))]
    calls = [
        (number, known[call])
        for number, function in enumerate(proto.functions)
        for call in dict.fromkeys(map(_call, nodes_in(function.node)))
        if call in known
    ]
    for _ in wanted:  # once for each level of functions in functions
        for number, called in calls:
            wanted[number] += [name for name in wanted[called] if name not in wanted[number]]
    return wanted


def _key(function: FunctionProto) -> _Key:
    return function.domain, function.name, str(getattr(function, "overload", ""))


def _call(node: NodeProto) -> _Key:
    return node.domain, node.op_type, str(getattr(node, "overload", ""))


def inline(proto: ModelProto) -> None:
    """Put what functions do in the place of their calls."""
    if not proto.functions:
        return
    proto.CopyFrom(need("onnx.inliner").inline_local_functions(proto))
    seen: set[str] = set()
    for node in nodes_in(proto.graph.node):  # the inliner may name several alike
        if node.name in seen:
            node.ClearField("name")
        seen.add(node.name)
