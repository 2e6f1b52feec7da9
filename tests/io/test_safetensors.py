"""Files and shards give each tensor as it is, one at a time, or an error that names it."""

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save, save_file

import taut
from taut.errors import ArgumentError, FormatError
from taut.io import DTYPE_BITS, open_source, storage
from taut.io.model_file import ModelFile
from taut.io.safetensors import open_safetensors
from taut.io.source import notes_of

Shards = dict[str, dict[str, np.ndarray]]


def write(path: Path, tensors: list[tuple[str, str, list[int], bytes]], pad: int = 0) -> Path:
    """A file of tensors (name, dtype, shape, bytes), the header padded by `pad` spaces."""
    header, end = {}, 0
    for name, dtype, shape, data in tensors:
        offsets = [end, end + len(data)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        end += len(data)
    raw = json.dumps(header).encode() + b" " * pad
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + b"".join(t[3] for t in tensors))
    return path


SHAPES = [(), (0,), (3, 0, 2), (8,), (2, 3, 4)]
WHOLE = [(d, s) for d in DTYPE_BITS for s in SHAPES if np.prod(s) * DTYPE_BITS[d] % 8 == 0]


@pytest.mark.parametrize(("dtype", "shape"), WHOLE)
def test_every_dtype_and_shape_is_read_bit_for_bit(
    dtype: str, shape: tuple[int, ...], tmp_path: Path, rng: np.random.Generator
) -> None:
    numpy_dtype, held_shape = storage(dtype, shape)
    data = rng.bytes(int(np.prod(shape)) * DTYPE_BITS[dtype] // 8)
    source = open_source(write(tmp_path / "m.safetensors", [("w", dtype, list(shape), data)]))
    (info,) = source.infos
    assert (info.name, info.dtype, info.shape, info.nbytes) == ("w", dtype, shape, len(data))
    loaded = source.load("w")
    assert (loaded.dtype, loaded.shape) == (numpy_dtype, held_shape)
    assert loaded.tobytes() == data
    assert loaded.flags.c_contiguous
    assert loaded.flags.aligned
    assert not loaded.flags.writeable


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(DTYPE_BITS)), st.lists(st.integers(0, 4), max_size=4)),
        max_size=5,
    ),
    st.integers(0, 9),
)
def test_any_mixture_is_read_in_the_order_of_its_data(
    tmp_path_factory: pytest.TempPathFactory, mixture: list[tuple[str, list[int]]], pad: int
) -> None:
    tensors = []
    for i, (dtype, shape) in enumerate(mixture):
        whole = [*shape, 4]  # four sub-byte values always fill their bytes
        nbytes = int(np.prod(whole)) * DTYPE_BITS[dtype] // 8
        tensors.append((f"t{i}", dtype, whole, bytes((i + j) % 256 for j in range(nbytes))))
    path = write(tmp_path_factory.mktemp("mixture") / "m.safetensors", tensors, pad)
    source = open_source(path)
    assert [(t.name, t.dtype, list(t.shape)) for t in source.infos] == [t[:3] for t in tensors]
    assert [source.load(t[0]).tobytes() for t in tensors] == [t[3] for t in tensors]
    assert source.files[0].header.encode() == path.read_bytes()[8 : path.stat().st_size - sum(
        len(t[3]) for t in tensors)]  # fmt: skip
    assert source.nbytes == path.stat().st_size


def test_the_real_model_is_what_the_safetensors_library_reads(minilm: Path) -> None:
    source, expected = open_source(minilm / "model.safetensors"), load_file(
        minilm / "model.safetensors"
    )  # fmt: skip
    assert {info.name for info in source.infos} == set(expected)
    for info in source.infos:
        np.testing.assert_array_equal(source.load(info.name), expected[info.name], strict=True)
    assert source.metadata == {"format": "pt"}
    assert source.companions == ()


def test_a_file_that_does_not_end_up_aligned_still_gives_aligned_tensors(tmp_path: Path) -> None:
    values = np.arange(3, dtype=np.float64)
    tensors = [("a", "U8", [1], b"\1"), ("b", "F64", [3], values.tobytes())]
    for pad in range(8):
        loaded = open_source(write(tmp_path / "m.safetensors", tensors, pad)).load("b")
        assert loaded.flags.aligned
        np.testing.assert_array_equal(loaded, values)


