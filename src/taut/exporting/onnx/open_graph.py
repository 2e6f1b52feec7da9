"""A graph that is being changed: the one owner of its names, its constants, and what takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableSequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from taut.exporting.onnx.bodies import graphs, nodes, rewrite, with_single_names
from taut.exporting.onnx.fresh_names import FreshNames
from taut.networks.onnx_packages import need

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

MICROSOFT: Final = "com.microsoft"  # the domain of onnxruntime's own operators


class OpenGraph:
    """A model whose constants are put in other numbers; nothing that is added meets a name.

    `constants` are those of the graph and of the bodies within it, initialisers and the tensors of
    Constant nodes, by names that mean one value each.
    """

    def __init__(self, model: ModelProto) -> None:
        self.model, self.graph = model, model.graph
        self._names = FreshNames(model.graph)
        self._replaced: set[str] = set()
        with_single_names(self.graph, self.fresh)
        to_array = need("onnx.numpy_helper").to_array
        held = _tensors(self.graph)
        self.constants: Mapping[str, np.ndarray] = {n: to_array(t) for n, t in held.items()}
        for one in graphs(self.graph):  # the types of values change, and runtimes find them again
            del one.value_info[:]

    def fresh(self, wanted: str) -> str:
        """The name, or the first of its like, that nothing has; it is taken then."""
        return self._names.fresh(wanted)

    def put(self, wanted: str, values: np.ndarray) -> str:
        """Add a constant to the graph, which bodies see too; the name that it got."""
        return self._add(self.fresh(wanted), values)

    def replace(self, name: str, values: np.ndarray) -> str:
        """Give a constant other values under its name; the name again.

        Where a body or a node held it, what they hold goes when the graph is swept.
        """
        self._replaced.add(name)
        return self._add(name, values)

    def make(self, operator: str, inputs: Iterable[str], wanted: str, **given: object) -> NodeProto:
        """A node of one output, which gets a name of its own."""
        made: NodeProto = need("onnx.helper").make_node(
            operator, list(inputs), [self.fresh(wanted)], **given
        )
        return made

    def use_domain(self) -> None:
        """Say that operators of onnxruntime's own are used."""
        if not any(entry.domain == MICROSOFT for entry in self.model.opset_import):
            self.model.opset_import.append(need("onnx.helper").make_opsetid(MICROSOFT, 1))

    def sweep(self) -> None:
        """Take out what nothing takes any more: constants, and nodes that made values of them."""
        self._drop_replaced()
        while _swept(self.graph):
            pass

    def _drop_replaced(self) -> None:
        gone = self._replaced
        for one in list(graphs(self.graph))[1:]:
            for index in reversed(range(len(one.initializer))):
                if one.initializer[index].name in gone:
                    del one.initializer[index]
        rewrite(self.graph, lambda node: [] if _holds(node) and node.output[0] in gone else [node])
        self._replaced = set()

    def _add(self, name: str, values: np.ndarray) -> str:
        tensor = need("onnx.numpy_helper").from_array(np.asarray(values, order="C"), name)
        for held in self.graph.initializer:
            if held.name == name:
                held.CopyFrom(tensor)
                return name
        self.graph.initializer.append(tensor)
        return name


def _holds(node: NodeProto) -> bool:
    """Whether a node is a tensor that the file holds."""
    return node.op_type == "Constant" and any(a.HasField("t") for a in node.attribute)


def _tensors(graph: GraphProto) -> dict[str, TensorProto]:
    """The tensors that a graph, and what is within it, holds as values."""
    found = {tensor.name: tensor for one in graphs(graph) for tensor in one.initializer}
    for node in nodes(graph):
        if _holds(node):
            found[node.output[0]] = next(a.t for a in node.attribute if a.HasField("t"))
    return found


_MOVES: Final = ("Constant", "Identity", "Cast", "Transpose")  # all that is made of weights alone


def _swept(graph: GraphProto) -> bool:
    """Take out what nothing takes in one pass; whether there was anything."""
    taken = {name for node in nodes(graph) for name in node.input}
    taken |= {output.name for one in graphs(graph) for output in one.output}
    count = 0
    for one in graphs(graph):
        kept = taken | {entry.name for entry in one.input}
        count += _drop(one.initializer, [part.name not in kept for part in one.initializer])
        count += _drop(one.node, [_is_spare(node, taken) for node in one.node])
    return count > 0


def _is_spare(node: NodeProto, taken: set[str]) -> bool:
    return node.op_type in _MOVES and not taken.intersection(node.output)


def _drop(parts: MutableSequence[Any], gone: list[bool]) -> int:
    """Take out those parts of a message that are told; how many there are."""
    for index in reversed([index for index, one in enumerate(gone) if one]):
        del parts[index]
    return sum(gone)
