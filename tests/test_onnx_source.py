"""An .onnx goes into a Laconic file and comes out of it, byte for byte or rounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import laconic
from laconic.errors import ArgumentError, FormatError
from laconic.restore_onnx import read_recipe

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def network(rng: np.random.Generator) -> onnx.ModelProto:
    """A network of two layers, relu(x a) b + c, with initialisers in other forms beside."""
    layers = [
        numpy_helper.from_array(rng.standard_normal((64, 96)).astype(np.float32), "a"),
        numpy_helper.from_array(rng.standard_normal((96, 48)).astype(np.float32), "b"),
        helper.make_tensor("c", TensorProto.FLOAT, [48], rng.standard_normal(48)),
        helper.make_tensor("shape", TensorProto.INT64, [3], [2, -1, 300]),
        helper.make_tensor("half", TensorProto.FLOAT16, [2], [0.5, 2.0]),
        numpy_helper.from_array(np.zeros((0, 3), np.float32), "empty"),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["z"]),
        helper.make_node("Add", ["z", "c"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])
        for name, width in (("x", 64), ("y", 48))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], layers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


@pytest.fixture
def model(tmp_path: Path, rng: np.random.Generator) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(network(rng), path)
    return path


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return tmp_path / "net.laconic.safetensors"


def test_lossless_gives_the_very_bytes_back(model: Path, packed: Path, tmp_path: Path) -> None:
    result = laconic.compress(model, packed)
    assert result.original_size == model.stat().st_size
    assert result.parameters == 64 * 96 + 96 * 48 + 48 + 3
    assert laconic.info(packed).parameters == result.parameters
    assert any("stayed in the graph" in note for note in result.notes)
    restored = laconic.decompress(packed, tmp_path / "back.onnx")
    assert restored.files == (tmp_path / "back.onnx",)
    assert restored.bytes == model.stat().st_size
    assert (tmp_path / "back.onnx").read_bytes() == model.read_bytes()


def test_data_files_come_back_where_they_were(
    packed: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    source = tmp_path / "in" / "net.onnx"
    onnx.save(network(rng), source, save_as_external_data=True, location="w.bin", size_threshold=0)
    laconic.compress(source, packed)
    (tmp_path / "out").mkdir()
    laconic.decompress(packed, tmp_path / "out" / "net.onnx")
    for name in ("net.onnx", "w.bin"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "in" / name).read_bytes()
    (tmp_path / "out" / "net.onnx").unlink()
    with pytest.raises(ArgumentError, match=r"w\.bin: exists"):
        laconic.decompress(packed, tmp_path / "out" / "net.onnx")
    assert not (tmp_path / "out" / "net.onnx").exists()


def test_a_lossy_file_gives_a_model_that_runs_with_what_it_decodes_to(
    model: Path, packed: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    result = laconic.compress(model, packed, bits=5)
    assert result.bits <= 5
    back = tmp_path / "back.onnx"
    laconic.decompress(packed, back)
    rounded = {one.name: numpy_helper.to_array(one) for one in onnx.load(back).graph.initializer}
    decoded = dict(laconic.load(packed).tensors())
    for name in "abc":
        assert np.array_equal(rounded[name], decoded[name])
    x = rng.standard_normal((5, 64)).astype(np.float32)
    session = runtime.InferenceSession(back, providers=["CPUExecutionProvider"])
    (given,) = session.run(None, {"x": x})
    wanted = np.maximum(x @ rounded["a"], 0) @ rounded["b"] + rounded["c"]
    assert np.allclose(given, wanted, atol=1e-3)


def test_the_weights_may_come_out_as_safetensors(model: Path, packed: Path, tmp_path: Path) -> None:
    laconic.compress(model, packed)
    laconic.decompress(packed, tmp_path / "net.safetensors")
    first = onnx.load(model).graph.initializer[0]
    found = dict(laconic.load(packed).tensors())
    assert np.array_equal(found["a"], numpy_helper.to_array(first))
    assert "onnx.graph" in found


def test_what_was_no_onnx_does_not_become_one(packed: Path, tmp_path: Path) -> None:
    laconic.compress({"w": np.ones(4, np.float32)}, packed)
    with pytest.raises(ArgumentError, match="was not compressed from ONNX"):
        laconic.decompress(packed, tmp_path / "back.onnx")


def test_a_dry_run_and_a_plan_take_onnx(model: Path, packed: Path) -> None:
    assert laconic.compress(model, dry_run=True).original_size == model.stat().st_size
    result = laconic.compress(model, packed, plan={"a": "int4:g32", "b": "keep"})
    schemes = {tensor.name: tensor.scheme for tensor in result.tensors}
    assert (schemes["a"], schemes["b"], schemes["onnx.graph"]) == ("int4:g32", "keep", "lossless")


def test_the_graph_names_only_tensors_of_its_file(model: Path, packed: Path) -> None:
    """A forged file: the graph of one model beside the tensors of another."""
    from laconic.container import LaconicFile
    from laconic.io import open_source

    source = open_source(model)
    graph = source.load("onnx.graph")
    laconic.compress({"onnx.graph": graph, "a": np.ones(2, np.float32)}, packed)
    file = LaconicFile(packed)
    file.index.origin.metadata["laconic.onnx"] = "onnx.graph"  # type: ignore[index]
    with pytest.raises(FormatError, match='has no room for "a"'):
        read_recipe(file)
