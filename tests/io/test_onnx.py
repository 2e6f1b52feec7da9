"""The initialisers of an .onnx: every way of storing them, and what stays in the graph."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import taut
from taut.errors import ArgumentError, FormatError
from taut.io import open_source
from taut.io._onnx_wire import pack_varints, unpack_varints
from taut.io.onnx import OnnxSource, open_onnx, unpack_recipe

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def save(
    path: Path, initializers: list[onnx.TensorProto], nodes: list[onnx.NodeProto] | None = None
) -> Path:
    """A model of these initialisers; the graph need not run."""
    graph = helper.make_graph(nodes or [], "g", [], [], initializers)
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


RAW = {
    "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "F64": np.float64,
    "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64, "U8": np.uint8,
    "U16": np.uint16, "U32": np.uint32, "U64": np.uint64, "BOOL": np.bool_,
    "C64": np.complex64, "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz, "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
}  # fmt: skip


@pytest.mark.parametrize("dtype", RAW)
@pytest.mark.parametrize("shape", [(), (3, 4)])
def test_raw_data_of_every_dtype_is_read_bit_for_bit(
    dtype: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape).astype(RAW[dtype])
    source = open_source(save(tmp_path / "m.onnx", [numpy_helper.from_array(values, "w")]))
    assert (source.infos[0].name, source.infos[0].dtype, source.infos[0].shape) == (
        "w", dtype, shape,
    )  # fmt: skip
    loaded = source.load("w")
    assert loaded.dtype == values.dtype
    assert loaded.tobytes() == values.tobytes()
    assert not loaded.flags.writeable


TYPED = {
    "float_data": (TensorProto.FLOAT, [1.5, -2.0]),
    "double_data": (TensorProto.DOUBLE, [1.5, -2.0]),
    "int64_data": (TensorProto.INT64, [-(1 << 63), 300]),
    "uint64_data": (TensorProto.UINT64, [(1 << 64) - 1, 0]),
    "int32_data": (TensorProto.INT32, [-5, 70_000]),
    "int32_data of int8": (TensorProto.INT8, [-5, 127]),
    "int32_data of uint16": (TensorProto.UINT16, [65_535, 0]),
    "int32_data of bool": (TensorProto.BOOL, [True, False]),
    "uint64_data of uint32": (TensorProto.UINT32, [4_294_967_295, 1]),
}


@pytest.mark.parametrize("kind", TYPED)
def test_numbers_in_typed_fields_are_read(kind: str, tmp_path: Path) -> None:
    number, values = TYPED[kind]
    tensor = helper.make_tensor("w", number, [len(values)], values)
    assert not tensor.HasField("raw_data")
    source = open_source(save(tmp_path / "m.onnx", [tensor]))
    assert source.load("w").tolist() == values
    assert source.load("w").dtype == helper.tensor_dtype_to_np_dtype(number)


def test_four_bit_integers_are_their_packed_bytes(tmp_path: Path) -> None:
    tensor = helper.make_tensor("w", TensorProto.INT4, [3], b"\x21\x03", raw=True)
    source = open_source(save(tmp_path / "m.onnx", [tensor]))
    assert (source.infos[0].dtype, source.infos[0].shape) == ("U8", (2,))
    assert source.load("w").tobytes() == b"\x21\x03"


def test_what_has_no_place_in_safetensors_stays_in_the_graph_and_is_counted(
    tmp_path: Path,
) -> None:
    tensors = [
        numpy_helper.from_array(np.ones(4, np.float32), "w"),
        helper.make_tensor("text", TensorProto.STRING, [1], [b"a"]),
        helper.make_tensor("texts", TensorProto.STRING, [2], [b"b", b"c"]),
        TensorProto(name="lapsed", data_type=TensorProto.FLOAT, dims=[2], float_data=[1, 2]),
    ]
    tensors[-1].segment.end = 2
    source = open_onnx(save(tmp_path / "m.onnx", tensors))
    assert [info.name for info in source.infos] == ["w", "onnx.graph"]
    assert source.notes == (
        "2 tensors stayed in the graph: of a dtype that safetensors has not",
        "1 tensor stayed in the graph: written in another way than most writers do",
    )


def test_small_constants_stay_in_the_graph_and_are_counted(tmp_path: Path) -> None:
    values = [np.ones((), np.float32), np.ones((1, 1), np.float16), np.arange(15)]
    nodes = [
        helper.make_node("Constant", [], [f"k{i}"], value=numpy_helper.from_array(value))
        for i, value in enumerate([*values, np.ones(2, np.float32), np.arange(16)])
    ]
    source = open_onnx(save(tmp_path / "m.onnx", [], nodes))
    assert [info.name for info in source.infos] == ["k3", "k4", "onnx.graph"]
    assert source.notes == (
        "3 tensors stayed in the graph: constants of a single number, or of less than 16 whole "
        "numbers",
    )


def test_the_graph_gives_way_to_an_initialiser_of_its_name(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "onnx.graph")
    source = open_source(save(tmp_path / "m.onnx", [tensor]))
    assert [info.name for info in source.infos] == ["onnx.graph", "onnx.graph.1"]
    assert source.metadata == {"taut.onnx": "onnx.graph.1"}


def external(tmp_path: Path, **entries: str) -> OnnxSource:
    """Open a model with one tensor w of 4 bytes in "w.data" (8 bytes), its entries as given."""
    tensor = numpy_helper.from_array(np.array([1], np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    (tmp_path / "w.data").write_bytes(np.array([1, 2], np.float32).tobytes())
    return open_onnx(save(tmp_path / "m.onnx", [tensor]))


def test_values_in_another_file_are_found_there(tmp_path: Path) -> None:
    source = external(tmp_path, location="w.data", offset="4", length="4")
    assert source.load("w").tolist() == [2.0]
    assert source.nbytes == (tmp_path / "m.onnx").stat().st_size + 8


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "../w.data"}, "not in the model's folder"),
        ({"location": "/etc/passwd"}, "not in the model's folder"),
        ({"location": "C:\\w.data"}, "not in the model's folder"),
        ({}, "not in the model's folder"),
        ({"location": "./m.onnx"}, "is the model itself"),
        ({"location": "w.data", "offset": "-4"}, "offset '-4' is no number"),
        ({"location": "w.data", "offset": "8"}, "which ends before"),
        ({"location": "w.data", "length": "5"}, r"5 bytes, but F32 of shape \[1\] takes 4"),
    ],
)
def test_places_outside_of_the_folder_or_file_are_refused(
    entries: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match=message):
        external(tmp_path, **entries)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(8))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(FormatError, match="links out of the model's folder"):
        external(folder, location="link")


def test_a_missing_data_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"x\.data is missing"):
        external(tmp_path, location="x.data")


def test_two_tensors_of_the_same_bytes_are_one(tmp_path: Path) -> None:
    tensors = []
    for name in "ab":
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="w.data")
        tensors.append(tensor)
    (tmp_path / "w.data").write_bytes(bytes(8))
    assert open_onnx(save(tmp_path / "m.onnx", tensors)).aliases == {"b": "a"}
    tensors[1].external_data.add(key="offset", value="4")
    tensors[1].dims[:] = [1]
    with pytest.raises(FormatError, match='tensor "b" lies over another one'):
        open_onnx(save(tmp_path / "m.onnx", tensors))


def test_a_model_without_initialisers_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="has no weights"):
        open_source(save(tmp_path / "m.onnx", []))


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=40))
def test_numbers_are_packed_as_protobuf_packs_them(numbers: list[int]) -> None:
    tensor = helper.make_tensor("w", TensorProto.INT64, [len(numbers)], numbers)
    packed = pack_varints(np.array(numbers, np.int64))
    assert packed.tobytes() in tensor.SerializeToString()
    back = unpack_varints(packed)
    assert back is not None
    assert back.view(np.int64).tolist() == numbers


def test_data_files_of_tensors_that_stay_go_along(tmp_path: Path) -> None:
    """A small constant's values in a file of their own: the file is part of the model."""
    inner = numpy_helper.from_array(np.ones(1, np.int64), "inner")
    inner.ClearField("raw_data")
    inner.data_location = TensorProto.EXTERNAL
    inner.external_data.add(key="location", value="inner.data")
    (tmp_path / "inner.data").write_bytes(bytes(8))
    own = numpy_helper.from_array(np.zeros(2, np.float32), "own")
    node = helper.make_node("Constant", [], ["k"], value=inner)
    source = open_onnx(save(tmp_path / "m.onnx", [own], [node]))
    recipe = unpack_recipe(source.load("onnx.graph").tobytes(), "here")
    assert [(file.name, file.literal) for file in recipe][1:] == [("inner.data", bytes(8))]
    assert source.nbytes == (tmp_path / "m.onnx").stat().st_size + 8


