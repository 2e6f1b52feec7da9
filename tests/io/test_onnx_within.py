"""Tensors of an .onnx outside its list of initialisers, and numbers written in unusual ways."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import taut
from taut.errors import FormatError
from taut.io._onnx_wire import pack_varints, unpack_varints, with_keys, without_keys
from taut.io.onnx import OnnxSource, open_onnx
from taut.planning import Plan, free_schemes
from taut.scheme import Scheme

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

OPSETS = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]


def save(
    path: Path, nodes: list[onnx.NodeProto] = (), held: list[onnx.TensorProto] = (), **more: object
) -> Path:
    """A model of these nodes and initialisers; it need not run."""
    graph = helper.make_graph(list(nodes), "g", [], [], list(held))
    path.write_bytes(helper.make_model(graph, opset_imports=OPSETS, **more).SerializeToString())
    return path


def array(start: float, count: int = 20) -> np.ndarray:
    return np.arange(start, start + count, dtype=np.float32).reshape(4, -1)


def constant(name: str, values: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values))


def again(path: Path) -> bytes:
    """The model after a way through a bit-exact file."""
    packed, back = path.with_name("m.taut.safetensors"), path.with_name("back.onnx")
    taut.compress(path, packed)
    taut.decompress(packed, back)
    return back.read_bytes()


def nested(path: Path) -> Path:
    """Weights in all places that a model has: each is an array that starts with another number."""
    inner = helper.make_graph(
        [constant("deep", array(3))], "i", [], [], [numpy_helper.from_array(array(4), "w")]
    )
    then = helper.make_graph(
        [helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)],
        "t", [], [], [numpy_helper.from_array(array(5), "w")],
    )  # fmt: skip
    other = helper.make_graph([], "e", [], [], [numpy_helper.from_array(array(6), "w")])
    step = helper.make_graph([], "s", [], [], [numpy_helper.from_array(array(7), "w")])
    nodes = [
        constant("k", array(1)),
        helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
        helper.make_node("Loop", ["n", "", "y"], ["", "l"], body=step),
        helper.make_node("Scan", ["y"], ["s"], body=step, num_scan_inputs=1),
        helper.make_node("Odd", ["y"], ["o"], domain="own"),
    ]
    function = helper.make_function("own", "Odd", [], ["q"], [constant("q", array(8))], [OPSETS[0]])
    return save(path, nodes, [numpy_helper.from_array(array(2), "w")], functions=[function])


NESTED = {
    "k": 1, "w": 2, "y/then_branch/z/then_branch/deep": 3, "y/then_branch/z/then_branch/w": 4,
    "y/then_branch/z/else_branch/deep": 3, "y/then_branch/z/else_branch/w": 4,
    "y/then_branch/w": 5, "y/else_branch/w": 6, "l/body/w": 7, "s/body/w": 7, "own:Odd/q": 8,
}  # fmt: skip


def within(model: object, place: tuple[str | int, ...]) -> onnx.TensorProto:
    """What lies at a place of a parsed model."""
    for step in place:
        model = model[step] if isinstance(step, int) else getattr(model, step)  # type: ignore[index]
    return model


def test_tensors_are_found_in_constants_subgraphs_and_functions(tmp_path: Path) -> None:
    path = nested(tmp_path / "m.onnx")
    source = open_onnx(path)
    assert {n: int(source.load(n)[0, 0]) for n in source.places} == NESTED
    assert source.notes == ()
    assert source.fixed == frozenset()
    parsed = onnx.load(path)
    for name, start in NESTED.items():
        found = numpy_helper.to_array(within(parsed, source.places[name]))
        assert np.array_equal(found, array(start))
    assert again(path) == path.read_bytes()


def test_names_that_scopes_share_are_told_apart(tmp_path: Path) -> None:
    """A Constant may be called as an initialiser is, and two nodes may give nothing of a name."""
    listed = [numpy_helper.from_array(array(i)) for i in (2, 3)]
    odd = helper.make_node("Odd", [], [], domain="own")
    odd.attribute.add(name="a", type=onnx.AttributeProto.TENSORS).tensors.extend(listed)
    nodes = [constant("w", array(1)), odd]
    path = save(tmp_path / "m.onnx", nodes, [numpy_helper.from_array(array(0), "w")])
    source = open_onnx(path)
    assert {n: int(source.load(n)[0, 0]) for n in source.places} == {
        "w.1": 1, "node 1/a": 2, "node 1/a/1": 3, "w": 0,
    }  # fmt: skip
    assert again(path) == path.read_bytes()


FIELDS: dict[str, tuple[int, str, np.ndarray]] = {
    "float16": (TensorProto.FLOAT16, "F16", np.array([1.5, -2, 6e-8, np.inf], np.float16)),
    "bfloat16": (TensorProto.BFLOAT16, "BF16", np.array([1.5, -2], ml_dtypes.bfloat16)),
    "float8": (TensorProto.FLOAT8E4M3FN, "F8_E4M3", np.array([1.5, -2], ml_dtypes.float8_e4m3fn)),
    "complex64": (TensorProto.COMPLEX64, "C64", np.array([1 + 2j, -3j], np.complex64)),
    "complex128": (TensorProto.COMPLEX128, "F64", np.array([1 + 2j, -3j], np.complex128)),
    "float32": (TensorProto.FLOAT, "F32", np.array([1.5, -2], np.float32)),
    "float64": (TensorProto.DOUBLE, "F64", np.array([1.5, -2])),
    "int8": (TensorProto.INT8, "I8", np.array([-5, 127], np.int8)),
    "int64": (TensorProto.INT64, "I64", np.array([-(1 << 63), 300])),
    "uint64": (TensorProto.UINT64, "U64", np.array([(1 << 64) - 1, 0], np.uint64)),
}


@pytest.mark.parametrize("way", ["packed", "one by one"])
@pytest.mark.parametrize("kind", FIELDS)
def test_numbers_of_every_dtype_are_read_from_typed_fields(
    kind: str, way: str, tmp_path: Path
) -> None:
    number, dtype, values = FIELDS[kind]
    tensor = helper.make_tensor("w", number, values.shape, values)
    path = save(tmp_path / "m.onnx", [], [tensor])
    if way == "one by one":  # as writers of old did, and as readers take it
        data = path.read_bytes()
        path.write_bytes(unpacked_model(data, tensor))
        assert onnx.load(path).graph.initializer[0] == tensor
    source = open_onnx(path)
    assert source.notes == ()
    assert source.infos[0].dtype == dtype
    assert source.load("w").tobytes() == values.tobytes()
    assert again(path) == path.read_bytes()


def unpacked_model(data: bytes, tensor: onnx.TensorProto) -> bytes:
    """The model with the tensor's numbers each behind its own key."""
    ((field, _),) = [f for f in tensor.ListFields() if f[0].name.endswith("_data")]
    old = getattr(tensor, field.name)
    wires = {"float_data": 5, "double_data": 1}
    key = field.number << 3 | wires.get(field.name, 0)
    bare = onnx.TensorProto.FromString(tensor.SerializeToString())
    bare.ClearField(field.name)
    whole = tensor.SerializeToString()
    packed = whole[whole.index(bytes([field.number << 3 | 2])) :]  # the dtype comes before
    packed = packed[2 : 2 + packed[1]]
    assert len(old) > 1
    loose = bare.SerializeToString() + with_keys(np.frombuffer(packed, np.uint8), key).tobytes()
    model = onnx.ModelProto.FromString(data)
    del model.graph.initializer[:]
    graph = model.graph.SerializeToString() + b"\x2a" + bytes([len(loose)]) + loose
    model.ClearField("graph")
    return model.SerializeToString() + b"\x3a" + bytes([len(graph)]) + graph


