"""What stands around a product when its matrix becomes integers: turned inputs, factors, a bias."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from taut.exporting.onnx.node_forms import attributes
from taut.exporting.onnx.open_graph import OpenGraph

if TYPE_CHECKING:
    from onnx import NodeProto


class MatrixProduct:
    """A MatMul or Gemm whose matrix is its second input, taken apart.

    `before` are nodes that come first, and `x` is what they give: the first input, turned where the
    Gemm does so.
    """

    def __init__(self, graph: OpenGraph, node: NodeProto) -> None:
        self._graph, self._node = graph, node
        given = attributes(node)
        self._alpha, self._beta = (given[n].f if n in given else 1.0 for n in ("alpha", "beta"))
        self.before: list[NodeProto] = []
        self.x = node.input[0]
        if "transA" in given and given["transA"].i:
            self.before = [graph.make("Transpose", [self.x], f"{self.x}_turned", perm=[1, 0])]
            self.x = self.before[0].output[0]
        bias = node.input[2] if node.op_type == "Gemm" and len(node.input) > 2 else ""
        self._bias = bias if self._beta else ""

    def vector(self, outputs: int) -> str:
        """The bias, if an operator that has one may add it; it is added by it then."""
        values = self._graph.constants.get(self._bias)
        plain = self._alpha == 1.0 and self._beta == 1.0
        if values is None or values.shape != (outputs,) or values.dtype != np.float32 or not plain:
            return ""
        name, self._bias = self._bias, ""
        return name

    def after(self, product: NodeProto) -> list[NodeProto]:
        """The product, and what makes the node's own output of it."""
        found, out = [product], self._node.output[0]
        if self._alpha != 1.0:
            found.append(self._times(product.output[0], self._alpha))
        if bias := self._bias:
            value = found[-1].output[0]
            if self._beta != 1.0:
                found.append(self._times(bias, self._beta))
                bias = found[-1].output[0]
            found.append(self._graph.make("Add", [value, bias], f"{out}_sum"))
        found[-1].output[0] = out
        return found

    def _times(self, value: str, factor: float) -> NodeProto:
        held = self._graph.put(f"{self._node.output[0]}_factor", np.array(factor, np.float32))
        return self._graph.make("Mul", [value, held], f"{value}_scaled")