def outside(folder: Path, name: str) -> onnx.TensorProto:
    """A tensor whose eight bytes lie in a file of its name."""
    tensor = numpy_helper.from_array(np.ones(2, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=name)
    (folder / name).write_bytes(bytes(8))
    return tensor


def test_data_files_go_along_wherever_a_tensor_can_lie(tmp_path: Path) -> None:
    def constant(name: str) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=outside(tmp_path, name))

    branch = helper.make_graph(
        [constant("of a node"), helper.make_node("If", ["c"], ["y"])],
        "branch",
        [],
        [],
        [outside(tmp_path, "of a subgraph")],
    )
    listed = helper.make_node("Odd", [], ["k"], domain="own")
    listed.attribute.add(name="tensors", type=onnx.AttributeProto.TENSORS).tensors.extend(
        [outside(tmp_path, "first of a list"), outside(tmp_path, "second of a list")]
    )
    graphs = helper.make_node("Odd", [], ["l"], domain="own")
    graphs.attribute.add(name="graphs", type=onnx.AttributeProto.GRAPHS).graphs.append(branch)
    function = helper.make_function(
        "own", "Odd", [], [], [constant("in a function")], [helper.make_opsetid("", 21)]
    )
    default = function.attribute_proto.add(name="default", type=onnx.AttributeProto.TENSOR)
    default.t.CopyFrom(outside(tmp_path, "a default"))
    own = numpy_helper.from_array(np.zeros(2, np.float32), "own")
    graph = helper.make_graph([listed, graphs], "g", [], [], [own])
    model = helper.make_model(graph, functions=[function])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    source = open_onnx(tmp_path / "m.onnx")
    recipe = unpack_recipe(source.load("onnx.graph").tobytes(), "here")
    assert {file.name for file in recipe} == {path.name for path in tmp_path.iterdir()}
    assert len(recipe) == 1 + 6


