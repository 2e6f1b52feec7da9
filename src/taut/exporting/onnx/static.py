"""Integer weights and integer activations of calibrated ranges: Q and DQ nodes in the graph.

A runtime that knows the pattern runs DQ -> Conv -> Relu -> Q as one integer kernel; one that does
not computes the same in floats. Chains of convolutions stay in integers from end to end, through
sums, pools and slices; linear layers of a transformer take integers and give floats.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from taut.exporting.onnx.bodies import key_of, take_other
from taut.exporting.onnx.chains import Chosen, choose
from taut.exporting.onnx.graph import consumers
from taut.exporting.onnx.graph_weights import GraphWeight
from taut.exporting.onnx.held_integers import HeldIntegers
from taut.exporting.onnx.known import Known
from taut.exporting.onnx.open_graph import OpenGraph
from taut.exporting.onnx.ranges import affine, find_range
from taut.networks.onnx_packages import need

if TYPE_CHECKING:
    from onnx import NodeProto


class StaticPairs:
    """Pairs of Q and DQ nodes around what integers multiply; their ranges are found at once.

    `weights` are the layers, all of the graph itself: what bodies compute nobody sees. Values that
    were always zero have no range and stay floats; `unknown` are those that layers take.

    Raises:
        ArgumentError: there is no batch, one does not fit the graph, or values are not finite.
    """

    def __init__(
        self,
        graph: OpenGraph,
        held: HeldIntegers,
        weights: list[GraphWeight],
        ranges: str,
        known: Known,
    ) -> None:
        self._graph, self._held = graph, held
        self._layers = {one.key: one for one in weights}
        chosen = choose(graph.graph, weights, graph.constants)
        self._steps = _steps(graph, held, chosen, weights, ranges, known)
        self._chosen = chosen.only(self._steps)
        self.unknown = sorted(chosen.fed - self._chosen.fed - self._chosen.chained)
        self._takers = consumers(graph.graph)
        self._helper = need("onnx.helper")
        self._now: dict[str, str] = {}  # what a value is called after Q and DQ
        self._whole: dict[str, str] = {}  # the integers between them
        self._grids: dict[str, list[str]] = {}
        self._floats: dict[object, str] = {}  # weights whose integers are in place
        self._nodes: list[NodeProto] = []

    def insert(self) -> None:
        """Go through the graph in its order."""
        inner = self._graph.graph
        self._pair_chosen(entry.name for entry in inner.input)
        for node in inner.node:
            weight = self._layers.get(key_of(node))
            plain = list(node.input)
            self._take_rounded(node, is_layer=weight is not None)
            if weight is not None:
                self._weigh(node, weight, plain[0])
            if not self._pads_integers(node, plain):
                self._nodes.append(node)
                self._pair_chosen(node.output)
        del inner.node[:]
        inner.node.extend(self._nodes)

    def _take_rounded(self, node: NodeProto, *, is_layer: bool) -> None:
        """Have a node take rounded values: a layer what it multiplies, any node chained ones."""
        if is_layer and node.input[0] in self._now:
            node.input[0] = self._now[node.input[0]]
        take_other(node, {n: new for n, new in self._now.items() if n in self._chosen.chained})

    def _pair_chosen(self, names: Iterable[str]) -> None:
        """Round those of some new values that are chosen."""
        for name in names:
            if name in self._chosen.chained or name in self._chosen.fed:
                self._pair(name)

    def _step(self, name: str) -> tuple[float, int]:
        return self._steps[self._chosen.source.get(name, name)]

    def _grid(self, name: str) -> list[str]:
        """The names of a value's scale and zero point, put into the graph."""
        if name not in self._grids:
            scale, zero = self._step(name)
            self._grids[name] = [
                self._graph.put(f"{name}_scale", np.array(scale, np.float32)),
                self._graph.put(f"{name}_zero_point", np.array(zero, np.uint8)),
            ]
        return self._grids[name]

    def _pair(self, name: str) -> None:
        """Round a value and widen it again.

        A Relu before it is left out where the integers end at zero: they clip as it does.
        """
        taken = name
        last = self._nodes[-1] if self._nodes else None
        if last is not None and last.op_type == "Relu" and name in self._chosen.chained:
            alone = len(self._takers.get(last.input[0], ())) == 1
            if alone and self._step(name)[1] == 0:
                taken = last.input[0]
                self._nodes.pop()
        made = self._graph.make("QuantizeLinear", [taken, *self._grid(name)], f"{name}_integers")
        self._nodes.append(made)
        self._widen(name, made)

    def _widen(self, name: str, whole: NodeProto) -> None:
        self._whole[name] = whole.output[0]
        given = [whole.output[0], *self._grid(name)]
        made = self._graph.make("DequantizeLinear", given, f"{name}_rounded")
        self._now[name] = made.output[0]
        self._nodes.append(made)

    def _pads_integers(self, node: NodeProto, plain: list[str]) -> bool:
        """Pad integers with their zero point instead of floats with zeros, where both mean one."""
        name = key_of(node)
        known = name in self._chosen.source and plain[0] in self._whole
        if node.op_type != "Pad" or not known or len(plain) != 2:
            return False
        given = [self._whole[plain[0]], plain[1], self._grid(name)[1]]
        made = self._graph.make("Pad", given, f"{name}_integers")
        self._nodes.append(made)
        self._widen(name, made)
        return True

    def _weigh(self, node: NodeProto, weight: GraphWeight, x: str) -> None:
        """Put a layer's integers in place of its weight, and those of its bias."""
        held, found = self._held, self._held.found(weight)
        place = weight.grid, weight.turned
        if place not in self._floats:
            name, turn = held.values(weight, turned=weight.turned)
            given = [name, held.scales(weight), held.zeros(weight)]
            made = self._graph.make("DequantizeLinear", given, f"{name}_floats", axis=weight.rows)
            self._nodes += [*turn, made]
            self._floats[place] = made.output[0]
        node.input[weight.index] = self._floats[place]
        taken = len(node.input) > 2 and x in self._now
        bias = self._graph.constants.get(node.input[2]) if taken else None
        if bias is not None and bias.shape == found.flat_scales.shape:
            self._add_bias(node, bias, found.flat_scales.astype(np.float64) * self._step(x)[0])

    def _add_bias(self, node: NodeProto, bias: np.ndarray, steps: np.ndarray) -> None:
        """A bias as int32 of the products' own scale, which integer kernels add for nothing."""
        whole = np.rint(bias.astype(np.float64) / steps)
        if np.abs(whole).max() >= 1 << 31:
            return  # a float bias costs time, an overflow the answer
        name = self._graph.put(f"{key_of(node)}_bias", whole.astype(np.int32))
        given = [
            name,
            self._graph.put(f"{name}_scale", steps.astype(np.float32)),
            self._graph.put(f"{name}_zero_point", np.zeros(steps.shape, np.int32)),
        ]
        made = self._graph.make("DequantizeLinear", given, f"{name}_floats", axis=0)
        node.input[2] = made.output[0]
        self._nodes.append(made)


def _steps(
    graph: OpenGraph,
    held: HeldIntegers,
    chosen: Chosen,
    weights: list[GraphWeight],
    ranges: str,
    known: Known,
) -> dict[str, tuple[float, int]]:
    """Scale and zero point of every value that is measured, but for those that are always zero.

    Inputs of convolutions whose weights are wide get 7 bits, so that sums of two products fit 16.
    """
    histograms = known.histograms(graph.model, chosen.measured)
    tight = {
        chosen.source.get(name, name)
        for weight in weights
        if weight.kind == "conv" and held.found(weight).wide
        for name in (weight.node.input[0],)
    }
    found = {}
    for name, histogram in histograms.items():
        if histogram.empty:
            continue
        levels = 127 if name in tight else 255
        found[name] = affine(*find_range(histogram, ranges, levels), levels)
    return found
