"""Finds the tensors of a model wherever they lie: initialisers, constants, subgraphs, functions.

It gives each a name that no scope makes ambiguous, and tells where a parsed model has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from taut.errors import FormatError
from taut.io._onnx_wire import LENGTH, Data, Field, fields, runs, text

Place: TypeAlias = "tuple[str | int, ...]"
"""The way to a message in a parsed model: names of fields, and numbers in repeated ones."""

_DEEPEST: Final = 100  # protobuf's own limit

# Fields: of ModelProto, GraphProto, NodeProto, AttributeProto, FunctionProto, SparseTensorProto.
_GRAPH, _TRAINING, _FUNCTION = 7, 20, 25
_TRAINING_GRAPHS: Final = {1: "initialization", 2: "algorithm"}
_NODE, _INITIALIZER, _SPARSE = 1, 5, 15
_INPUT, _OUTPUT, _OPERATOR, _ATTRIBUTE, _DOMAIN = 1, 2, 4, 5, 7
_NAME, _FLOATS, _INTS = 1, 7, 8
_TENSORS: Final = {5: "t", 10: "tensors"}
_SPARSE_TENSORS: Final = {22: "sparse_tensor", 23: "sparse_tensors"}
_GRAPHS: Final = {6: "g", 11: "graphs"}
_FUNCTION_NODE, _FUNCTION_DOMAIN, _FUNCTION_ATTRIBUTE = 7, 10, 11
_VALUES, _INDICES = 1, 2
_ALONE: Final = ("t", "g", "sparse_tensor")  # these do not repeat


@dataclass(frozen=True)
class Node:
    """What a node does, and with which values, by their names in its own scope."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class PlacedTensor:
    """A tensor at `place`: `message` is it, or the run of values of a list of an attribute.

    `scope` goes before its own name; `name` is what it is called if it has none, or if its own
    does not count, as in an attribute. `value` is what the nodes of its scope call it.
    """

    message: Field
    scope: str
    name: str
    place: Place
    listed: bool = False
    value: str = ""


