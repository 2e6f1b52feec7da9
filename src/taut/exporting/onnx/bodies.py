"""A graph and the graphs within it: the bodies of If, Loop and Scan, which see what lies around.

A body uses constants and values of the graphs around it by their names, so that whoever asks who
takes a value has to ask there too. Bodies beside one another may use one name for two things;
`with_single_names` ends that, after which a name means one value wherever it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


def bodies(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs that a node holds."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph, and all graphs within it at any depth."""
    yield graph
    for node in graph.node:
        for body in bodies(node):
            yield from graphs(body)


def nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """The nodes of a graph and of all graphs within it; a node comes before those it holds."""
    for node in graph.node:
        yield node
        for body in bodies(node):
            yield from nodes(body)


def key_of(node: NodeProto) -> str:
    """What tells a node from all others: the first value that it makes; empty if it makes none."""
    return next((name for name in node.output if name), "")


def defined(graph: GraphProto) -> Iterator[str]:
    """The names that a graph gives to values, but for the graphs within it."""
    for part in (*graph.input, *graph.initializer):
        yield part.name
    for sparse in graph.sparse_initializer:
        yield sparse.values.name
    for node in graph.node:
        yield from (name for name in node.output if name)


def rewrite(graph: GraphProto, made: Callable[[NodeProto], Iterable[NodeProto]]) -> None:
    """Put for each node, at any depth, the nodes that `made` gives of it."""
    found: list[NodeProto] = []
    for node in graph.node:
        for body in bodies(node):
            rewrite(body, made)
        found.extend(made(node))
    del graph.node[:]
    graph.node.extend(found)


def take_other(node: NodeProto, names: Mapping[str, str]) -> None:
    """Have a node, and the bodies that it holds, take values by other names."""
    for index, name in enumerate(node.input):
        if name in names:
            node.input[index] = names[name]
    for body in bodies(node):
        for inner in body.node:
            take_other(inner, names)


def with_single_names(graph: GraphProto, fresh: Callable[[str], str]) -> None:
    """Rename what bodies call as something else is called already, in another body or graph."""
    taken: set[str] = set()
    for one in graphs(graph):
        own = set(defined(one))
        for name in sorted(own & taken):
            _rename_within(one, name, fresh(name))
        taken |= set(defined(one))


def _rename_within(graph: GraphProto, old: str, new: str) -> None:
    """Call a value of a graph by another name, there and in the bodies that see it."""
    parts = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for part in (*parts, *(sparse.values for sparse in graph.sparse_initializer)):
        if part.name == old:
            part.name = new
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
        for body in bodies(node):
            if old not in set(defined(body)):
                _rename_within(body, old, new)


def captured(node: NodeProto) -> set[str]:
    """The values of the graphs around it that the bodies of a node take."""
    found: set[str] = set()
    for body in bodies(node):
        own = set(defined(body))
        for inner in body.node:
            found |= ({name for name in inner.input if name} | captured(inner)) - own
    return found
