"""The weights of a graph: which constants its nodes multiply by, or look rows up in, and how.

A constant reaches a node by itself or through Identity, Cast and a Transpose of a matrix, in the
graph or in a body. It is a weight if every use of it has a form in other numbers: what is an output
of the graph too, or is added somewhere, stays as it is, and a note says who takes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from taut.errors import ArgumentError
from taut.exporting.onnx.bodies import graphs, key_of, nodes
from taut.exporting.onnx.node_forms import attributes, form_of
from taut.exporting.onnx.open_graph import OpenGraph

if TYPE_CHECKING:
    from onnx import NodeProto

LEAST: Final = 64  # values of a weight below which other numbers save nothing
_FLOATS: Final = ("float32", "float16", "bfloat16", "float64")
_WIDTHS: Final = {1: "float32", 10: "float16", 16: "bfloat16"}  # of ONNX's types, Cast's `to`
_OUTPUT: Final = "an output of the graph"
_BIAS: Final = "a bias"  # and an initial state: so small beside the weights that no note names it
_BROKEN: Final = "not finite"
_DOUBLE: Final = "float64"
_RECURRENT: Final = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True)
class GraphWeight:
    """A use of a constant: input `index` of a node, which `key` tells from all others.

    `kind` is conv, matmul or gather, for which there are operators of integers, or stored, which
    are made floats again before they are multiplied. `axis` is the constant's axis of outputs, the
    rows, and axes `over` share a scale. `turned` tells that the node takes the constant transposed,
    `inner` that it stands in a body; `dtype` is what the node computes in.
    """

    name: str
    node: NodeProto
    index: int
    kind: str
    axis: int
    over: tuple[int, ...]
    turned: bool
    inner: bool
    dtype: str

    @property
    def half(self) -> bool:
        """Whether the node computes in 16 bits."""
        return self.dtype != "float32"

    @property
    def key(self) -> str:
        """The first value that the node makes."""
        return key_of(self.node)

    @property
    def role(self) -> str:
        """What the node does with it, in words."""
        operator = self.node.op_type
        if operator in ("MatMul", "Gemm") and self.kind == "stored":
            return f"{operator} ({'the weight first' if self.index == 0 else 'three axes'})"
        return operator

    @property
    def grid(self) -> tuple[str, tuple[int, ...]]:
        """What tells its integers from others: a constant may have some for either axis."""
        return self.name, self.over

    @property
    def rows(self) -> int:
        """The axis of the outputs in what the node takes."""
        return 1 - self.axis if self.turned else self.axis


@dataclass(frozen=True)
class _Origin:
    """The constant behind a value, and what lies between."""

    name: str
    turned: bool
    dtype: str


def find_weights(graph: OpenGraph, without: frozenset[str] = frozenset()
                 ) -> tuple[list[GraphWeight], list[str]]:  # fmt: skip
    """The weights that other numbers can stand for, and a note for each kind that they cannot.

    Those named in `without` stay as they are, and no note says so.
    """
    found: list[GraphWeight] = []
    left: dict[str, list[str]] = {}
    for use in _Uses(graph, without):
        if isinstance(use, GraphWeight):
            found.append(use)
        else:
            left.setdefault(use.operator, []).append(use.name)
    odd = {name for names in left.values() for name in names}
    left.pop(_BIAS, None)
    notes = [f"{listed(names)}: stays float ({_reason(op)})" for op, names in left.items()]
    return [weight for weight in found if weight.name not in odd], notes


def need_weights(graph: OpenGraph, without: frozenset[str]
                 ) -> tuple[list[GraphWeight], list[str]]:  # fmt: skip
    """As `find_weights`, of a graph that has some.

    Raises:
        ArgumentError: it has none; the message names its operators.
    """
    found, notes = find_weights(graph, without)
    if not found and not without:
        raise no_weights(graph, "that integers can stand for", notes)
    return found, notes


def _reason(operator: str) -> str:
    if operator == _OUTPUT:
        return "it is an output of the graph too"
    if operator == _BROKEN:
        return "it has values that are not finite"
    if operator == _DOUBLE:
        return "it is in float64"
    return f"{operator} has no form in integers here"


def listed(names: list[str]) -> str:
    """The first of some names, each once, and how many more there are."""
    single = list(dict.fromkeys(names))
    more = f" and {len(single) - 3} more" if len(single) > 3 else ""
    return ", ".join(single[:3]) + more


def sizes_of(found: list[GraphWeight], graph: OpenGraph) -> dict[str, int]:
    """The constants of some uses in the graph's order, and how many values each has."""
    return {one.name: graph.constants[one.name].size for one in found}