@pytest.mark.parametrize("key", [61, 81, 64])
def test_keys_go_in_where_they_came_out(key: int, rng: np.random.Generator) -> None:
    packed = rng.integers(0, 128, 24).astype(np.uint8)
    if key == 64:
        packed[:-1:3] |= 128
    assert np.array_equal(without_keys(with_keys(packed, key), key), packed)


def test_long_lists_are_read_piece_by_piece(rng: np.random.Generator) -> None:
    """A piece may end within a number."""
    numbers = rng.integers(0, 1 << 63, 400_000, np.uint64) >> rng.integers(
        0, 63, 400_000, np.uint64
    )
    packed = pack_varints(numbers)
    assert packed.size > 1 << 20
    assert np.array_equal(unpack_varints(packed), numbers)
    assert unpack_varints(np.full(11, 128, np.uint8)) is None


def test_sparse_tensors_are_their_values_and_indices(tmp_path: Path) -> None:
    values = numpy_helper.from_array(np.arange(1, 31, dtype=np.float32), "w")
    indices = numpy_helper.from_array(np.arange(0, 300, 10), "")
    sparse = helper.make_sparse_tensor(values, indices, [20, 20])
    graph = helper.make_graph([], "g", [], [], sparse_initializer=[sparse])
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    source = open_onnx(path)
    assert [info.name for info in source.infos] == ["w/values", "w/indices", "onnx.graph"]
    assert source.load("w/values")[-1] == 30
    assert source.load("w/indices").dtype == np.int64
    assert again(path) == path.read_bytes()


