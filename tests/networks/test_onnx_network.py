"""An .onnx as a network that runs, whose weights can be changed."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

from taut.errors import ArgumentError
from taut.networks import open_model, run_batch
from taut.networks.output_kind import output_kind

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def save(path: Path, kind: int = TensorProto.FLOAT, *, outside: bool = False, **more: int) -> Path:
    """A model of y = x w + clip(b, low), with its shape as an initialiser."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    weights = {
        "w": np.arange(6).reshape(2, 3).astype(dtype),
        "b": np.ones(3, dtype),
        "low": np.array(0.5, dtype),
        "shape": np.array([-1, 3]),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Clip", ["b", "low"], ["c"]),
        helper.make_node("Add", ["p", "c"], ["s"]),
        helper.make_node("Reshape", ["s", "shape"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info("x", kind, None)]
    graph = helper.make_graph(
        nodes,
        "g",
        ends,
        [helper.make_tensor_value_info(name, kind, None) for name in more or {"y": 1}],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, path, save_as_external_data=outside, location="w.data", size_threshold=0)
    return path


X = torch.tensor([[1.0, 2.0]])
Y = [[7.0, 10.0, 13.0]]


@pytest.mark.parametrize("outside", [False, True])
def test_a_model_runs_on_arguments_in_order_or_by_name(outside: bool, tmp_path: Path) -> None:
    loaded = open_model(save(tmp_path / "m.onnx", outside=outside))
    assert not loaded.gradients
    assert set(loaded.names) == {"w", "b"}  # a Clip's bound stays as it is
    for batch in (X, (X,), {"x": X}, X.numpy()):
        found = run_batch(loaded.module, batch)
        assert isinstance(found, torch.Tensor)
        assert found.tolist() == Y


def test_a_copy_has_weights_of_its_own(tmp_path: Path) -> None:
    loaded = open_model(save(tmp_path / "m.onnx"))
    other = copy.deepcopy(loaded.module)
    with torch.no_grad():
        other.get_parameter(loaded.names["w"]).zero_()
    assert other(X).tolist() == [[1.0, 1.0, 1.0]]
    assert loaded.module(X).tolist() == Y


def test_half_precision_is_widened_to_run_and_narrowed_in_the_graph(tmp_path: Path) -> None:
    loaded = open_model(save(tmp_path / "m.onnx", TensorProto.FLOAT16))
    assert loaded.module.get_parameter(loaded.names["w"]).dtype == torch.float32
    assert loaded.module(X).dtype == torch.float16
    assert loaded.module(X).tolist() == Y


def test_several_outputs_come_by_name_and_by_place(tmp_path: Path) -> None:
    found = open_model(save(tmp_path / "m.onnx", y=1, p=1)).module(X)
    assert found["y"].tolist() == found.y.tolist() == found[0].tolist() == Y
    assert found["p"].tolist() == [[6.0, 9.0, 12.0]]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"z": X}, 'no input "z"; it takes "x"'),
        ({}, 'misses its input "x"'),
        ((X, X), r'takes 1 inputs \("x"\), not 2'),
        (torch.ones(1, 5), "onnxruntime rejects the batch"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(batch: object, message: str, tmp_path: Path) -> None:
    loaded = open_model(save(tmp_path / "m.onnx"))
    with pytest.raises(ArgumentError, match=message):
        run_batch(loaded.module, batch)


def test_a_graph_that_cannot_run_is_told(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.node[0].op_type = "Strange"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArgumentError, match="onnxruntime cannot run it"):
        open_model(path)


@pytest.mark.parametrize(
    ("weight", "output", "kind"),
    [("body.w", "y", "features"), ("fc.weight", "y", "logits"), ("body.w", "logits", "logits")],
)
def test_logits_are_known_by_their_name_or_their_layers(
    weight: str, output: str, kind: str, tmp_path: Path
) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", weight], ["p"]),
        helper.make_node("Add", ["p", "b"], [output]),
    ]
    ends = [helper.make_tensor_value_info(name, 1, None) for name in ("x", output)]
    values = {weight: np.ones((2, 3), np.float32), "b": np.ones(3, np.float32)}
    held = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "m.onnx")
    assert output_kind(open_model(tmp_path / "m.onnx").module, X) == kind


def test_probabilities_of_a_graph_are_told_by_values_of_enough_samples(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Softmax", ["p"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, 1, None) for name in ("x", "y")]
    held = [numpy_helper.from_array(np.eye(2, 5, dtype=np.float32), "w")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "m.onnx")
    net = open_model(tmp_path / "m.onnx").module
    batches = list(torch.randn(32, 2, generator=torch.Generator().manual_seed(0)).split(4))
    assert output_kind(net, batches[0]) == "features"
    assert output_kind(net, batches[0], batches) == "probabilities"


def test_models_of_before_version_4_and_recurrent_ones_run(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """There, initialisers are inputs too; and an LSTM's weights come as inputs as well."""
    shapes = {"w": (1, 20, 3), "r": (1, 20, 5), "b": (1, 40)}
    held = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    node = helper.make_node("LSTM", ["x", "w", "r", "b"], ["y"], hidden_size=5)
    ends = [helper.make_tensor_value_info(name, 1, None) for name in ("x", *shapes, "y")]
    ends[1:4] = [helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]
    graph = helper.make_graph([node], "g", ends[:4], ends[4:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=3)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    loaded = open_model(tmp_path / "m.onnx")
    assert set(loaded.names) == set(shapes)
    x = torch.from_numpy(rng.standard_normal((4, 2, 3)).astype(np.float32))
    lstm = torch.nn.LSTM(3, 5)
    gates = [0, 2, 3, 1]  # i o f c there, i f c o in torch
    values = {one.name: numpy_helper.to_array(one)[0] for one in held}
    with torch.no_grad():
        for name, key in (("weight_ih_l0", "w"), ("weight_hh_l0", "r")):
            parts = np.split(values[key], 4)
            lstm.get_parameter(name).copy_(torch.tensor(np.concatenate([parts[g] for g in gates])))
        for name, part in zip(("bias_ih_l0", "bias_hh_l0"), np.split(values["b"], 2), strict=True):
            parts = np.split(part, 4)
            lstm.get_parameter(name).copy_(torch.tensor(np.concatenate([parts[g] for g in gates])))
    assert torch.allclose(loaded.module(x)[:, 0], lstm(x)[0], atol=1e-5)