def test_empty_tensors_hold_no_place(tmp_path: Path) -> None:
    tensors = [
        numpy_helper.from_array(np.zeros((0, 2), np.float32), "a"),
        numpy_helper.from_array(np.zeros((2, 0), np.float16), "b"),
        numpy_helper.from_array(np.zeros(1, np.float32), "c"),
    ]
    source = open_onnx(save(tmp_path / "m.onnx", tensors))
    assert [info.name for info in source.infos] == ["c", "onnx.graph"]


def test_a_tree_of_few_nodes_comes_back_byte_for_byte(tmp_path: Path) -> None:
    ends = {"nodes_truenodeids": [1, 0, 0], "nodes_falsenodeids": [2, 0, 0]}
    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1,
        nodes_treeids=[0] * 3, nodes_nodeids=[0, 1, 2], nodes_featureids=[0] * 3,
        nodes_values=[0.5, 0.0, 0.0], nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"], **ends,
        target_treeids=[0, 0], target_nodeids=[1, 2], target_ids=[0, 0], target_weights=[1.0, 2.0],
    )  # fmt: skip
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 1]) for n in "xy")
    (tmp_path / "m.onnx").write_bytes(
        helper.make_model(helper.make_graph([node], "g", [x], [y])).SerializeToString()
    )
    taut.compress(tmp_path / "m.onnx", tmp_path / "o")
    taut.decompress(tmp_path / "o", tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()
