"""Weights of 4 bits, a scale a block: MatMulNBits, which onnxruntime multiplies by directly.

The operator is onnxruntime's own (com.microsoft). Only products with a matrix have it: tables that
are looked up, convolutions and all else are stored as int8.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError
from taut.exporting.integers import Integers, to_integers
from taut.exporting.onnx.bodies import key_of, rewrite
from taut.exporting.onnx.dynamic import Way, looked_up_rows, put_integers, stored_weight
from taut.exporting.onnx.graph_weights import GraphWeight, listed, need_weights, sizes_of
from taut.exporting.onnx.half import widen_layers
from taut.exporting.onnx.held_integers import Grid, HeldIntegers
from taut.exporting.onnx.known import Known
from taut.exporting.onnx.onnx_form import OnnxForm, Placed, count_floats
from taut.exporting.onnx.open_graph import MICROSOFT, OpenGraph
from taut.exporting.onnx.products import MatrixProduct
from taut.exporting.onnx.row_integers import Stored, stored

if TYPE_CHECKING:
    from onnx import NodeProto


def to_blocks(
    graph: OpenGraph, form: OnnxForm, known: Known, without: frozenset[str] = frozenset()
) -> Placed:
    """Put blocks of 4 bits for the matrices of a graph, `form.group_size` values each.

    The last block of a row may have fewer.
    `known` keeps the integers. Weights named in `without` stay as they are.

    Raises:
        ArgumentError: there is no weight, or there are matrices, all of rows too short for a group.
    """
    floats = count_floats(graph.constants)
    found, left = need_weights(graph, without)
    found = widen_layers(graph, found)
    fitting = [one for one in found if _fits(one, graph.constants, form.group_size)]
    if not (fitting or without):
        _refuse_odd_matrices(found, graph.constants, form.group_size)
    matrices = _matrices(fitting, graph.constants, form, known)
    cut = {one.key for one in fitting}
    others = [one for one in found if one.key not in cut]
    rows = {one.grid: _stored(graph, one, known) for one in others}
    held = HeldIntegers(graph, [(one, one.turned) for one in others], rows, ())
    _Blocks(graph, held, matrices, form.group_size).insert(fitting, others)
    rounded = _rounded(matrices) | _rounded(rows)
    notes = (*left, *_eight(others, graph.constants, form.group_size))
    return Placed(floats - len(rounded), len(rounded), notes, sizes_of(found, graph))


def _rounded(found: Mapping[Grid, Integers] | Mapping[Grid, Stored]) -> set[str]:
    """The constants that integers do not give as they were."""
    return {grid[0] for grid, one in found.items() if not one.exact}


def _refuse_odd_matrices(
    found: list[GraphWeight], constants: Mapping[str, np.ndarray], size: int
) -> None:
    """Raise `ArgumentError` where there are matrices, and besides them at most tables."""
    kinds = {one.kind for one in found}
    if "matmul" in kinds and kinds <= {"matmul", "gather"}:
        odd = listed([_sized(one, constants) for one in found if one.kind == "matmul"])
        raise ArgumentError(
            f"int4: no matrix of the graph has rows of half a group of {size} ({odd}); give a "
            'smaller group_size, or weights="int8"'
        )


def _fits(weight: GraphWeight, constants: Mapping[str, np.ndarray], size: int) -> bool:
    """Whether a use is a product with a matrix whose rows are at least half a group.

    The last group may be short: the operator pads it.
    """
    columns = constants[weight.name].shape[1 - weight.axis] if weight.kind == "matmul" else 0
    return weight.kind == "matmul" and 2 * columns >= size


def _sized(weight: GraphWeight, constants: Mapping[str, np.ndarray]) -> str:
    """The name of a matrix and the length of its rows."""
    return f"{weight.name} of {constants[weight.name].shape[1 - weight.axis]}"


def _eight(others: list[GraphWeight], constants: Mapping[str, np.ndarray], size: int) -> list[str]:
    """Notes on weights that have no form of 4 bits, and have 8."""
    odd: list[str] = []
    kinds: dict[str, list[str]] = {}
    for one in others:
        if one.kind == "matmul":
            odd.append(_sized(one, constants))
        elif one.kind != "gather":
            kinds.setdefault(one.role, []).append(one.name)
    notes = (
        [f"rows are shorter than half a group of {size}, 8 bits instead: {listed(odd)}"]
        if odd
        else []
    )
    for op, names in kinds.items():
        notes.append(f"{op} has no form of 4 bits, 8 instead: {listed(names)}")
    return notes


def _stored(graph: OpenGraph, weight: GraphWeight, known: Known) -> Stored:
    values = graph.constants[weight.name]
    return known.integers(("rows", weight.grid), lambda: stored(values, weight.over, narrow=False))


def _matrices(
    taken: list[GraphWeight], constants: Mapping[str, np.ndarray], form: OnnxForm, known: Known
) -> dict[Grid, Integers]:
    """The integers of all matrices, those of outputs a row."""

    def cut(one: GraphWeight) -> Integers:
        rows = np.ascontiguousarray(np.moveaxis(constants[one.name], one.axis, 0), np.float32)
        rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % form.group_size)), mode="edge")
        return to_integers(rows, 4, group=form.group_size, asymmetric=form.asymmetric)

    matrices = {one.grid: one for one in taken if one.kind == "matmul"}
    return {
        grid: known.integers(("blocks", grid), partial(cut, one)) for grid, one in matrices.items()
    }


def packed(found: Integers) -> NDArray[np.uint8]:
    """Integers as MatMulNBits stores them: uint8 (rows, blocks, bytes), the even column low.

    Symmetric integers are shifted by 8, the zero point that the operator supposes.
    """
    rows, blocks = found.scales.shape
    q = found.values.reshape(rows, blocks, -1) + (8 if found.zeros is None else 0)
    made: NDArray[np.uint8] = (q[..., 0::2] | (q[..., 1::2] << 4)).astype(np.uint8)
    return made


def packed_zeros(zeros: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Zero points, two in a byte, uint8 (rows * bytes of a row)."""
    even = np.pad(zeros, ((0, 0), (0, zeros.shape[1] % 2)))
    made: NDArray[np.uint8] = (even[:, 0::2] | (even[:, 1::2] << 4)).astype(np.uint8)
    return made.reshape(-1)


