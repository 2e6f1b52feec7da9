"""Which weights of an ONNX graph are layers, and which values of the graph are their inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taut.analysis._conv import Geometry
from taut.analysis.onnx_attributes import decimal, numbers, whole, words
from taut.analysis.onnx_names import DOMAINS, GraphNames
from taut.networks.onnx_inner import MAIN, InnerValue

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


@dataclass(frozen=True)
class OnnxLayer:
    """One use of a weight: `inputs` is the value of the graph that it is given.

    `axis` is the weight's axis that takes the inputs: of `x @ weight` the second-last one, of
    others the last, or all but the first. `turned`: the inputs lie along the value's second-last
    axis. `kind` is "linear", "conv", "conv_transpose", "recurrent" or "embedding"; `factor` goes
    before the product, in shares of what goes before the bias; `padded` says where a convolution
    is padded to the size of its input, at its "upper" or its "lower" end first.
    """

    weight: str
    inputs: InnerValue
    kind: str
    axis: int = -1
    turned: bool = False
    bias: str | None = None
    factor: float = 1.0
    geometry: Geometry | None = None
    padded: str = ""


@dataclass
class OnnxUses:
    """How a graph uses its weights: as `layers`, in the graph's order, or in `others`.

    `others` are the operators that take a weight in a way that is not followed; `inner` are the
    weights that subgraphs alone use, which may not run.
    """

    layers: list[OnnxLayer] = field(default_factory=list)
    others: dict[str, dict[str, None]] = field(default_factory=dict)
    inner: set[str] = field(default_factory=set)


def find_uses(graph: GraphProto, shapes: Mapping[str, tuple[int, ...]]) -> OnnxUses:
    """The uses of weights in a graph and its subgraphs; `shapes` are those of the weights.

    Layers are MatMul, Gemm, Conv, ConvTranspose, LSTM, GRU, RNN and Gather, and what onnxruntime
    makes of them, with a weight, which may come through a Transpose, an Identity or a Cast.
    """
    found = OnnxUses()
    uses = Counter(name for one in _graphs(graph) for node in one.node for name in node.input)
    uses.update(output.name for one in _graphs(graph) for output in one.output)
    names = GraphNames(MAIN, shapes, {name: (name, False) for name in shapes})
    scope = _Scope(graph, names.enter(graph, MAIN), uses, found)
    scope.read()
    found.inner -= scope.main
    return found


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and all that lie in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _graphs(inner)


@dataclass
class _Scope:
    """A graph whose nodes are read; `uses` counts those of names in all graphs."""

    graph: GraphProto
    names: GraphNames
    uses: Counter[str]
    found: OnnxUses
    main: set[str] = field(default_factory=set)

    def read(self) -> None:
        """Find the layers, node by node."""
        self.shapes = self.names.shapes
        self.takers = {name: node for node in self.graph.node for name in node.input}
        for number, node in enumerate(self.graph.node):
            for name in node.output:
                self.names.make(name)
            if not self.names.follow(node):
                self._use(node)
            for place, attribute in enumerate(node.attribute):
                if attribute.HasField("g"):
                    within = (*self.names.place, "node", number, "attribute", place, "g")
                    names = self.names.enter(attribute.g, within, node.op_type)
                    _Scope(attribute.g, names, self.uses, self.found).read()

    def _use(self, node: NodeProto) -> None:
        """Note how a node uses weights."""
        layers = list(self._layers(node)) if node.domain in DOMAINS else []
        self.found.layers += layers
        followed = {layer.weight for layer in layers} | {layer.bias for layer in layers}
        for name in node.input:
            weight = self.names.stands.get(name, ("", False))[0]
            if weight:
                (self.main if self.names.place == MAIN else self.found.inner).add(weight)
            if weight and weight not in followed and len(self.shapes[weight]) > 1:
                self.found.others.setdefault(weight, {})[node.op_type] = None

    def _layers(self, node: NodeProto) -> Iterator[OnnxLayer]:
        """The layers that a node is."""
        read = {
            "MatMul": self._matmul, "FusedMatMul": self._matmul, "Gemm": self._gemm,
            "FusedGemm": self._gemm, "Conv": self._conv, "FusedConv": self._conv,
            "ConvTranspose": self._conv_transpose, "Gather": self._gather,
            "LSTM": self._recurrent, "GRU": self._recurrent, "RNN": self._recurrent,
            "Attention": self._attention, "EmbedLayerNormalization": self._embed,
        }.get(node.op_type)  # fmt: skip
        if read is not None:
            yield from read(node)

    def _matmul(self, node: NodeProto) -> Iterator[OnnxLayer]:
        left, right = node.input[:2]
        if whole(node, "transBatchA") or whole(node, "transBatchB"):
            return
        turns = [bool(whole(node, name)) for name in ("transA", "transB")]
        if (known := self.names.matrix(right)) is not None:
            weight, turned = known
            rank = len(self.shapes[weight])
            swapped = turned == turns[1]
            axis = rank - 2 if swapped else rank - 1
            outputs = self.shapes[weight][rank - 1 if swapped else rank - 2]
            bias = self._added(node.output[0], outputs) if rank == 2 else None
            yield OnnxLayer(
                weight, self.names.value(left), "linear", axis, turned=turns[0], bias=bias,
                factor=decimal(node, "alpha"),
            )  # fmt: skip
        elif (known := self.names.matrix(left)) is not None:
            weight, turned = known
            rank = len(self.shapes[weight])
            axis = rank - 2 if turned != turns[0] else rank - 1
            yield OnnxLayer(weight, self.names.value(right), "linear", axis, turned=not turns[1])

    def _gemm(self, node: NodeProto) -> Iterator[OnnxLayer]:
        turns = [bool(whole(node, name)) for name in ("transA", "transB")]
        alpha, beta = decimal(node, "alpha"), decimal(node, "beta")
        if (known := self.names.matrix(node.input[1])) is not None:
            weight, turned = known
            axis = 0 if turned == turns[1] else 1
            bias = node.input[2] if len(node.input) > 2 and beta else ""
            yield OnnxLayer(
                weight, self.names.value(node.input[0]), "linear", axis, turned=turns[0],
                bias=self._bias(bias, self.shapes[weight][1 - axis]),
                factor=alpha / beta if beta else alpha,
            )  # fmt: skip
        elif (known := self.names.matrix(node.input[0])) is not None:
            weight, turned = known
            axis = 0 if turned != turns[0] else 1
            yield OnnxLayer(
                weight, self.names.value(node.input[1]), "linear", axis, turned=not turns[1]
            )

    def _conv(self, node: NodeProto) -> Iterator[OnnxLayer]:
        weight = self.names.plain(node.input[1])
        if not weight:
            return
        padded = {"SAME_UPPER": "upper", "SAME_LOWER": "lower"}.get(words(node, "auto_pad"), "")
        bias = node.input[2] if len(node.input) > 2 else ""
        yield OnnxLayer(
            weight, self.names.value(node.input[0]), "conv",
            bias=self._bias(bias, self.shapes[weight][0]),
            geometry=_geometry(node, self.shapes[weight], padded), padded=padded,
        )  # fmt: skip

    def _conv_transpose(self, node: NodeProto) -> Iterator[OnnxLayer]:
        weight = self.names.plain(node.input[1])
        if weight:
            yield OnnxLayer(weight, self.names.value(node.input[0]), "conv_transpose", 0)

    def _recurrent(self, node: NodeProto) -> Iterator[OnnxLayer]:
        """The weights of the inputs, and those of the states, which the node gives itself."""
        for place, value in ((1, node.input[0]), (2, node.output[0])):
            weight = self.names.rows.get(node.input[place]) or self.names.plain(node.input[place])
            if weight and value:
                axis = len(self.shapes[weight]) - 1
                yield OnnxLayer(weight, self.names.value(value), "recurrent", axis)

    def _attention(self, node: NodeProto) -> Iterator[OnnxLayer]:
        """Of onnxruntime: the weights of queries, keys and values in one, (inputs, outputs)."""
        known = self.names.matrix(node.input[1]) if node.domain == "com.microsoft" else None
        if known is not None and not known[1]:
            bias = node.input[2] if len(node.input) > 2 else ""
            yield OnnxLayer(
                known[0], self.names.value(node.input[0]), "linear", 0,
                bias=self._bias(bias, self.shapes[known[0]][1]),
            )  # fmt: skip

    def _embed(self, node: NodeProto) -> Iterator[OnnxLayer]:
        """Of onnxruntime: tables of words and of segments."""
        for ids, table in ((0, 2), (1, 4)):
            known = self.names.matrix(node.input[table]) if len(node.input) > table else None
            if known is not None and not known[1] and node.input[ids]:
                value = self.names.value(node.input[ids], whole_numbers=True)
                yield OnnxLayer(known[0], value, "embedding", 0)

    def _gather(self, node: NodeProto) -> Iterator[OnnxLayer]:
        table = self.names.plain(node.input[0])
        if table and not whole(node, "axis"):
            value = self.names.value(node.input[1], whole_numbers=True)
            yield OnnxLayer(table, value, "embedding", 0)

    def _added(self, name: str, outputs: int) -> str | None:
        """The bias that is added to a product, if nothing else takes the product."""
        taker = self.takers.get(name)
        if taker is None or self.uses[name] != 1 or taker.op_type != "Add":
            return None
        other = next((one for one in taker.input if one != name), "")
        return self._bias(other, outputs)

    def _bias(self, name: str, outputs: int) -> str | None:
        """The weight that a bias is, if nothing else uses it."""
        weight = self.names.stands.get(name, ("", False))[0]
        held = self.shapes.get(weight) == (outputs,) and self.uses[name] == self.uses[weight] == 1
        return weight if held else None


def weights_of(layers: Collection[OnnxLayer]) -> dict[str, list[OnnxLayer]]:
    """The layers by their weight, in order."""
    found: dict[str, list[OnnxLayer]] = {}
    for layer in layers:
        found.setdefault(layer.weight, []).append(layer)
    return found


def _geometry(node: NodeProto, shape: tuple[int, ...], padded: str) -> Geometry:
    """The geometry of a Conv, without the padding that hangs on the input's size."""
    kernel = shape[2:]
    ones, nothing = (1,) * len(kernel), (0,) * (2 * len(kernel))
    pads = nothing if padded else numbers(node, "pads", nothing)
    pairs = tuple(zip(pads[: len(kernel)], pads[len(kernel) :], strict=True))
    strides, dilations = numbers(node, "strides", ones), numbers(node, "dilations", ones)
    return Geometry(kernel, strides, dilations, pairs, whole(node, "group", 1))
