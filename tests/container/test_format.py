"""docs/format.md alone is enough to read a file: this reader was written from the page."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import xxhash
from safetensors import safe_open

import taut
from taut.coding import Job, decode, decoded_nbytes
from taut.container.deflate import DICTIONARY
from taut.container.format import build_header, check_header, free_prefix, header_entry
from taut.errors import FormatError, VerifyError
from taut.io import SAFETENSORS_DTYPES


def digest(data: bytes) -> str:
    return f"{xxhash.xxh3_64_intdigest(data):016x}"


def read_by_the_page(path: Path) -> dict[str, np.ndarray]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = data[8 : 8 + length], data[8 + length :]
    assert length % 8 == 0
    assert header.startswith(b'{"__metadata__":{"taut":"2","checksum":"')
    assert digest(header[:40] + b"0" * 16 + header[56:]) == header[40:56].decode()
    tree = json.loads(header)
    metadata = tree.pop("__metadata__")
    end = 0
    for entry in tree.values():  # in the order of the body, without holes
        assert entry["data_offsets"][0] == end
        end = entry["data_offsets"][1]
    assert end == len(body)
    entries = {name: body[slice(*e["data_offsets"])] for name, e in tree.items()}
    blob = list(entries.values())[-1]
    assert digest(blob) == metadata["index"]
    stream = zlib.decompressobj(-15, zdict=dictionary_of_the_page())
    index = json.loads(stream.decompress(blob))

    def decoded(pieces: list[bytes]) -> bytes:
        out = np.empty(decoded_nbytes(pieces[0]), np.uint8)
        decode([Job(pieces[0], pieces[1:], out)])
        return out.tobytes()

    def coded(name: str, parts: list[list[int | str]]) -> bytes:
        pieces, begin = [], 0
        for nbytes, checksum in parts:
            pieces.append(entries[name][begin : begin + nbytes])
            assert digest(pieces[-1]) == checksum
            begin += nbytes
        rest = entries[name][begin:]
        assert rest == bytes(len(rest))
        assert tree[name]["data_offsets"][1] % 8 == 0
        assert len(rest) < 8
        return decoded(pieces)

    packs, sums = [], []
    for pack in index.get("packs", []):
        packs.append(entries[pack["name"]] if "name" in pack else stream.unused_data)
        sums.append("")

    def packed(number: int, lengths: list[int]) -> bytes:
        pieces = []
        for nbytes in lengths:
            pieces.append(packs[number][:nbytes])
            packs[number] = packs[number][nbytes:]
        values = decoded([b"LCA1" + pieces[0], *pieces[1:]])
        sums[number] += digest(values)
        return values

    groups = [
        packed(group["pack"], group["lengths"])
        if "pack" in group
        else coded(group["name"], group["parts"])
        for group in index.get("solids", [])
    ]
    ends = [0] * len(groups)
    found: dict[str, np.ndarray] = {}
    for number, name, shape, *rest in index["tensors"]:
        kind = index["kinds"][number]
        dtype = SAFETENSORS_DTYPES[kind["dtype"]]
        nbytes = int(np.prod(shape, dtype=int)) * dtype.itemsize
        if kind["store"] == "coded":
            raw = coded(name, rest[1])
            assert digest(raw) == rest[0]
        elif kind["store"] == "packed":
            raw = packed(kind["pack"], rest[0])
        elif kind["store"] == "kept":
            raw = entries[name]
            assert digest(raw) == rest[0]
        elif kind["store"] == "solid":
            solid = kind["solid"]
            raw = groups[solid][ends[solid] : ends[solid] + nbytes]
            ends[solid] += nbytes
        else:
            raw = found[rest[0]].tobytes()
        found[name] = np.frombuffer(raw, dtype).reshape(shape)
    assert [digest(text.encode()) for text in sums] == [p["sum"] for p in index.get("packs", [])]
    assert all(not any(left) and len(left) < 8 for left in packs)
    return found


def dictionary_of_the_page() -> bytes:
    """The dictionary as docs/format.md prints it, line breaks left out."""
    page = Path(__file__).parents[2] / "docs" / "format.md"
    text = page.read_text(encoding="utf-8").split("### The dictionary")[1]
    return text.split("```")[1].replace("\n", "").encode()


def test_a_reader_written_from_the_page_reads_every_kind_of_tensor(file, arrays):
    found = read_by_the_page(file)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].tobytes() == array.tobytes(), name
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)


def test_the_file_is_valid_safetensors_and_kept_tensors_are_readable_by_anyone(file, arrays):
    with safe_open(file, "numpy") as opened:
        assert opened.metadata()["taut"] == "2"
        assert np.array_equal(opened.get_tensor("noise"), arrays["noise"])
        assert opened.get_tensor("coded").dtype == np.uint8
        assert opened.get_tensor("empty").shape == (0, 3)
        assert "taut.index" in opened.keys()  # noqa: SIM118  # not a dict


def test_a_model_may_use_tauts_own_names(tmp_path):
    arrays = {"taut.index": np.ones(3, np.float32), "taut1.solid.F32": np.zeros(2, np.int8)}
    path = tmp_path / "odd.taut.safetensors"
    taut.compress(arrays, path)
    assert {name: array.tolist() for name, array in taut.load(path).tensors()} == {
        "taut.index": [1, 1, 1],
        "taut1.solid.F32": [0, 0],
    }
    assert free_prefix(["taut.index", "taut1.x", "taut2"]) == "taut3."


def test_names_may_be_any_unicode(tmp_path):
    name = 'q"\\\n\u2028 \U0001f600 ключ'
    path = tmp_path / "names.taut.safetensors"
    taut.compress({name: np.arange(9000.0), "": np.arange(3)}, path)
    assert list(taut.load(path)) == [name, ""]
    assert taut.load(path)[name][8999] == 8999


def test_a_last_pack_that_is_small_lies_after_the_index(arrays, tmp_path):
    small = {name: arrays[name] for name in ("bias", "scalar", "steps", "mask")}
    path = tmp_path / "small.taut.safetensors"
    taut.compress(small, path)
    with safe_open(path, "numpy") as opened:
        assert list(opened.keys()) == ["taut.index"]
    found = read_by_the_page(path)
    assert {n: a.tobytes() for n, a in found.items()} == {n: a.tobytes() for n, a in small.items()}


def test_the_dictionary_is_the_one_on_the_page():
    assert dictionary_of_the_page() == DICTIONARY


def test_the_header_checks_itself():
    header = build_header([header_entry("taut.index", "U8", (5,), 0, 5)], "0" * 16, room=300)
    assert len(header) == 304
    assert check_header(header, "f") == (2, "0" * 16)
    with pytest.raises(VerifyError, match=r"f: header \(bytes 8..312\) does not match"):
        check_header(header[:-1] + b"\t", "f")
    newer = header.replace(b'"taut":"2"', b'"taut":"3"')
    with pytest.raises(FormatError, match="format version 3, this Taut reads 1 to 2; update"):
        check_header(newer, "f")
    with pytest.raises(FormatError, match="not a Taut file"):
        check_header(b'{"__metadata__":{"format":"pt"}}', "f")