def test_nan_payloads_and_bools_that_are_not_0_or_1_keep_their_bits(tmp_path: Path) -> None:
    signalling = bytes.fromhex("010080 7f 0200c0ff 00000080 01000000".replace(" ", ""))
    tensors = [("f", "F32", [4], signalling), ("b", "BOOL", [4], b"\0\1\2\xff")]
    source = open_source(write(tmp_path / "m.safetensors", tensors))
    assert source.load("f").tobytes() == signalling
    assert source.load("b").tobytes() == b"\0\1\2\xff"


def test_a_loaded_tensor_is_its_own_and_a_view_is_mapped(tmp_path: Path) -> None:
    save_file({"w": np.arange(1 << 16, dtype=np.int32)}, tmp_path / "m.safetensors")
    source = open_source(tmp_path / "m.safetensors")
    first, second, loaded = source.view("w"), source.view("w"), source.load("w")
    assert np.shares_memory(first, second)
    assert not first.flags.owndata
    assert not np.shares_memory(first, loaded)
    assert np.array_equal(first, loaded)
    for values in (first, loaded):
        with pytest.raises(ValueError):
            values[0] = 1


def test_a_tensor_outlives_its_source(tmp_path: Path) -> None:
    save_file({"w": np.arange(9)}, tmp_path / "m.safetensors")
    loaded = open_source(tmp_path / "m.safetensors").load("w")
    assert loaded.sum() == 36


def test_an_unknown_tensor_is_an_error_with_the_nearest_names(tmp_path: Path) -> None:
    save_file({"layer.weight": np.zeros(1), "head": np.zeros(1)}, tmp_path / "m.safetensors")
    with pytest.raises(ArgumentError, match=r'no tensor "layer.wieght"; nearest: layer.weight$'):
        open_source(tmp_path / "m.safetensors").load("layer.wieght")


def test_a_damaged_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(save({"w": np.zeros(8)})[:-1])
    with pytest.raises(FormatError, match=r'cut.safetensors: tensor "w" ends at byte'):
        open_safetensors(path)


@pytest.fixture
def shards(tmp_path: Path) -> Callable[..., Path]:
    """Writes shards and an index (true by default, else with this weight map); its path."""

    def make(weight_map: object = None, **index: object) -> Path:
        files: Shards = {
            "model-1.safetensors": {"a": np.arange(4.0), "b": np.array(2, np.float16)},
            "model-2.safetensors": {"c": np.array([[1, 2]], ml_dtypes.bfloat16).view(np.uint16)},
        }
        for name, tensors in files.items():
            save_file(tensors, tmp_path / name, {"format": "pt"})
        if weight_map is None:
            weight_map = {tensor: name for name, held in files.items() for tensor in held}
        path = tmp_path / "model.safetensors.index.json"
        path.write_text(json.dumps({"metadata": {}, "weight_map": weight_map, **index}))
        return path

    return make


def test_shards_are_one_model(shards: Callable[..., Path]) -> None:
    path = shards()
    source = open_source(path)
    assert [info.name for info in source.infos] == ["a", "b", "c"]
    assert [file.name for file in source.files] == ["model-1.safetensors", "model-2.safetensors"]
    assert source.metadata == {}
    assert source.nbytes == sum((path.parent / file.name).stat().st_size for file in source.files)
    np.testing.assert_array_equal(source.load("c"), [[0x3F80, 0x4000]])
    assert source.load("b").shape == ()