class _Blocks:
    """Puts products with blocks for those with floats; each matrix is there once."""

    def __init__(
        self,
        graph: OpenGraph,
        held: HeldIntegers,
        matrices: Mapping[Grid, Integers],
        size: int,
    ) -> None:
        self._graph, self._held, self._matrices, self._size = graph, held, matrices, size
        self._names: dict[Grid, list[str]] = {}
        self._columns: dict[Grid, int] = {}

    def insert(self, fitting: list[GraphWeight], others: list[GraphWeight]) -> None:
        """Put in the products, and 8 bits for all else."""
        uses = {one.key: one for one in fitting}
        shapes = {one.grid: self._graph.constants[one.name].shape for one in fitting}
        self._columns = {one.grid: shapes[one.grid][1 - one.axis] for one in fitting}
        for one in others:  # what 8 bits stand for keeps its name, and blocks get another
            self._held.values(one, turned=one.turned)
        eight = {one.name for one in others}
        rest: list[tuple[GraphWeight, Way]] = [
            (one, looked_up_rows if one.kind == "gather" else stored_weight) for one in others
        ]

        def made(node: NodeProto) -> list[NodeProto]:
            weight = uses.get(key_of(node))
            if weight is None:
                return [node]
            return self._product(weight, node, shared=weight.name in eight)

        put_integers(self._graph, self._held, rest)
        rewrite(self._graph.graph, made)

    def _product(self, weight: GraphWeight, node: NodeProto, *, shared: bool) -> list[NodeProto]:
        """The nodes that multiply by a matrix of integers, in place of `node`."""
        self._graph.use_domain()
        one = self._matrices[weight.grid]
        rows = one.values.shape[0]
        columns = self._columns[weight.grid]
        product = MatrixProduct(self._graph, node)
        sizes = {"K": columns, "N": rows, "bits": 4, "block_size": self._size}
        given = [product.x, *self._put(weight, one, shared=shared)]
        wanted = f"{node.output[0]}_product"
        made = self._graph.make("MatMulNBits", given, wanted, domain=MICROSOFT, **sizes)
        return [*product.before, *product.after(made)]

    def _put(self, weight: GraphWeight, one: Integers, *, shared: bool) -> list[str]:
        """The names of the blocks, their scales and their zero points."""
        if weight.grid not in self._names:
            graph, name = self._graph, weight.name
            again = any(grid[0] == name for grid in self._names)
            if shared or again:
                name = graph.put(f"{name}_blocks", packed(one))
            else:
                graph.replace(name, packed(one))
            names = [name, graph.put(f"{name}_scale", one.scales.reshape(-1))]
            if one.zeros is not None:
                names.append(graph.put(f"{name}_zero_point", packed_zeros(one.zeros)))
            self._names[weight.grid] = names
        return self._names[weight.grid]
