"""Integers of 8 bits for the weights of a graph, and for its activations where they are asked."""

from __future__ import annotations

from typing import Final

from taut.exporting.onnx.dynamic import (
    Way,
    dynamic_product,
    looked_up_rows,
    put_integers,
    stored_weight,
    turned_for_product,
)
from taut.exporting.onnx.graph_weights import GraphWeight, listed, need_weights, sizes_of
from taut.exporting.onnx.half import widen_layers
from taut.exporting.onnx.held_integers import Grid, HeldIntegers
from taut.exporting.onnx.known import Known
from taut.exporting.onnx.onnx_form import OnnxForm, Placed, count_floats
from taut.exporting.onnx.open_graph import OpenGraph
from taut.exporting.onnx.row_integers import Stored, stored
from taut.exporting.onnx.static import StaticPairs

# How a use becomes integers. "pairs" are those of static activations, which see the whole graph.
_WAYS: Final[dict[str, Way]] = {
    "rows": looked_up_rows,
    "dynamic": dynamic_product,
    "floats": stored_weight,
}


def to_int8(
    graph: OpenGraph,
    form: OnnxForm,
    known: Known,
    without: frozenset[str] = frozenset(),
    loose: frozenset[str] = frozenset(),
) -> Placed:
    """Put integers for the weights of a graph; `known` has the ranges of static activations.

    Weights named in `without` stay as they are; those in `loose` are multiplied as floats.

    Raises:
        ArgumentError: there is no weight to put, or the batches are not the graph's.
    """
    floats = count_floats(graph.constants)
    found, left = need_weights(graph, without)
    found = widen_layers(graph, found)
    ways = [_way(one, "none" if one.name in loose else form.activations) for one in found]
    integers, unknown = _put_all(graph, list(zip(found, ways, strict=True)), form, known)
    rounded = {one.name for one in found if not integers[one.grid].exact}
    notes = (*left, *_slow(found, ways, form, loose), *unknown)
    return Placed(floats - len(rounded), len(rounded), notes, sizes_of(found, graph))


def _put_all(
    graph: OpenGraph, uses: list[tuple[GraphWeight, str]], form: OnnxForm, known: Known
) -> tuple[dict[Grid, Stored], list[str]]:
    """Put the integers of all uses into the graph, each in its way; the integers, and notes."""
    products = _multiplied(uses)
    integers = {one.grid: _stored(graph, one, known, narrow=one.grid in products)
                for one, _ in uses}  # fmt: skip
    turns = [(one, _is_turned(one, way)) for one, way in uses]
    held = HeldIntegers(graph, turns, integers, products)
    paired = [one for one, way in uses if way == "pairs"]
    pairs = StaticPairs(graph, held, paired, form.ranges, known) if paired else None
    put_integers(graph, held, [(one, _WAYS[way]) for one, way in uses if way != "pairs"])
    if pairs is not None:  # its ranges were found before the other nodes changed
        pairs.insert()
    return integers, _unknown(pairs)


def _multiplied(uses: list[tuple[GraphWeight, str]]) -> set[Grid]:
    """Which integers are multiplied as such in a product of matrices."""
    return {one.grid for one, way in uses if one.kind == "matmul" and way != "floats"}


def _is_turned(weight: GraphWeight, way: str) -> bool:
    """Whether a use takes the integers of its constant turned."""
    return turned_for_product(weight) if way == "dynamic" else weight.turned


def _stored(graph: OpenGraph, weight: GraphWeight, known: Known, *, narrow: bool) -> Stored:
    values = graph.constants[weight.name]
    key = weight.grid, narrow
    return known.integers(key, lambda: stored(values, weight.over, narrow=narrow))


def _way(weight: GraphWeight, activations: str) -> str:
    """How a use becomes integers."""
    if weight.kind == "gather":
        return "rows"
    if weight.kind == "stored" or activations == "none":
        return "floats"
    if activations == "static" and not weight.inner:
        return "pairs"
    return "dynamic" if weight.kind == "matmul" else "floats"


def _unknown(pairs: StaticPairs | None) -> list[str]:
    """A note on inputs of layers that have no range."""
    if pairs is None or not pairs.unknown:
        return []
    told = listed(pairs.unknown)
    return [f"{told}: always zero in the batches, so without a range, and taken as floats"]


def _slow(
    found: list[GraphWeight], ways: list[str], form: OnnxForm, loose: frozenset[str]
) -> list[str]:
    """Notes on weights that are integers in the file, and floats where they are multiplied."""
    if form.activations == "none":
        return []
    slow: dict[str, list[str]] = {}
    for weight, way in zip(found, ways, strict=True):
        if way == "floats" and weight.name not in loose:
            slow.setdefault(weight.role, []).append(weight.name)
    return [
        f"{op}: int8 in the file, multiplied as floats, so as fast as before: {listed(names)}"
        for op, names in slow.items()
    ]
