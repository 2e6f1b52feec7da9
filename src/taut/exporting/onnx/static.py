"""Integer weights and integer activations of calibrated ranges: Q and DQ nodes in the graph.

A runtime that knows the pattern runs DQ -> Conv -> Relu -> Q as one integer kernel; one that does
not computes the same in floats. Chains of convolutions stay in integers from end to end, through
sums, pools and slices; linear layers of a transformer take integers and give floats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from taut.exporting.onnx.chains import Chosen, choose
from taut.exporting.onnx.graph import arrays, consumers, put, set_nodes
from taut.exporting.onnx.graph_weights import GraphWeight, Stored
from taut.exporting.onnx.ranges import affine, find_range, observe
from taut.networks.onnx_packages import need
from taut.networks.onnx_session import feed, observed

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto


def insert_static(
    model: ModelProto,
    weights: list[GraphWeight],
    integers: Mapping[str, Stored],
    batches: Iterable[object],
    ranges: str,
) -> None:
    """Calibrate on the batches and put Q and DQ nodes in.

    Raises:
        ArgumentError: there is no batch, one does not fit the graph, or values are not finite.
    """
    chosen = choose(model.graph, weights)
    steps = _steps(model, weights, integers, chosen, batches, ranges)
    _Rounding(model.graph, weights, integers, chosen, steps).insert()


def _steps(
    model: ModelProto,
    weights: list[GraphWeight],
    integers: Mapping[str, Stored],
    chosen: Chosen,
    batches: Iterable[object],
    ranges: str,
) -> dict[str, tuple[float, int]]:
    """Scale and zero point of every value that is measured.

    Inputs of convolutions whose weights are wide get 7 bits, so that sums of two products fit 16.
    """
    names = chosen.measured
    session = observed(model, names)
    feeds = [feed(session, batch) for batch in batches]
    histograms = observe(feeds, names, lambda given, wanted: session.run(list(wanted), dict(given)))
    tight = {
        chosen.source.get(name, name)
        for weight in weights
        if weight.kind == "conv" and integers[weight.name].wide
        for name in (weight.node.input[0],)
    }
    found = {}
    for name, histogram in histograms.items():
        levels = 127 if name in tight else 255
        found[name] = affine(*find_range(histogram, ranges, levels), levels)
    return found


class _Rounding:
    """Puts the pairs of nodes in; `steps` are scale and zero point of each measured value."""

    def __init__(
        self,
        graph: GraphProto,
        weights: list[GraphWeight],
        integers: Mapping[str, Stored],
        chosen: Chosen,
        steps: Mapping[str, tuple[float, int]],
    ) -> None:
        self._graph, self._integers, self._chosen, self._steps = graph, integers, chosen, steps
        self._layers = {one.node.output[0]: one for one in weights if one.kind != "gather"}
        self._constants = arrays(graph)
        self._takers = consumers(graph)
        self._helper = need("onnx.helper")
        self._now: dict[str, str] = {}  # what a value is called after Q and DQ
        self._done: set[str] = set()  # weights whose integers are in place
        self._nodes: list[NodeProto] = []

    def insert(self) -> None:
        """Go through the graph in its order."""
        self._pair_chosen(entry.name for entry in self._graph.input)
        for node in self._graph.node:
            weight = self._layers.get(node.output[0])
            plain = list(node.input)
            self._take_rounded(node, is_layer=weight is not None)
            if weight is not None:
                self._weigh(node, weight, plain[0])
            if not self._pads_integers(node, plain):
                self._nodes.append(node)
                self._pair_chosen(node.output)
        set_nodes(self._graph, self._nodes)

    def _take_rounded(self, node: NodeProto, *, is_layer: bool) -> None:
        """Have a node take rounded values: a layer what it multiplies, any node chained ones."""
        for index, name in enumerate(node.input):
            fed = is_layer and index == 0 and name in self._now
            if fed or name in self._chosen.chained:
                node.input[index] = self._now[name]

    def _pair_chosen(self, names: Iterable[str]) -> None:
        """Round those of some new values that are chosen."""
        for name in names:
            if name in self._chosen.chained or name in self._chosen.fed:
                self._pair(name)

    def _step(self, name: str) -> tuple[float, int]:
        return self._steps[self._chosen.source.get(name, name)]

    def _grid(self, name: str) -> list[str]:
        """The names of a value's scale and zero point, put into the graph."""
        scale, zero = self._step(name)
        return [
            put(self._graph, f"{name}_scale", np.array(scale, np.float32)),
            put(self._graph, f"{name}_zero_point", np.array(zero, np.uint8)),
        ]

    def _pair(self, name: str) -> None:
        """Round a value and widen it again.

        A Relu before it is left out where the integers end at zero: they clip as it does.
        """
        made, taken = self._helper.make_node, name
        last = self._nodes[-1] if self._nodes else None
        if last is not None and last.op_type == "Relu" and name in self._chosen.chained:
            alone = len(self._takers[last.input[0]]) == 1
            if alone and self._step(name)[1] == 0:
                taken = last.input[0]
                self._nodes.pop()
        grid = self._grid(name)
        self._nodes.append(made("QuantizeLinear", [taken, *grid], [f"{name}_integers"]))
        self._widen(name, grid)

    def _widen(self, name: str, grid: list[str]) -> None:
        self._now[name] = f"{name}_rounded"
        given, got = [f"{name}_integers", *grid], [self._now[name]]
        self._nodes.append(self._helper.make_node("DequantizeLinear", given, got))

    def _pads_integers(self, node: NodeProto, plain: list[str]) -> bool:
        """Pad integers with their zero point instead of floats with zeros, where both mean one."""
        name = node.output[0]
        if node.op_type != "Pad" or name not in self._chosen.source or len(plain) != 2:
            return False
        grid = self._grid(name)
        given = [f"{plain[0]}_integers", plain[1], grid[1]]
        self._nodes.append(self._helper.make_node("Pad", given, [f"{name}_integers"]))
        self._widen(name, grid)
        return True

    def _weigh(self, node: NodeProto, weight: GraphWeight, x: str) -> None:
        """Put a layer's integers in place of its weight, and those of its bias."""
        graph, name = self._graph, weight.taken
        found = self._integers[weight.name]
        given = [name, f"{name}_scale", f"{name}_zero_point"]
        if name not in self._done:
            self._done.add(name)
            values, zero = found.safe if weight.kind == "matmul" else (found.values, 0)
            put(graph, weight.name, values)
            put(graph, given[1], found.scales)
            put(graph, given[2], np.full(found.scales.shape, zero, values.dtype))
            self._nodes.append(
                self._helper.make_node(
                    "DequantizeLinear", given, [f"{name}_floats"], axis=weight.rows
                )
            )
        node.input[1] = f"{name}_floats"
        bias = self._constants.get(node.input[2]) if len(node.input) > 2 else None
        if bias is not None and bias.shape == found.scales.shape:
            self._add_bias(node, bias, found.scales.astype(np.float64) * self._step(x)[0])

    def _add_bias(self, node: NodeProto, bias: np.ndarray, steps: np.ndarray) -> None:
        """A bias as int32 of the products' own scale, which integer kernels add for nothing."""
        whole = np.rint(bias.astype(np.float64) / steps)
        name = f"{node.output[0]}_bias"
        if np.abs(whole).max() >= 1 << 31:
            return  # a float bias costs time, an overflow the answer
        given = [
            put(self._graph, name, whole.astype(np.int32)),
            put(self._graph, f"{name}_scale", steps.astype(np.float32)),
            put(self._graph, f"{name}_zero_point", np.zeros(steps.shape, np.int32)),
        ]
        node.input[2] = f"{name}_floats"
        made = self._helper.make_node("DequantizeLinear", given, [node.input[2]], axis=0)
        self._nodes.append(made)
