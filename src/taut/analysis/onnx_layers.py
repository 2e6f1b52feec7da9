"""Which weights of an ONNX graph are layers, and which values of the graph are their inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taut.analysis._conv import Geometry

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

SHAPES_KEPT: Final = ("Identity", "Cast")


@dataclass(frozen=True)
class OnnxLayer:
    """One use of a weight: `inputs` names the value of the graph that it is given.

    `swapped`: the weight's first axis takes the inputs, as in `x @ weight`. `turned`: the inputs
    lie along the value's second-last axis. `kind` is "linear", "conv" or "embedding".
    """

    weight: str
    inputs: str
    kind: str
    swapped: bool = False
    turned: bool = False
    bias: str | None = None
    geometry: Geometry | None = None


def find_layers(graph: GraphProto, shapes: Mapping[str, tuple[int, ...]]) -> list[OnnxLayer]:
    """The layers of a graph in its order; `shapes` are those of the weights.

    A MatMul, Gemm, Conv or Gather with a weight, which may come through a Transpose, an Identity
    or a Cast. What is used in another way is none.
    """
    reader = _GraphReader(graph, shapes)
    found = []
    for node in graph.node:
        if node.domain in ("", "ai.onnx"):
            layer = reader.layer(node)
            if layer is not None:
                found.append(layer)
    return found


class _GraphReader:
    """A graph, with what is known of its names."""

    def __init__(self, graph: GraphProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = shapes
        self.uses = Counter(name for node in graph.node for name in node.input)
        self.uses.update(output.name for output in graph.output)
        self.takers = {name: node for node in graph.node for name in node.input}
        # A name to the weight that it stands for, and whether it is transposed.
        self.stands: dict[str, tuple[str, bool]] = {name: (name, False) for name in shapes}
        for node in graph.node:
            self._follow(node)

    def _follow(self, node: NodeProto) -> None:
        known = self.stands.get(node.input[0]) if node.input else None
        if known is None:
            return
        if node.op_type in SHAPES_KEPT:
            self.stands[node.output[0]] = known
        elif node.op_type == "Transpose" and len(self.shapes[known[0]]) == 2:
            order = _numbers(node, "perm", (1, 0))
            self.stands[node.output[0]] = known[0], known[1] != (order == (1, 0))

    def layer(self, node: NodeProto) -> OnnxLayer | None:
        """The layer that a node is."""
        read = {"MatMul": self._matmul, "Gemm": self._gemm, "Conv": self._conv,
                "Gather": self._gather}.get(node.op_type)  # fmt: skip
        return None if read is None else read(node)

    def _matmul(self, node: NodeProto) -> OnnxLayer | None:
        left, right = node.input
        if (known := self._matrix(right)) is not None:
            weight, turned = known
            outputs = self.shapes[weight][0 if turned else 1]
            bias = self._added(node.output[0], outputs)
            return OnnxLayer(weight, left, "linear", swapped=not turned, bias=bias)
        if (known := self._matrix(left)) is not None:
            return OnnxLayer(known[0], right, "linear", swapped=known[1], turned=True)
        return None

    def _gemm(self, node: NodeProto) -> OnnxLayer | None:
        known = self._matrix(node.input[1])
        if known is None:
            return None
        weight, turned = known
        swapped = turned == bool(_number(node, "transB"))
        plain = all(_float(node, name) == 1.0 for name in ("alpha", "beta"))
        bias = node.input[2] if len(node.input) > 2 and plain else ""
        outputs = self.shapes[weight][1 if swapped else 0]
        return OnnxLayer(
            weight,
            node.input[0],
            "linear",
            swapped=swapped,
            turned=bool(_number(node, "transA")),
            bias=self._bias(bias, outputs),
        )

    def _conv(self, node: NodeProto) -> OnnxLayer | None:
        weight, turned = self.stands.get(node.input[1], ("", False))
        geometry = _geometry(node, self.shapes[weight]) if weight and not turned else None
        if geometry is None:
            return None
        bias = node.input[2] if len(node.input) > 2 else ""
        return OnnxLayer(
            weight,
            node.input[0],
            "conv",
            bias=self._bias(bias, self.shapes[weight][0]),
            geometry=geometry,
        )

    def _gather(self, node: NodeProto) -> OnnxLayer | None:
        known = self._matrix(node.input[0])
        if known is None or known[1] or _number(node, "axis"):
            return None
        return OnnxLayer(known[0], node.input[1], "embedding")

    def _matrix(self, name: str) -> tuple[str, bool] | None:
        known = self.stands.get(name)
        return known if known is not None and len(self.shapes[known[0]]) == 2 else None

    def _added(self, name: str, outputs: int) -> str | None:
        """The bias that is added to a product, if nothing else takes the product."""
        taker = self.takers.get(name)
        if taker is None or self.uses[name] != 1 or taker.op_type != "Add":
            return None
        other = next((one for one in taker.input if one != name), "")
        return self._bias(other, outputs)

    def _bias(self, name: str, outputs: int) -> str | None:
        held = self.shapes.get(name) == (outputs,) and self.uses[name] == 1
        return name if held else None


def weights_of(layers: Collection[OnnxLayer]) -> dict[str, list[OnnxLayer]]:
    """The layers by their weight, in order."""
    found: dict[str, list[OnnxLayer]] = {}
    for layer in layers:
        found.setdefault(layer.weight, []).append(layer)
    return found


def _geometry(node: NodeProto, shape: tuple[int, ...]) -> Geometry | None:
    """The geometry of a Conv; None where its padding hangs on the input's size."""
    kernel = shape[2:]
    ones = (1,) * len(kernel)
    padded = next((a.s for a in node.attribute if a.name == "auto_pad"), b"NOTSET")
    if padded not in (b"NOTSET", b"VALID", b"") or not kernel:
        return None
    pads = _numbers(node, "pads", (0,) * (2 * len(kernel)))
    pairs = tuple(zip(pads[: len(kernel)], pads[len(kernel) :], strict=True))
    strides, dilations = _numbers(node, "strides", ones), _numbers(node, "dilations", ones)
    return Geometry(kernel, strides, dilations, pairs, _number(node, "group", 1))


def _number(node: NodeProto, name: str, usual: int = 0) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), usual)


def _float(node: NodeProto, name: str) -> float:
    return next((float(a.f) for a in node.attribute if a.name == name), 1.0)


def _numbers(node: NodeProto, name: str, usual: tuple[int, ...]) -> tuple[int, ...]:
    return next((tuple(a.ints) for a in node.attribute if a.name == name), usual)