@dataclass
class Walk:
    """One pass over a model; `nodes` are those seen so far, of all scopes."""

    data: Data
    where: str
    nodes: list[Node] = field(default_factory=list)

    def model(self, top: list[Field]) -> Iterator[PlacedTensor]:
        """All tensors of a model of these fields, in the order of the file.

        Raises:
            FormatError: it is damaged, or lies too deep.
        """
        counts: Counter[int] = Counter()
        for one in top:
            if one.wire != LENGTH:
                continue
            if one.number == _GRAPH:
                yield from self._graph(one, ("graph",), "", 0)
            elif one.number == _FUNCTION:
                yield from self._function(one, ("functions", counts[_FUNCTION]))
            elif one.number == _TRAINING:
                yield from self._training(one, ("training_info", counts[_TRAINING]))
            counts[one.number] += 1

    def _fields(self, message: Field, depth: int) -> Iterator[Field]:
        """Those that hold something behind their length."""
        if depth > _DEEPEST:
            raise FormatError(f"{self.where}: near byte {message.begin}: messages lie too deep")
        found = fields(self.data, message.begin, message.end, self.where)
        return (one for one in found if one.wire == LENGTH)

    def _graph(
        self, message: Field, place: Place, scope: str, depth: int
    ) -> Iterator[PlacedTensor]:
        counts: Counter[int] = Counter()
        for one in self._fields(message, depth):
            number = counts[one.number]
            counts[one.number] += 1
            if one.number == _NODE:
                yield from self._node(one, (*place, "node", number), scope, depth + 1)
            elif one.number == _INITIALIZER:
                yield PlacedTensor(one, scope, "", (*place, "initializer", number))
            elif one.number == _SPARSE:
                yield from self._sparse(one, (*place, "sparse_initializer", number), scope, "")

    def _training(self, message: Field, place: Place) -> Iterator[PlacedTensor]:
        for one in self._fields(message, 0):
            if (name := _TRAINING_GRAPHS.get(one.number)) is not None:
                scope = f"training {place[-1]}/{name}/"
                yield from self._graph(one, (*place, name), scope, 1)

    def _function(self, message: Field, place: Place) -> Iterator[PlacedTensor]:
        inner = list(self._fields(message, 0))
        own = {one.number: text(self.data, one, self.where)
               for one in inner if one.number in (_NAME, _FUNCTION_DOMAIN)}  # fmt: skip
        scope = f"{own.get(_FUNCTION_DOMAIN, '')}:{own.get(_NAME, '')}/"
        counts: Counter[int] = Counter()
        for one in inner:
            number = counts[one.number]
            counts[one.number] += 1
            if one.number == _FUNCTION_NODE:
                yield from self._node(one, (*place, "node", number), scope, 1)
            elif one.number == _FUNCTION_ATTRIBUTE:
                attribute = (*place, "attribute_proto", number)
                yield from self._attribute(one, attribute, scope, "", 1)

    def _node(self, message: Field, place: Place, scope: str, depth: int) -> Iterator[PlacedTensor]:
        names: dict[int, list[str]] = {_INPUT: [], _OUTPUT: [], _OPERATOR: [""], _DOMAIN: [""]}
        attributes = []
        for one in self._fields(message, depth):
            if one.number in names:
                names[one.number].append(text(self.data, one, self.where))
            elif one.number == _ATTRIBUTE:
                attributes.append(one)
        operator, domain = names[_OPERATOR][-1], names[_DOMAIN][-1]
        operator = operator if domain in ("", "ai.onnx") else f"{domain}:{operator}"
        self.nodes.append(Node(operator, tuple(names[_INPUT]), tuple(names[_OUTPUT])))
        label = next(filter(None, names[_OUTPUT]), f"node {place[-1]}")
        value = label if operator == "Constant" else ""
        for number, one in enumerate(attributes):
            inner = (*place, "attribute", number)
            yield from self._attribute(one, inner, scope, label, depth + 1, value)

    def _attribute(
        self, message: Field, place: Place, scope: str, label: str, depth: int, value: str = ""
    ) -> Iterator[PlacedTensor]:
        """What an attribute of the node `label` holds; a Constant's is called as its `value`."""
        listed = {_FLOATS: "floats", _INTS: "ints"}
        inner = list(runs(self.data, message.begin, message.end, self.where, listed))
        own = [text(self.data, one, self.where) for one in inner if one.number == _NAME]
        name = value or "/".join(filter(None, (label, *own[-1:])))
        counts: Counter[int] = Counter()
        for one in inner:
            number = counts[one.number]
            counts[one.number] += 1
            if one.number in listed and (one.key or one.wire == LENGTH):
                at = (*place, listed[one.number])
                yield PlacedTensor(one, scope, name, at, listed=True, value=value)
            elif one.wire == LENGTH:
                yield from self._message(one, place, number, scope, name, depth, value)

    def _message(
        self, one: Field, place: Place, number: int, scope: str, name: str, depth: int, value: str
    ) -> Iterator[PlacedTensor]:
        """A tensor or graph that an attribute holds."""

        def within(field_name: str) -> Place:
            return (*place, field_name) if field_name in _ALONE else (*place, field_name, number)

        name = f"{name}/{number}" if number else name
        if (kind := _TENSORS.get(one.number)) is not None:
            yield PlacedTensor(one, scope, name, within(kind), value=value)
        elif (kind := _SPARSE_TENSORS.get(one.number)) is not None:
            yield from self._sparse(one, within(kind), scope, name)
        elif (kind := _GRAPHS.get(one.number)) is not None:
            yield from self._graph(one, within(kind), f"{scope}{name}/", depth + 1)

    def _sparse(
        self, message: Field, place: Place, scope: str, name: str
    ) -> Iterator[PlacedTensor]:
        """The values of a sparse tensor and their indices; it is called as its values are."""
        parts = {one.number: one for one in self._fields(message, 0)}
        if not name and _VALUES in parts:
            name = self._name_of(parts[_VALUES])
        for number, kind in ((_VALUES, "values"), (_INDICES, "indices")):
            if number in parts:
                yield PlacedTensor(parts[number], scope, f"{name}/{kind}", (*place, kind))

    def _name_of(self, tensor: Field) -> str:
        names = [one for one in self._fields(tensor, 0) if one.number == 8]  # TensorProto.name
        return text(self.data, names[-1], self.where) if names else "sparse"
