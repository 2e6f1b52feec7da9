"""The verb decompress: the original's bytes, or its header over other values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import taut
from taut.container import Origin, TautFile, Writer
from taut.errors import ArgumentError, FormatError, VerifyError
from taut.io import TensorInfo


def raw_file(path: Path, header: str, data: bytes) -> Path:
    path.write_bytes(len(header.encode()).to_bytes(8, "little") + header.encode() + data)
    return path


# Legal headers that no library writes: order, spaces, escapes, empty tensors, metadata last.
HEADERS = [
    '{"w":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}',
    '{"w":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}' + " " * 41,
    '{ "b" :{"shape":[1,1],"data_offsets":[8,12] , "dtype":"I32"},\n'
    '"a":{"data_offsets":[0,8],"dtype":"I8","shape":[2,4]}}',
    '{"e":{"dtype":"F16","shape":[0,7],"data_offsets":[12,12]},"s":{"dtype":"F32","shape":[],'
    '"data_offsets":[0,4]},"\\u00e9\\n":{"dtype":"F64","shape":[1],"data_offsets":[4,12]},'
    '"z":{"dtype":"F16","shape":[0],"data_offsets":[4,4]},"__metadata__":{"k":"\\u20ac"}}',
    '{"q":{"dtype":"F4","shape":[24],"data_offsets":[0,12]}}',
]


@pytest.mark.parametrize("header", HEADERS)
def test_a_file_comes_back_byte_for_byte(tmp_path, header):
    source = raw_file(tmp_path / "m.safetensors", header, bytes(range(200, 212)))
    taut.compress(source, tmp_path / "c")
    restored = taut.decompress(tmp_path / "c", tmp_path / "back.safetensors")
    assert restored.path.read_bytes() == source.read_bytes()
    assert restored.bytes == source.stat().st_size


def test_shards_their_index_and_companions_come_back(tmp_path, rng):
    home = tmp_path / "hub"
    home.mkdir()
    arrays = {f"w{i}": rng.standard_normal((70, 80)).astype(np.float32) for i in range(4)}
    for number in range(2):
        part = {f"w{i}": arrays[f"w{i}"] for i in (number, number + 2)}
        save_file(part, home / f"model-{number}.safetensors", metadata={"format": "pt"})
    names = {f"w{i}": f"model-{i % 2}.safetensors" for i in range(4)}
    text = json.dumps({"weight_map": names}, indent=3) + "\r\n"
    (home / "model.safetensors.index.json").write_bytes(text.encode())
    (home / "config.json").write_text("{}")
    taut.compress(home, tmp_path / "small")
    restored = taut.decompress(tmp_path / "small", tmp_path / "back")
    before = {path.name: path.read_bytes() for path in home.iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "back").iterdir()} == before
    assert restored.bytes == sum(map(len, before.values()))
    with pytest.raises(ArgumentError, match="exists; give -f"):
        taut.decompress(tmp_path / "small", tmp_path / "back")
    taut.decompress(tmp_path / "small", tmp_path / "back", force=True)
    single = taut.compress(home / "model.safetensors.index.json", tmp_path / "x.taut.safetensors")  # fmt: skip  # noqa: E501
    with pytest.raises(ArgumentError, match=r"several files \(model-0.safetensors, ...\); name a"):
        taut.decompress(single.path, tmp_path / "x.safetensors")


def test_a_model_from_memory_becomes_one_valid_file(tmp_path, rng):
    arrays = {"a": rng.standard_normal((30, 40)), "e": np.empty((2, 0), np.int8), "s": np.array(2)}
    taut.compress(arrays, tmp_path / "c")
    taut.decompress(tmp_path / "c", tmp_path / "m.safetensors")
    found = load_file(tmp_path / "m.safetensors")
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in arrays.items()
    }


def test_a_lossy_file_has_the_original_header_and_dtypes(tmp_path, rng):
    array = rng.standard_normal((100, 90)).astype(np.float32)
    save_file({"w": array}, tmp_path / "m.safetensors", metadata={"format": "pt"})
    taut.compress(tmp_path / "m.safetensors", tmp_path / "c", plan={"w": "fp16"})
    taut.decompress(tmp_path / "c", tmp_path / "b.safetensors")
    before, after = ((tmp_path / n).read_bytes() for n in ("m.safetensors", "b.safetensors"))
    start = 8 + int.from_bytes(before[:8], "little")
    assert before[:start] == after[:start]
    assert len(before) == len(after)
    assert np.array_equal(load_file(tmp_path / "b.safetensors")["w"], array.astype(np.float16))


def test_it_overwrites_nothing_without_force_and_never_its_input(tmp_path):
    taut.compress({"w": np.ones(5)}, tmp_path / "c")
    (tmp_path / "old").write_bytes(b"old")
    with pytest.raises(ArgumentError, match="exists"):
        taut.decompress(tmp_path / "c", tmp_path / "old")
    with pytest.raises(ArgumentError, match="is the file to decompress"):
        taut.decompress(tmp_path / "c", tmp_path / "c", force=True)
    taut.decompress(tmp_path / "c", tmp_path / "old", force=True)
    assert load_file(tmp_path / "old")["w"].tolist() == [1] * 5


def test_damage_leaves_nothing_behind(tmp_path, rng):
    path = tmp_path / "c"
    taut.compress({"w": rng.standard_normal((200, 200)), "v": np.arange(9000)}, path)
    data = bytearray(path.read_bytes())
    place = TautFile(path).contents.places["v"]
    data[place.entry.start + 60] ^= 4
    path.write_bytes(data)
    with pytest.raises(VerifyError, match='"v"'):
        taut.decompress(path, tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("there", [True, False])
def test_damage_leaves_a_folder_of_the_users_as_it_was_and_no_other(tmp_path, rng, there):
    home, out = tmp_path / "home", tmp_path / "out"
    home.mkdir()
    save_file({"w": rng.standard_normal((200, 200))}, home / "model.safetensors")
    (home / "config.json").write_text("{}")
    file = taut.compress(home, tmp_path / "small").path
    data = bytearray(file.read_bytes())
    data[TautFile(file).contents.places["w"].entry.start + 60] ^= 4
    file.write_bytes(data)
    if there:
        out.mkdir()
        (out / "notes.txt").write_text("kept")
    with pytest.raises(VerifyError, match='"w"'):
        taut.decompress(tmp_path / "small", out)
    assert out.exists() is there
    if there:
        assert (out / "notes.txt").read_text() == "kept"
        assert not (out / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ('{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,12]}}', "w"),
        ('{"w":{"dtype":"I32","shape":[3],"data_offsets":[0,12]}}', '"w" is not the one'),
        ('{"v":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}', '"v" is not in the index'),
        ("{}", '"w" is in no header'),
        ("[]", "not a JSON object"),
    ],
)
def test_a_stored_header_that_lies_is_refused(tmp_path, header, message):
    info = TensorInfo("w", "F32", (3,), 12)
    origin = Origin(12, {}, (("m.safetensors", header),))
    with Writer(tmp_path / "c", origin, [info]) as writer:
        writer.layout.add_small(info, "lossless", np.zeros(3, np.float32))
        writer.finish()
    with pytest.raises(FormatError, match=message):
        taut.decompress(tmp_path / "c", tmp_path / "m.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
