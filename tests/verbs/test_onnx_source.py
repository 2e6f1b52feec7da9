"""An .onnx goes into a Taut file and comes out of it, byte for byte or rounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import taut
from taut.container import AtomicFile
from taut.errors import ArgumentError, FormatError
from taut.loading.restore_onnx import read_recipe

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def network(rng: np.random.Generator) -> onnx.ModelProto:
    """A network of two layers, relu(x a) b + c, with initialisers in other forms beside."""
    layers = [
        numpy_helper.from_array(rng.standard_normal((64, 96)).astype(np.float32), "a"),
        numpy_helper.from_array(rng.standard_normal((96, 48)).astype(np.float32), "b"),
        helper.make_tensor("c", TensorProto.FLOAT, [48], rng.standard_normal(48)),
        helper.make_tensor("shape", TensorProto.INT64, [3], [2, -1, 300]),
        helper.make_tensor("text", TensorProto.STRING, [1], [b"words"]),
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
    return tmp_path / "net.taut.safetensors"


def test_lossless_gives_the_very_bytes_back(model: Path, packed: Path, tmp_path: Path) -> None:
    result = taut.compress(model, packed)
    assert result.original_size == model.stat().st_size
    assert result.parameters == 64 * 96 + 96 * 48 + 48 + 3
    assert taut.info(packed).parameters == result.parameters
    assert any("stayed in the graph" in note for note in result.notes)
    restored = taut.decompress(packed, tmp_path / "back.onnx")
    assert restored.files == (tmp_path / "back.onnx",)
    assert restored.bytes == model.stat().st_size
    assert (tmp_path / "back.onnx").read_bytes() == model.read_bytes()


def test_data_files_come_back_where_they_were(
    packed: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    source = tmp_path / "in" / "net.onnx"
    onnx.save(network(rng), source, save_as_external_data=True, location="w.bin", size_threshold=0)
    taut.compress(source, packed)
    (tmp_path / "out").mkdir()
    taut.decompress(packed, tmp_path / "out" / "net.onnx")
    for name in ("net.onnx", "w.bin"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "in" / name).read_bytes()
    (tmp_path / "out" / "net.onnx").unlink()
    with pytest.raises(ArgumentError, match=r"w\.bin: exists"):
        taut.decompress(packed, tmp_path / "out" / "net.onnx")
    assert not (tmp_path / "out" / "net.onnx").exists()


def test_a_lossy_file_gives_a_model_that_runs_with_what_it_decodes_to(
    model: Path, packed: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    result = taut.compress(model, packed, bits=5)
    assert result.bits <= 5
    back = tmp_path / "back.onnx"
    taut.decompress(packed, back)
    rounded = {one.name: numpy_helper.to_array(one) for one in onnx.load(back).graph.initializer}
    decoded = dict(taut.load(packed).tensors())
    for name in "abc":
        assert np.array_equal(rounded[name], decoded[name])
    x = rng.standard_normal((5, 64)).astype(np.float32)
    session = runtime.InferenceSession(back, providers=["CPUExecutionProvider"])
    (given,) = session.run(None, {"x": x})
    wanted = np.maximum(x @ rounded["a"], 0) @ rounded["b"] + rounded["c"]
    assert np.allclose(given, wanted, atol=1e-3)


def test_the_weights_may_come_out_as_safetensors(model: Path, packed: Path, tmp_path: Path) -> None:
    taut.compress(model, packed)
    taut.decompress(packed, tmp_path / "net.safetensors")
    first = onnx.load(model).graph.initializer[0]
    found = dict(taut.load(packed).tensors())
    assert np.array_equal(found["a"], numpy_helper.to_array(first))
    assert "onnx.graph" in found


def test_what_was_no_onnx_does_not_become_one(packed: Path, tmp_path: Path) -> None:
    taut.compress({"w": np.ones(4, np.float32)}, packed)
    with pytest.raises(ArgumentError, match="was not compressed from ONNX"):
        taut.decompress(packed, tmp_path / "back.onnx")


def test_a_dry_run_and_a_plan_take_onnx(model: Path, packed: Path) -> None:
    assert taut.compress(model, dry_run=True).original_size == model.stat().st_size
    result = taut.compress(model, packed, plan={"a": "int4:g32", "b": "keep"})
    schemes = {tensor.name: tensor.scheme for tensor in result.tensors}
    assert (schemes["a"], schemes["b"], schemes["onnx.graph"]) == ("int4:g32", "keep", "lossless")


def test_the_graph_names_only_tensors_of_its_file(model: Path, packed: Path) -> None:
    """A forged file: the graph of one model beside the tensors of another."""
    from taut.container import TautFile
    from taut.io import open_source

    source = open_source(model)
    graph = source.load("onnx.graph")
    taut.compress({"onnx.graph": graph, "a": np.ones(2, np.float32)}, packed)
    file = TautFile(packed)
    file.index.origin.metadata["taut.onnx"] = "onnx.graph"  # type: ignore[index]
    with pytest.raises(FormatError, match='has no room for "a"'):
        read_recipe(file)


def correlated(rng: np.random.Generator, count: int) -> np.ndarray:
    """Inputs that mostly lie in eight directions of 64: where errors are cheap elsewhere."""
    mixing = np.random.default_rng(7).standard_normal((8, 64))
    found = rng.standard_normal((count, 8)) @ mixing + 0.05 * rng.standard_normal((count, 64))
    return found.astype(np.float32)


def test_calibration_loses_far_less_at_the_same_size(
    model: Path, packed: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    pytest.importorskip("torch")
    runtime = pytest.importorskip("onnxruntime")
    np.savez(tmp_path / "data.npz", x=correlated(rng, 400))
    x, given, sizes = correlated(rng, 200), [], []
    for path, calib in ((model, None), (packed, None), (packed, tmp_path / "data.npz")):
        if path is packed:
            result = taut.compress(model, packed, bits=4, calib=calib, force=True)
            sizes.append(result.size)
            taut.decompress(packed, tmp_path / "back.onnx", force=True)
            path = tmp_path / "back.onnx"
        session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
        given.append(session.run(None, {"x": x})[0])
    free, calibrated = (float(np.square(one - given[0]).mean()) for one in given[1:])
    assert abs(sizes[0] - sizes[1]) < 0.01 * sizes[0]
    assert calibrated < 0.5 * free
    assert any("ONNX has no gradients" in note for note in result.notes)


def test_a_score_judges_the_rounded_model(
    model: Path, packed: Path, rng: np.random.Generator
) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    x, wanted = torch.from_numpy(correlated(rng, 100)), []

    def score(network: object) -> float:
        found = network(x)  # type: ignore[operator]
        wanted.append(found)
        return 1 - float((found - wanted[0]).square().mean() / wanted[0].square().mean())

    data = [torch.from_numpy(correlated(rng, 40)) for _ in range(4)]
    result = taut.compress(model, packed, max_drop="1%", calib=data, score=score)
    assert result.original_score == 1
    assert result.score is not None
    assert 0.99 <= result.score < 1
    assert result.bits < 6


def test_what_wants_gradients_is_refused_before_any_work(model: Path, packed: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    data = [torch.ones(2, 64)]

    def loss(output: object, batch: object) -> object:
        return output

    with pytest.raises(ArgumentError, match="loss: an ONNX model has no gradients"):
        taut.compress(model, packed, bits=4, calib=data, loss=loss)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="train: an ONNX model has no gradients"):
        taut.compress(model, packed, bits=4, train=[(data[0], data[0])])


def test_analysis_weighs_an_onnx_models_matrices(model: Path, rng: np.random.Generator) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    data = [{"x": correlated(rng, 40)} for _ in range(3)]
    report = taut.analyze(model, calib=data)
    found = {one.name: one.sensitivity for one in report.tensors}
    assert found["a"] is not None
    assert found["b"] is not None
    assert found["c"] is None
    assert report.parameters == 64 * 96 + 96 * 48 + 48 + 3


def test_data_files_are_not_written_through_a_link(
    packed: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    for name in ("in/deep", "elsewhere", "out"):
        (tmp_path / name).mkdir(parents=True)
    source = tmp_path / "in" / "net.onnx"
    proto = network(rng)
    where = {"location": "deep/w.bin", "size_threshold": 0}
    onnx.save(proto, source, save_as_external_data=True, **where)
    taut.compress(source, packed)
    (tmp_path / "out" / "deep").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArgumentError, match="links out of"):
        taut.decompress(packed, tmp_path / "out" / "net.onnx")
    assert not list((tmp_path / "elsewhere").iterdir())
    (tmp_path / "out" / "deep").unlink()
    restored = taut.decompress(packed, tmp_path / "out" / "net.onnx")
    assert restored.files[1] == tmp_path / "out" / "deep" / "w.bin"
    assert restored.files[1].read_bytes() == (tmp_path / "in" / "deep" / "w.bin").read_bytes()


GRIDS = [
    ({"weights": "int8"}, 0.999, "QuantizeLinear"),
    ({"weights": "int8", "activations": "dynamic"}, 0.999, "DynamicQuantizeMatMul"),
    ({"weights": "int4", "group_size": 32}, 0.98, "MatMulNBits"),
    ({"weights": "float16"}, 0.99999, "Cast"),
]


@pytest.mark.parametrize(("grid", "least", "operator"), GRIDS)
@pytest.mark.parametrize("old", [False, True])
def test_the_graph_itself_goes_on_a_runtimes_grid(
    tmp_path: Path, packed: Path, rng: np.random.Generator, old: bool, grid: dict[str, object],
    least: float, operator: str,
) -> None:  # fmt: skip
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    given = network(rng)
    del given.graph.initializer[3:]
    if old:  # opset 11, and as in the first versions every constant is an input too
        given.opset_import[0].version, given.ir_version = 11, 3
        for one in given.graph.initializer:
            given.graph.input.append(
                helper.make_tensor_value_info(one.name, TensorProto.FLOAT, list(one.dims))
            )
    onnx.save(given, tmp_path / "net.onnx")
    taut.compress(tmp_path / "net.onnx", packed)
    np.savez(tmp_path / "data.npz", x=rng.standard_normal((128, 64)).astype(np.float32))
    out = tmp_path / "out.onnx"
    done = taut.export(packed, out, calib=tmp_path / "data.npz", **grid)  # type: ignore[arg-type]
    assert done.check is not None
    assert done.check.runtime.startswith("onnxruntime") and done.check.samples == 128
    assert least < done.check.cosine <= 1
    written = onnx.load(out)
    assert operator in {node.op_type for node in written.graph.node}
    assert [one.name for one in written.graph.input] == ["x"]
    assert out.stat().st_size < 0.6 * (tmp_path / "net.onnx").stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir() if "onnx" in path.name) == [
        *("net.onnx", "out.onnx")
    ]


def test_what_is_told_is_of_what_was_written_whoever_has_the_name_then(
    model: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer takes each name as soon as a file has it."""
    commit = AtomicFile.commit

    def taken(self: AtomicFile) -> None:
        commit(self)
        self.path.write_bytes(b"another's")

    original = model.stat().st_size
    taut.compress(model, packed)
    kept = packed.read_bytes()
    monkeypatch.setattr(AtomicFile, "commit", taken)
    assert taut.decompress(packed, tmp_path / "back.onnx").bytes == original
    assert taut.compress(model, tmp_path / "again.taut.safetensors").size == len(kept)