def forest(path: Path, count: int = 300) -> Path:
    """A tree ensemble's lists, floats and whole numbers, of `count` entries."""
    numbers = np.arange(count)
    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml",
        nodes_values=[float(value) / 7 for value in numbers],
        nodes_featureids=[int(value) % 5 for value in numbers],
        nodes_truenodeids=[int(value) * 1000 for value in numbers],
        nodes_modes=["BRANCH_LEQ"] * count, n_targets=1,
    )  # fmt: skip
    return save(path, [node])


def test_lists_of_attributes_are_tensors_that_are_never_rounded(tmp_path: Path) -> None:
    path = forest(tmp_path / "m.onnx")
    source = open_onnx(path)
    assert {info.name: info.dtype for info in source.infos[:-1]} == {
        "y/nodes_values": "F32", "y/nodes_featureids": "I64", "y/nodes_truenodeids": "I64",
    }  # fmt: skip
    assert source.load("y/nodes_values")[8] == np.float32(8 / 7)
    assert source.load("y/nodes_truenodeids").tolist() == [1000 * i for i in range(300)]
    assert source.fixed == set(source.places)
    assert again(path) == path.read_bytes()


def test_lists_that_are_packed_are_read_too(tmp_path: Path) -> None:
    """Of AttributeProto the standard has lists unpacked, but readers take both."""
    floats = np.arange(32, dtype=np.float32).tobytes()
    inner = b"\x0a\x01a" + b"\x3a" + b"\x80\x01" + floats  # name, floats
    inner += b"\x42\x20" + bytes(range(32))  # ints
    node = b"\x12\x01y\x22\x03Odd\x2a" + bytes([len(inner) & 127 | 128, len(inner) >> 7]) + inner
    graph = b"\x0a" + bytes([len(node) & 127 | 128, len(node) >> 7]) + node
    model = b"\x08\x09\x3a" + bytes([len(graph) & 127 | 128, len(graph) >> 7]) + graph
    path = tmp_path / "m.onnx"
    path.write_bytes(model)
    attribute = onnx.load(path).graph.node[0].attribute[0]
    source = open_onnx(path)
    assert source.load("y/a").tolist() == list(attribute.floats)
    assert source.load("y/a.1").tolist() == list(attribute.ints)
    assert again(path) == model


