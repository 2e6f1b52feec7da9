"""What goes into an ONNX graph and comes out of it, beside plain tensors of floats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import taut
from taut.errors import ArgumentError
from taut.networks import open_calibration, open_model
from taut.networks.graph_batches import graph_batches
from taut.networks.onnx_values import as_input, as_output

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def info(name: str, kind: int = FLOAT, shape: object = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def save(
    path: Path, nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto], **held: np.ndarray,
) -> Path:  # fmt: skip
    given = [numpy_helper.from_array(value, name) for name, value in held.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, given)
    onnx.save(helper.make_model(graph, opset_imports=OPSETS, ir_version=9), path)
    return path


def matrix(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def classifier(path: Path) -> Path:
    """Labels, and what ZipMap makes of scores: a map from label to score for each sample."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
        helper.make_node("ZipMap", ["scores"], ["zipped"], domain="ai.onnx.ml",
                         classlabels_int64s=list(range(32))),
    ]  # fmt: skip
    kind = helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, []))
    zipped = helper.make_value_info("zipped", helper.make_sequence_type_proto(kind))
    ends = [info("label", INT64), zipped]
    return save(path, nodes, [info("x", shape=["n", 64])], ends, w=matrix(64, 32))


def test_maps_of_scores_are_a_tensor_that_calibration_compares(tmp_path: Path) -> None:
    path, x = classifier(tmp_path / "m.onnx"), matrix(40, 64)
    loaded = open_model(path)
    found = loaded.module(x)
    assert found["label"].tolist() == found["zipped"].argmax(1).tolist()
    assert np.allclose(found["zipped"], x @ matrix(64, 32), atol=1e-5)
    packed = tmp_path / "m.taut.safetensors"
    result = taut.compress(path, packed, bits=6, calib=[x[:20], x[20:]])
    (lossy,) = [one for one in result.tensors if one.rel_mse]
    assert lossy.name == "w"
    assert lossy.rel_mse < 0.1


def test_a_graph_without_floats_among_its_outputs_is_told_by_name(tmp_path: Path) -> None:
    model = onnx.load(classifier(tmp_path / "m.onnx"))
    del model.graph.output[1:]
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ArgumentError, match=r"no output .* holds floats \(label: tensor\(int64\)"):
        taut.compress(tmp_path / "m.onnx", tmp_path / "p", bits=6, calib=[matrix(8, 64)])
    assert not (tmp_path / "p").exists()


def test_outputs_of_all_kinds() -> None:
    found = as_output([np.ones(2, np.float32), {"a": np.zeros(1), "b": None}])
    assert isinstance(found, list)
    assert torch.equal(found[0], torch.ones(2))
    assert torch.equal(found[1]["a"], torch.zeros(1, dtype=torch.float64))
    assert found[1]["b"] is None
    texts = np.array(["a"], object)
    assert as_output(texts) is texts
    assert as_output([{"a": 0.25}, {"a": 0.5}]).tolist() == [[0.25], [0.5]]  # type: ignore[attr-defined]
    assert as_output([{"a": 0.25}, {"b": 0.5}])[1]["b"] == 0.5  # type: ignore[index]


def test_inputs_of_all_kinds() -> None:
    (part,) = as_input([torch.ones(2)], "seq(tensor(float16))", "x")  # type: ignore[misc]
    assert part.dtype == np.float16
    assert as_input([1], "optional(seq(tensor(int32)))", "x") == [np.array(1)]
    assert as_input("a", "tensor(string)", "x").dtype == object  # type: ignore[attr-defined]
    assert as_input(3, "tensor(int64)", "x").shape == ()  # type: ignore[attr-defined]
    assert as_input(torch.ones(1, dtype=torch.bfloat16), "tensor(double)", "x") == np.ones(1)
    with pytest.raises(ArgumentError, match=r'"x" is a sequence, .*; give a list, no Tensor'):
        as_input(torch.ones(1), "seq(tensor(float))", "x")
    with pytest.raises(ArgumentError, match=r'"x" is of tensor\(bfloat16\)'):
        as_input(1, "tensor(bfloat16)", "x")