ONE, TWO = "model-1.safetensors", "model-2.safetensors"


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": ONE, "b": ONE, "c": TWO, "d": TWO}, f'tensor "d" is listed, but not in .*"{TWO}"'),
        ({"a": ONE, "c": TWO}, f'shard "{ONE}" holds the tensor "b", which the index does not'),
        ({"a": ONE, "b": TWO, "c": TWO}, f'tensor "b" is listed in "{TWO}", but lies in "{ONE}"'),
        ({"a": "../evil.safetensors"}, "must be the name of a file beside the index"),
        ({"a": "/etc/passwd"}, "must be the name of a file beside the index"),
        ({"a": "C:evil"}, "must be the name of a file beside the index"),
        ({"a": ".."}, "must be the name of a file beside the index"),
        ({"a": 1}, 'tensor "a": 1 must be the name'),
        ({}, 'needs a "weight_map"'),
        ([], 'needs a "weight_map"'),
    ],
)
def test_an_index_that_its_shards_contradict_is_refused(
    shards: Callable[..., Path], weight_map: object, message: str
) -> None:
    with pytest.raises(FormatError, match=f"model.safetensors.index.json: .*{message}"):
        open_source(ModelFile(shards(weight_map), strict=True))


def test_a_missing_shard_is_named_with_what_it_holds(shards: Callable[..., Path]) -> None:
    path = shards()
    (path.parent / ONE).unlink()
    with pytest.raises(ArgumentError, match=f'shard "{ONE}" is missing, 2 tensors are in it'):
        open_source(path)


def test_a_damaged_shard_is_named(shards: Callable[..., Path]) -> None:
    path = shards()
    (path.parent / TWO).write_bytes(b"\0" * 4)
    with pytest.raises(FormatError, match=f"{TWO}: 4 bytes"):
        open_source(path)


@pytest.mark.parametrize(
    ("weight_map", "names", "told"),
    [
        ({"a": ONE, "b": ONE, "c": TWO, "d": TWO}, ["a", "b", "c"], '"d" is listed, but not in'),
        ({"a": ONE, "c": TWO}, ["a", "c"], 'holds the tensor "b", which the index does not list'),
        ({"a": ONE, "b": TWO, "c": TWO}, ["a", "b", "c"], f'lies in "{ONE}"; taken from the first'),
    ],
)
def test_the_index_rules_and_the_rest_is_told(
    shards: Callable[..., Path], weight_map: dict[str, str], names: list[str], told: str
) -> None:
    source = open_source(shards(weight_map))
    assert [info.name for info in source.infos] == names
    assert any(told in note for note in notes_of(source))
    for name in names:
        source.load(name)


def test_of_two_shards_the_one_that_the_index_names_is_read(
    shards: Callable[..., Path], tmp_path: Path
) -> None:
    path = shards({"a": TWO, "b": ONE, "c": TWO})
    overlay = {"c": np.zeros(1), "a": np.full(4, 7.0), "more": np.ones(2)}
    save_file(overlay, path.parent / TWO)
    source = open_source(path)
    np.testing.assert_array_equal(source.load("a"), overlay["a"])
    assert sorted(info.name for info in source.infos) == ["a", "b", "c"]
    assert source.nbytes == sum(info.nbytes for info in source.infos)
    note = " ".join(notes_of(source))
    assert f'"a" is in both "{ONE}" and "{TWO}"' in note and '"more"' in note
    with pytest.raises(FormatError, match=f'tensor "a" is in both "{ONE}" and "{TWO}"'):
        open_source(ModelFile(path, strict=True))
    taut.compress(path, tmp_path / "x.taut.safetensors")
    taut.decompress(tmp_path / "x.taut.safetensors", tmp_path / "back.safetensors")
    back = open_source(tmp_path / "back.safetensors")
    for info in source.infos:
        np.testing.assert_array_equal(back.load(info.name), source.load(info.name))


def test_an_index_of_other_shards_is_no_model(shards: Callable[..., Path]) -> None:
    with pytest.raises(FormatError, match="x"):
        open_source(shards({"x": ONE, "y": TWO}))


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[" * 10**6, b"\xff", b"[]", b'{"weight_map":{"a":"x","a":"y"}}', b"9" * 10**5],
    ids=["empty", "cut", "deep", "not UTF-8", "a list", "a name twice", "a long number"],
)
def test_an_index_that_is_not_one_is_refused(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(text)
    with pytest.raises(FormatError, match=r"index.json: (not a valid JSON index|an index of)"):
        open_source(path)


def test_reading_files_does_not_import_torch() -> None:
    import subprocess

    code = "import sys, taut.io; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
