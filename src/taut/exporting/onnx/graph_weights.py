"""The weights of a graph: which constants its nodes multiply by, or look rows up in, and how.

A constant reaches a node by itself or through Identity, Cast and a Transpose of a matrix, in the
graph or in a body. It is a weight if every use of it has a form in other numbers: what is an output
of the graph too, or is added somewhere, stays as it is, and a note says who takes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from taut.errors import ArgumentError
from taut.exporting.onnx.bodies import graphs, key_of, nodes
from taut.exporting.onnx.open_graph import OpenGraph

if TYPE_CHECKING:
    from onnx import AttributeProto, NodeProto

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
        turned, dtype, axes = False, "", set[int]()
        while value not in self._graph.constants:
            node = self._makers.get(value)
            if node is None or node.op_type not in ("Identity", "Cast", "Transpose"):
                return None
            given = attributes(node)
            if node.op_type == "Cast":
                dtype = dtype or _WIDTHS.get(given["to"].i, "other")
            elif node.op_type == "Transpose":
                if list(given["perm"].ints if "perm" in given else [1, 0]) != [1, 0]:
                    return None
                turned, axes = not turned, {2}
            value = node.input[0]
        values = self._large.get(value)
        if values is None or dtype == "other" or (axes and values.ndim != 2):
            return None
        return _Origin(value, turned, dtype or str(values.dtype))

    def _use(self, node: NodeProto, index: int, origin: _Origin, *, inner: bool
             ) -> GraphWeight | _FloatUse:  # fmt: skip
        axes = self._large[origin.name].ndim
        if not np.isfinite(self._large[origin.name]).all():
            return _FloatUse(origin.name, _BROKEN)
        if self._large[origin.name].dtype == np.float64:
            return _FloatUse(origin.name, _DOUBLE)
        form = _form(node, index, axes)
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


def _saves(values: np.ndarray) -> bool:
    """Whether a constant is a matrix or a kernel that is worth its scales, and no lone vector."""
    wide = sum(size > 1 for size in values.shape) >= 2
    return str(values.dtype) in _FLOATS and values.ndim >= 2 and wide and values.size >= LEAST


def attributes(node: NodeProto) -> Mapping[str, AttributeProto]:
    """The attributes of a node by name."""
    return {attribute.name: attribute for attribute in node.attribute}


def _form(node: NodeProto, index: int, axes: int) -> tuple[str, int, tuple[int, ...]] | None:
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