def no_weights(graph: OpenGraph, what: str, left: list[str]) -> ArgumentError:
    """The error of a graph none of whose constants can be put in other numbers; `left` says why."""
    held = listed(sorted({node.op_type for node in nodes(graph.graph)} - {"Constant"}))
    small = f"none of its constants is a matrix or kernel of floats with {LEAST} values"
    return ArgumentError(
        f"the graph has no weights {what} (it has {held or 'no operators'}): "
        f'{"; ".join(left) or small}; give weights="float32"'
    )


@dataclass(frozen=True)
class _FloatUse:
    """A constant that is taken as no integers can stand for it."""

    name: str
    operator: str


class _Uses:
    """What a graph does with its matrices and kernels, in its order."""

    def __init__(self, graph: OpenGraph, without: frozenset[str]) -> None:
        self._graph = graph
        self._large = {
            name: values for name, values in graph.constants.items()
            if _saves(values) and name not in without
        }  # fmt: skip
        self._makers = {n: node for node in nodes(graph.graph) for n in node.output if n}
        self._passing: dict[str, _Origin] = {}

    def __iter__(self) -> Iterator[GraphWeight | _FloatUse]:
        outside = {key_of(node) for node in self._graph.graph.node}
        for node in nodes(self._graph.graph):
            if key_of(node) in self._makers and self._origin(key_of(node)) is not None:
                continue  # it only passes a constant on
            for index, taken in enumerate(node.input):
                if (origin := self._origin(taken)) is not None:
                    yield self._use(node, index, origin, inner=key_of(node) not in outside)
        for one in graphs(self._graph.graph):
            for output in one.output:
                if (origin := self._origin(output.name)) is not None:
                    yield _FloatUse(origin.name, _OUTPUT)

    def _origin(self, value: str) -> _Origin | None:
        """The constant that a value is, if it is one that is large enough."""
        turns, dtypes = 0, list[str]()
        while value not in self._graph.constants:
            node = self._makers.get(value)
            if node is None or not _passes_on(node):
                return None
            turns += node.op_type == "Transpose"
            if node.op_type == "Cast":
                dtypes.append(_WIDTHS.get(attributes(node)["to"].i, ""))
            value = node.input[0]
        values = self._large.get(value)
        if values is None or (turns and values.ndim != 2):
            return None
        dtype = [*dtypes, str(values.dtype)][0]  # what the last one makes of it
        return _Origin(value, bool(turns % 2), dtype) if dtype else None

    def _use(self, node: NodeProto, index: int, origin: _Origin, *, inner: bool
             ) -> GraphWeight | _FloatUse:  # fmt: skip
        axes = self._large[origin.name].ndim
        if not np.isfinite(self._large[origin.name]).all():
            return _FloatUse(origin.name, _BROKEN)
        if self._large[origin.name].dtype == np.float64:
            return _FloatUse(origin.name, _DOUBLE)
        form = form_of(node, index, axes)
        if form is None:
            small = node.op_type in _RECURRENT and index > 2
            return _FloatUse(origin.name, _BIAS if small else node.op_type)
        kind, axis, over = form
        if origin.turned:
            axis, over = 1 - axis, tuple(1 - one for one in over)
            if kind == "gather":  # columns of the table, which are not stored as such
                kind = "stored"
        return GraphWeight(
            name=origin.name,
            node=node,
            index=index,
            kind=kind,
            axis=axis,
            over=over,
            turned=origin.turned,
            inner=inner,
            dtype=origin.dtype,
        )


def _passes_on(node: NodeProto) -> bool:
    """Whether a node gives a constant as it is, in another type, or a matrix turned."""
    if node.op_type != "Transpose":
        return node.op_type in ("Identity", "Cast")
    given = attributes(node)
    return "perm" not in given or list(given["perm"].ints) == [1, 0]


def _saves(values: np.ndarray) -> bool:
    """Whether a constant is a matrix or a kernel that is worth its scales, and no lone vector."""
    wide = sum(size > 1 for size in values.shape) >= 2
    return str(values.dtype) in _FLOATS and values.ndim >= 2 and wide and values.size >= LEAST