def test_what_shapes_hang_on_is_never_rounded(tmp_path: Path) -> None:
    """The scales of a Resize, also by way of other nodes and in a branch, and a Clip's bounds."""
    values = {"roi": 8, "scales": 4, "one": 2, "two": 2, "low": 2, "weight": 2048}
    held = [
        numpy_helper.from_array(np.linspace(1, 1.1, n, dtype=np.float32), name)
        for name, n in values.items()
    ]
    held[-1].dims[:] = [32, 64]
    inner = [helper.make_node("Resize", ["x", "", "both"], ["z"])]
    branch = helper.make_graph(inner, "b", [], [], [])
    nodes = [
        helper.make_node("Resize", ["x", "roi", "scales"], ["r"]),
        helper.make_node("Concat", ["one", "two"], ["both"], axis=0),
        helper.make_node("If", ["c"], ["i"], then_branch=branch, else_branch=branch),
        helper.make_node("Clip", ["weight", "low"], ["k"]),
        helper.make_node("MatMul", ["x", "k"], ["y"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, held)
    assert open_onnx(path).fixed == {"roi", "scales", "one", "two", "low"}
    result = taut.compress(path, tmp_path / "m.taut.safetensors", bits=6)
    assert {one.name for one in result.tensors if one.rel_mse} == {"weight"}
    schemes = free_schemes(open_onnx(path), dict.fromkeys([*values, "onnx.graph"], Scheme()))
    assert {name for name, scheme in schemes.items() if scheme != Scheme()} == {"weight"}
    rules = Plan(rules=[{"match": name, "scheme": "fp16"} for name in ("one", "*")])
    result = taut.compress(path, tmp_path / "h.taut.safetensors", plan=rules)
    # The pattern passes the others by.
    assert {one.name for one in result.tensors if one.scheme == "fp16"} == {"weight", "one"}


def cached(tmp_path: Path, *, linked: bool, target: str) -> OnnxSource:
    """A model as in a hub's cache: `linked` names in a snapshot, with the contents elsewhere."""
    held, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "a" / "onnx"
    for folder in (held, snapshot, tmp_path / "other"):
        folder.mkdir(parents=True)
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="m.onnx_data")
    model = save(held / "1f" if linked else snapshot / "m.onnx", [], [tensor])
    for name in ("blobs/2e", "other/2e"):
        (tmp_path / name).write_bytes(np.array([1, 2], np.float32).tobytes())
    if linked:
        (snapshot / "m.onnx").symlink_to(model)
    (snapshot / "m.onnx_data").symlink_to(tmp_path / target)
    return open_onnx(snapshot / "m.onnx")


def test_a_linked_model_may_have_its_data_beside_the_file_itself(tmp_path: Path) -> None:
    """That is how a hub's cache lies on disk, and what onnxruntime follows."""
    source = cached(tmp_path, linked=True, target="blobs/2e")
    assert source.load("w").tolist() == [1.0, 2.0]
    onnx_file = tmp_path / "snapshots/a/onnx/m.onnx"
    packed = tmp_path / "m.taut.safetensors"
    taut.compress(onnx_file, packed)
    out = tmp_path / "out"
    out.mkdir()
    taut.decompress(packed, out / "m.onnx")
    assert (out / "m.onnx").read_bytes() == onnx_file.read_bytes()
    assert (out / "m.onnx_data").read_bytes() == (tmp_path / "blobs/2e").read_bytes()


@pytest.mark.parametrize(("linked", "target"), [(False, "blobs/2e"), (True, "other/2e")])
def test_other_links_out_of_the_folder_are_refused(
    linked: bool, target: str, tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match="links out of the model's folder") as caught:
        cached(tmp_path, linked=linked, target=target)
    assert '"w"' in str(caught.value)


def test_lists_come_back_where_data_files_get_other_names(tmp_path: Path) -> None:
    path = forest(tmp_path / "m.onnx")
    model = onnx.load(path)
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="m.onnx_data")
    model.graph.initializer.append(tensor)
    path.write_bytes(model.SerializeToString())
    (tmp_path / "m.onnx_data").write_bytes(bytes(8))
    taut.compress(path, tmp_path / "m.taut.safetensors")
    taut.decompress(tmp_path / "m.taut.safetensors", tmp_path / "other.onnx")
    back = onnx.load(tmp_path / "other.onnx", load_external_data=False)
    assert back.graph.node == model.graph.node
    assert back.graph.initializer[0].external_data[0].value == "other.onnx_data"
