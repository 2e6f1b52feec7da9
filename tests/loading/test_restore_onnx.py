"""A model whose weights lie in other files comes back beside the original without touching it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

import taut
from taut.errors import ArgumentError, FormatError
from taut.io.onnx import Hole, RecipeFile
from taut.io.onnx_locations import HoledBytes, names_beside, renamed

onnx = pytest.importorskip("onnx")

from onnx import helper, numpy_helper  # noqa: E402


def constants(rng: np.random.Generator, *names: str) -> list[onnx.TensorProto]:
    """Matrices of (16, 16)."""
    return [numpy_helper.from_array(rng.standard_normal((16, 16)).astype("f4"), n) for n in names]


def branching(rng: np.random.Generator) -> onnx.ModelProto:
    """A network with weights in the graph, in a branch, in a constant and in a function."""
    held, inner, constant, called = constants(rng, "w", "in", "k", "f")
    kinds = {
        name: helper.make_tensor_value_info(name, 1, ["n", 16]) for name in ("x", "s", "e", "y")
    }
    then = helper.make_graph(
        [helper.make_node("MatMul", ["x", "in"], ["s"])], "then", [], [kinds["s"]], [inner]
    )
    other = helper.make_graph(
        [
            helper.make_node("Constant", [], ["k"], value=constant),
            helper.make_node("MatMul", ["x", "k"], ["e"]),
        ],
        "else",
        [],
        [kinds["e"]],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    body = [
        helper.make_node("Constant", [], ["f"], value=called),
        helper.make_node("MatMul", ["a", "f"], ["b"]),
    ]
    function = helper.make_function("own", "F", ["a"], ["b"], body, opsets[:1])
    nodes = [
        helper.make_node("If", ["flag"], ["i"], then_branch=then, else_branch=other),
        helper.make_node("F", ["i"], ["j"], domain="own"),
        helper.make_node("MatMul", ["j", "w"], ["y"]),
    ]
    flag = helper.make_tensor_value_info("flag", 9, [])
    graph = helper.make_graph(nodes, "net", [kinds["x"], flag], [kinds["y"]], [held])
    return helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=8)


def save_beside(model: onnx.ModelProto, path: Path, location: str) -> None:
    """The model with every tensor in another file."""
    (path.parent / location).parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(
        model, path, save_as_external_data=True, location=location, size_threshold=0,
        convert_attribute=True,
    )  # fmt: skip


@pytest.fixture(params=["net.onnx.data", "net.onnx_data", "weights/all.bin"])
def packed(request: pytest.FixtureRequest, tmp_path: Path, rng: np.random.Generator) -> Path:
    """A Taut file beside its original."""
    save_beside(branching(rng), tmp_path / "net.onnx", request.param)
    taut.compress(tmp_path / "net.onnx", tmp_path / "net.taut.safetensors")
    return tmp_path / "net.taut.safetensors"


@pytest.mark.parametrize(
    "name", ["n.onnx", "a_name_that_is_longer_than_a_byte_tells" * 4 + ".onnx"]
)
@pytest.mark.parametrize("force", [False, True])
def test_another_name_touches_no_file_of_the_original(packed: Path, name: str, force: bool) -> None:
    folder = packed.parent
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    restored = taut.decompress(packed, folder / name, force=force)
    assert {path: path.read_bytes() for path in before} == before
    assert not set(restored.files) & set(before)
    assert all(path.name.startswith(Path(name).stem) for path in restored.files)
    assert restored.bytes == sum(path.stat().st_size for path in restored.files)
    assert onnx.load(folder / name) == onnx.load(folder / "net.onnx")
    onnx.checker.check_model(str(folder / name))


def test_its_own_name_gives_the_very_bytes_and_never_by_itself_over_the_original(
    packed: Path, tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError, match="exists"):
        taut.decompress(packed, packed.with_name("net.onnx"))
    restored = taut.decompress(packed, _made(tmp_path / "other") / "net.onnx")
    for path in restored.files:
        same = packed.parent / path.relative_to(tmp_path / "other")
        assert path.read_bytes() == same.read_bytes()


def test_what_is_already_beside_the_new_name_is_not_replaced_without_force(packed: Path) -> None:
    restored = taut.decompress(packed, packed.with_name("n.onnx"))
    restored.files[0].unlink()
    with pytest.raises(ArgumentError, match=r"n\.onnx.*exists"):
        taut.decompress(packed, packed.with_name("n.onnx"))
    taut.decompress(packed, packed.with_name("n.onnx"), force=True)


def test_names_of_data_files_stay_apart() -> None:
    files = ["m.onnx.data", "data", "n.onnx.data", "M.onnx.data", "d/m.onnx", "x"]
    found = names_beside(files, "m.onnx", "n.onnx")
    assert list(found) == files
    assert len({name.casefold() for name in found.values()} | {"n.onnx"}) == len(files) + 1
    assert found["d/m.onnx"] == "d/n.onnx"


def test_a_graph_that_is_damaged_is_refused(rng: np.random.Generator, tmp_path: Path) -> None:
    save_beside(branching(rng), tmp_path / "net.onnx", "net.bin")
    data = (tmp_path / "net.onnx").read_bytes()
    for _ in range(200):
        wrong = bytearray(data)
        wrong[rng.integers(len(data))] = rng.integers(256)
        cut = int(rng.integers(2, len(data)))
        hole = Hole(cut - 2, cut, "w", "raw")
        file = RecipeFile("net.onnx", len(data), (hole,), bytes(wrong[: cut - 2] + wrong[cut:]))
        with contextlib.suppress(FormatError):
            renamed(file, {"net.bin": "other.bin"}, "net.onnx")


def test_lists_of_numbers_that_are_tensors_stay_whole(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    model = branching(rng)
    weights = rng.standard_normal(4096).astype("f4").tolist()
    node = helper.make_node(
        "LinearRegressor", ["x"], ["z"], domain="ai.onnx.ml", coefficients=weights, targets=256
    )
    model.graph.node.append(node)
    model.graph.output.append(helper.make_tensor_value_info("z", 1, ["n", 256]))
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    save_beside(model, tmp_path / "net.onnx", "net.bin")
    taut.compress(tmp_path / "net.onnx", tmp_path / "net.taut.safetensors")
    taut.decompress(tmp_path / "net.taut.safetensors", tmp_path / "longer.onnx")
    assert onnx.load(tmp_path / "longer.onnx") == onnx.load(tmp_path / "net.onnx")
    assert (tmp_path / "longer.bin").read_bytes() == (tmp_path / "net.bin").read_bytes()


def test_a_hole_is_no_part_of_the_graph() -> None:
    file = RecipeFile("m", 6, (Hole(2, 4, "w", "raw"),), b"abef")
    data = HoledBytes(file, "m")
    assert bytes(data.between(0, 2)) == b"ab" and bytes(data[4:6]) == b"ef"  # type: ignore[arg-type]
    assert data[5] == ord("f")
    for begin, end in ((1, 5), (2, 3), (3, 6)):
        with pytest.raises(FormatError, match="byte"):
            data.between(begin, end)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def unpacked(tensor: onnx.TensorProto) -> bytes:
    """A tensor whose numbers each have a key of their own, as older writers have it."""
    rest = onnx.TensorProto()
    rest.CopyFrom(tensor)
    rest.ClearField("int32_data")
    lone = [onnx.TensorProto(int32_data=[one]).SerializeToString() for one in tensor.int32_data]
    return rest.SerializeToString() + b"".join(b"\x28" + one[2:] for one in lone)


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("kind", [onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16])
@pytest.mark.parametrize("inner", [False, True])
def test_narrow_floats_that_are_varints_come_back_rounded(
    kind: int, packs: bool, inner: bool, rng: np.random.Generator, tmp_path: Path
) -> None:
    """Rounded, they take more or fewer bytes than before, and so do the messages around them."""
    w = helper.make_tensor("w", kind, (64, 64), rng.standard_normal(4096))
    assert w.int32_data
    kinds = [helper.make_tensor_value_info(name, kind, [64, 64]) for name in "xyz"]
    product = [helper.make_node("MatMul", ["x", "w"], ["z"])]
    outer, held = [helper.make_node("MatMul", ["x", "w"], ["y"])], [w]
    if inner:
        branch = helper.make_graph(product, "b", [], kinds[2:], held)
        outer, held = [helper.make_node("If", ["c"], ["y"], then_branch=branch)], []
    graph = helper.make_graph(outer, "net", kinds[:1], kinds[1:2], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    data = model.SerializeToString()
    if not packs and not inner:
        del model.graph.initializer[:]
        tensor = unpacked(w)
        wire = b"\x2a" + varint(len(tensor)) + tensor  # an initialiser
        rest = model.graph.SerializeToString() + wire
        model.ClearField("graph")
        data = model.SerializeToString() + b"\x3a" + varint(len(rest)) + rest
    source, packed = tmp_path / "net.onnx", tmp_path / "net.taut.safetensors"
    source.write_bytes(data)
    taut.compress(source, packed, bits=5)
    taut.decompress(packed, tmp_path / "n.onnx")
    found = taut.load(packed)
    name = next(iter(found))
    graph = onnx.load(tmp_path / "n.onnx").graph
    if inner:
        graph = graph.node[0].attribute[0].g
    values = numpy_helper.to_array(graph.initializer[0]).astype("f4")
    was = numpy_helper.to_array(w).astype("f4")
    assert np.array_equal(values, np.asarray(found[name]).astype("f4"))
    assert 0 < np.abs(values - was).max() < 1


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


@pytest.mark.parametrize("force", [False, True])
def test_a_data_file_of_the_original_is_no_place_for_the_model(packed: Path, force: bool) -> None:
    original = onnx.load(packed.with_name("net.onnx"), load_external_data=False)
    held = packed.parent / original.graph.initializer[0].external_data[0].value
    before = held.read_bytes()
    with pytest.raises(ArgumentError, match=r"data file of the model|another format"):
        taut.decompress(packed, held, force=force)
    assert held.read_bytes() == before
