"""Which weights of a graph are layers, where their inputs are, and which axis takes them."""

from __future__ import annotations

import pytest

from taut.analysis._conv import Geometry
from taut.analysis.onnx_layers import OnnxLayer, find_layers

onnx = pytest.importorskip("onnx")
from onnx import helper  # noqa: E402

SHAPES = {"w": (4, 6), "b": (6,), "c": (4,), "k": (8, 2, 3, 3), "kb": (8,)}


def layers(*nodes: onnx.NodeProto, outputs: tuple[str, ...] = ("y",)) -> list[OnnxLayer]:
    ends = [helper.make_tensor_value_info(name, 1, None) for name in outputs]
    return find_layers(helper.make_graph(list(nodes), "g", [], ends), SHAPES)


def node(kind: str, inputs: str, output: str = "y", **more: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **more)


def test_a_product_takes_its_inputs_along_the_first_axis() -> None:
    assert layers(node("MatMul", "x w")) == [OnnxLayer("w", "x", "linear", swapped=True)]


def test_a_weight_on_the_left_takes_them_along_the_second() -> None:
    assert layers(node("MatMul", "w x")) == [OnnxLayer("w", "x", "linear", turned=True)]


def test_a_transposed_weight_is_followed() -> None:
    turn = node("Transpose", "w", "t", perm=[1, 0])
    assert layers(turn, node("MatMul", "x t")) == [OnnxLayer("w", "x", "linear")]
    back = node("Transpose", "t", "tt")
    assert layers(turn, back, node("MatMul", "x tt"))[0].swapped


@pytest.mark.parametrize(
    ("more", "swapped", "bias"),
    [
        ({}, True, "b"),
        ({"transB": 1}, False, None),  # four outputs, which b does not fit
        ({"alpha": 0.5}, True, None),
        ({"beta": 0.5}, True, None),
    ],
)
def test_gemm_is_read_with_its_attributes(
    more: dict[str, float], swapped: bool, bias: str | None
) -> None:
    found = layers(node("Gemm", "x w b", **more))
    assert found == [OnnxLayer("w", "x", "linear", swapped=swapped, bias=bias)]
    assert layers(node("Gemm", "x w b", transA=1))[0].turned


def test_a_bias_is_what_alone_is_added_to_a_product() -> None:
    product = node("MatMul", "x w", "z")
    assert layers(product, node("Add", "b z"))[0].bias == "b"
    assert layers(product, node("Add", "c z"))[0].bias is None  # of another size
    assert layers(product, node("Add", "z b"), outputs=("y", "z"))[0].bias is None
    assert layers(product, node("Add", "z b"), node("Relu", "b", "r"))[0].bias is None


def test_convolutions_have_their_geometry() -> None:
    more = {"strides": [2, 1], "pads": [1, 0, 2, 0], "dilations": [1, 2], "group": 4}
    (found,) = layers(node("Conv", "x k kb", **more))
    assert (found.kind, found.bias) == ("conv", "kb")
    assert found.geometry == Geometry((3, 3), (2, 1), (1, 2), ((1, 2), (0, 0)), 4)
    assert layers(node("Conv", "x k", auto_pad="SAME_UPPER")) == []


def test_tables_are_read_by_row() -> None:
    assert layers(node("Gather", "w ids")) == [OnnxLayer("w", "ids", "embedding")]
    assert layers(node("Gather", "w ids", axis=1)) == []


def test_other_uses_and_other_domains_are_none() -> None:
    assert layers(node("Add", "x w"), node("MatMul", "x b"), node("MatMul", "x y")) == []
    assert layers(node("MatMul", "x w", domain="com.example")) == []