def test_texts_go_in_as_texts(tmp_path: Path) -> None:
    words = [f"word{number}" for number in range(64)]
    nodes = [
        helper.make_node("LabelEncoder", ["x"], ["ids"], domain="ai.onnx.ml",
                         keys_strings=words, values_int64s=list(range(64))),
        helper.make_node("Gather", ["table", "ids"], ["y"]),
    ]  # fmt: skip
    kinds = [info("x", TensorProto.STRING, ["n"])]
    path = save(tmp_path / "m.onnx", nodes, kinds, [info("y")], table=matrix(64, 32))
    batches = [np.array(words[begin::2], object) for begin in (0, 1)]
    assert open_model(path).module(batches[0])[1].tolist() == matrix(64, 32)[2].tolist()
    np.savez(tmp_path / "d.npz", x=np.array(words))
    assert len(open_calibration(tmp_path / "d.npz", open_model(path))) == 4
    result = taut.compress(path, tmp_path / "m.taut.safetensors", bits=6, calib=batches)
    (lossy,) = [one for one in result.tensors if one.rel_mse]
    assert lossy.name == "table"
    assert lossy.rel_mse < 0.1


def test_inputs_with_a_default_may_be_given_or_left_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["s"]),
        helper.make_node("Add", ["s", "state"], ["y"]),
    ]
    inputs = [info("state", shape=[2]), info("scale", shape=[]), info("x", shape=["n", 2])]
    held = {"scale": np.float32(3).reshape(()), "state": np.ones(2, np.float32)}
    path = save(tmp_path / "m.onnx", nodes, inputs, [info("y")], **held)
    module, x = open_model(path).module, torch.ones(1, 2)
    assert module(x).tolist() == [[4, 4]]
    assert module(x=x, scale=torch.tensor(2.0)).tolist() == [[3, 3]]
    assert module(x=x, state=torch.zeros(2)).tolist() == [[3, 3]]  # an array is a weight, too
    with pytest.raises(ArgumentError, match='no input "z"; it takes "x"'):
        module(x=x, z=x)


def fixed(path: Path, count: int = 4) -> Path:
    """A model whose batch is of so many samples."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Reshape", ["p", "shape"], ["y"]),
    ]
    held = {"w": matrix(64, 32), "shape": np.array([count, 32])}
    return save(path, nodes, [info("x", shape=[count, 64])], [info("y")], **held)


@pytest.mark.parametrize("count", [1, 4])
def test_a_batch_is_as_large_as_the_graph_has_it(count: int, tmp_path: Path) -> None:
    """Neither cut where batches are few, nor made of another number of samples."""
    path = fixed(tmp_path / "m.onnx", count)
    packed = tmp_path / "m.taut.safetensors"
    result = taut.compress(path, packed, bits=6, calib=[matrix(count, 64)])
    assert 0 < result.tensors[0].rel_mse < 0.01
    np.savez(tmp_path / "d.npz", x=matrix(4 * count + count // 2, 64))
    calibration = open_calibration(tmp_path / "d.npz", open_model(path))
    assert (len(calibration), calibration.samples) == (4, 4 * count)


def test_a_batch_of_another_size_is_one_message(tmp_path: Path) -> None:
    path = fixed(tmp_path / "m.onnx")
    told = r"m.onnx: onnxruntime rejects the batch.*x: float32 \[3, 64\]"
    for batches in ([matrix(3, 64)], [matrix(4, 64), matrix(3, 64)]):
        with pytest.raises(ArgumentError, match=told):
            taut.compress(path, tmp_path / "p", bits=6, calib=batches)


def test_batches_are_cut_as_the_inputs_want() -> None:
    shapes = {"x": (None, 3), "state": (2, None, 5), "rate": ()}
    whole = {"x": matrix(6, 1, 3), "state": matrix(6, 2, 1, 5), "rate": np.full(6, 16_000)}
    batches = graph_batches(whole, shapes, 16, "here")
    assert [part.shape for part in batches[5].values()] == [(1, 3), (2, 1, 5), ()]
    some = {"x": whole["x"][:, 0], "rate": whole["rate"]}
    cut = graph_batches(some, {"x": (None, 3), "rate": ()}, 4, "here")
    assert [(len(one["x"]), int(one["rate"])) for one in cut] == [(4, 16_000), (2, 16_000)]
    mixed = {"x": (1, 3), "state": (2, 5)}
    with pytest.raises(ArgumentError, match=r"fixes the first axes .*x: 1, state: 2"):
        graph_batches({"x": matrix(6, 3), "state": matrix(6, 5)}, mixed, 16, "here")
    with pytest.raises(ArgumentError, match=r"takes 4 samples at once \(x: 4\), and there are 3"):
        graph_batches({"x": matrix(3, 3)}, {"x": (4, 3)}, 16, "here")
    with pytest.raises(ArgumentError, match='"rate" is a single number'):
        graph_batches({"x": matrix(2, 3), "rate": np.arange(2)}, shapes, 16, "here")
