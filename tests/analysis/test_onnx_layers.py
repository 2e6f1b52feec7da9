"""Which weights of a graph are layers, where their inputs are, and which axis takes them."""

from __future__ import annotations

import pytest

from taut.analysis._conv import Geometry
from taut.analysis.onnx_layers import OnnxLayer, OnnxUses, find_uses
from taut.networks.onnx_inner import MAIN, InnerValue

onnx = pytest.importorskip("onnx")
from onnx import helper  # noqa: E402

SHAPES = {
    "w": (4, 6), "b": (6,), "c": (4,), "k": (8, 2, 3, 3), "kb": (8,), "many": (5, 4, 6),
    "lw": (1, 20, 3), "lr": (1, 20, 5), "table": (9, 1, 4),
}  # fmt: skip
X = InnerValue(MAIN, "x")


def uses(*nodes: onnx.NodeProto, outputs: tuple[str, ...] = ("y",)) -> OnnxUses:
    ends = [helper.make_tensor_value_info(name, 1, None) for name in outputs]
    return find_uses(helper.make_graph(list(nodes), "g", [], ends), SHAPES)


def layers(*nodes: onnx.NodeProto, outputs: tuple[str, ...] = ("y",)) -> list[OnnxLayer]:
    return uses(*nodes, outputs=outputs).layers


def node(kind: str, inputs: str, output: str = "y", **more: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **more)


def test_a_product_takes_its_inputs_along_the_first_axis() -> None:
    assert layers(node("MatMul", "x w")) == [OnnxLayer("w", X, "linear", 0)]


def test_a_weight_on_the_left_takes_them_along_the_second() -> None:
    assert layers(node("MatMul", "w x")) == [OnnxLayer("w", X, "linear", 1, turned=True)]


def test_a_transposed_weight_is_followed() -> None:
    turn = node("Transpose", "w", "t", perm=[1, 0])
    assert layers(turn, node("MatMul", "x t")) == [OnnxLayer("w", X, "linear", 1)]
    back = node("Transpose", "t", "tt")
    assert layers(turn, back, node("MatMul", "x tt"))[0].axis == 0


@pytest.mark.parametrize(
    ("more", "axis", "bias", "factor"),
    [
        ({}, 0, "b", 1),
        ({"transB": 1}, 1, None, 1),  # four outputs, which b does not fit
        ({"alpha": 0.5}, 0, "b", 0.5),
        ({"alpha": 0.5, "beta": 0.25}, 0, "b", 2),
        ({"beta": 0.0}, 0, None, 1),
    ],
)
def test_gemm_is_read_with_its_attributes(
    more: dict[str, float], axis: int, bias: str | None, factor: float
) -> None:
    found = layers(node("Gemm", "x w b", **more))
    assert found == [OnnxLayer("w", X, "linear", axis, bias=bias, factor=factor)]
    assert layers(node("Gemm", "x w b", transA=1))[0].turned


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("second", [0, 1])
def test_gemm_with_its_weight_on_the_left(first: int, second: int) -> None:
    (found,) = layers(node("Gemm", "w x", transA=first, transB=second))
    assert found == OnnxLayer("w", X, "linear", 1 - first, turned=not second)


def test_weights_of_several_matrices_take_their_inputs_along_an_inner_axis() -> None:
    assert layers(node("MatMul", "x many")) == [OnnxLayer("many", X, "linear", 1)]
    assert layers(node("MatMul", "many x")) == [OnnxLayer("many", X, "linear", 2, turned=True)]


def test_recurrent_weights_take_the_inputs_and_the_states() -> None:
    lstm = helper.make_node("LSTM", ["x", "lw", "lr"], ["s", "h"], hidden_size=5)
    assert layers(lstm, node("Relu", "h")) == [
        OnnxLayer("lw", X, "recurrent", 2),
        OnnxLayer("lr", InnerValue(MAIN, "s"), "recurrent", 2),
    ]


def test_what_onnxruntime_fuses_is_read_too() -> None:
    own = {"domain": "com.microsoft"}
    assert layers(node("FusedMatMul", "x w", transB=1, alpha=0.5, **own)) == [
        OnnxLayer("w", X, "linear", 1, factor=0.5)
    ]
    assert layers(node("Attention", "x w b m", num_heads=2, **own)) == [
        OnnxLayer("w", X, "linear", 0, bias="b")
    ]
    ids = InnerValue(MAIN, "ids", numbers=True)
    assert layers(node("EmbedLayerNormalization", "ids s w c", **own)) == [
        OnnxLayer("w", ids, "embedding", 0)
    ]


def test_subgraphs_are_read_with_the_names_of_outer_ones() -> None:
    """The value may be the branch's own, or come from outside: then it counts when that runs."""
    inner = helper.make_graph(
        [node("Relu", "x", "r"), node("MatMul", "r w", "p"), node("MatMul", "x w", "q")],
        "i", [], [helper.make_tensor_value_info("p", 1, None)],
    )  # fmt: skip
    branch = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    found = uses(branch)
    then = [one.name for one in branch.attribute].index("then_branch")
    place = ("graph", "node", 0, "attribute", then, "g")
    assert OnnxLayer("w", InnerValue(place, "r"), "linear", 0) in found.layers
    assert OnnxLayer("w", InnerValue(place, "x"), "linear", 0) in found.layers
    assert len(found.layers) == 4
    assert found.inner == {"w"}
    assert uses(branch, node("MatMul", "x w", "z")).inner == set()


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
    (padded,) = layers(node("Conv", "x k", auto_pad="SAME_UPPER"))
    assert padded.padded == "upper"
    assert layers(node("ConvTranspose", "x k kb")) == [OnnxLayer("k", X, "conv_transpose", 0)]


def test_tables_are_read_by_row() -> None:
    ids = InnerValue(MAIN, "ids", numbers=True)
    assert layers(node("Gather", "w ids")) == [OnnxLayer("w", ids, "embedding", 0)]
    assert layers(node("Gather", "table ids")) == [OnnxLayer("table", ids, "embedding", 0)]
    assert layers(node("Gather", "w ids", axis=1)) == []


def test_other_uses_and_other_domains_are_none() -> None:
    assert layers(node("Add", "x w"), node("MatMul", "x b"), node("MatMul", "x y")) == []
    assert layers(node("MatMul", "x w", domain="com.example")) == []
    found = uses(node("Add", "x w"), node("Einsum", "x w", equation="ab,bc->ac"))
    assert found.others == {"w": {"Add": None, "Einsum": None}}
