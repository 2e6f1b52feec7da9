"""Hostile .onnx files, and hostile graphs in Taut files: refused by name, at little memory."""

from __future__ import annotations

import json
import random
import zlib
from pathlib import Path

import numpy as np
import pytest

from taut.errors import ArgumentError, FormatError
from taut.io._onnx_recipe import unpack_recipe
from taut.io.onnx import open_onnx


def varint(value: int) -> bytes:
    """A whole number below 2^64 as protobuf writes it."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def field(number: int, content: bytes | int) -> bytes:
    """A field of bytes, or of a number."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(
    name: bytes = b"w", dims: tuple[int, ...] = (2,), kind: int = 1, *, more: bytes = b"",
    payload: bytes | None = None,
) -> bytes:  # fmt: skip
    """A TensorProto of 8 bytes unless told otherwise."""
    parts = [field(1, dim) for dim in dims] + [field(2, kind), field(8, name), more]
    return b"".join([*parts, field(9, bytes(8)) if payload is None else payload])


def model(*tensors: bytes) -> bytes:
    """A ModelProto with these initialisers."""
    return field(1, 9) + field(7, b"".join(field(5, one) for one in tensors))


def deep(levels: int) -> bytes:
    """A GraphProto with so many graphs in one another."""
    graph = b""
    for _ in range(levels):
        graph = field(1, field(2, b"y") + field(5, field(6, graph)))
    return graph


def listing(values: bytes) -> bytes:
    """A ModelProto with a node that has an attribute of these fields."""
    return field(1, 9) + field(7, field(1, field(5, values)))


HUGE = 1 << 62
HOSTILE = {
    "empty": (b"", "is no ONNX model"),
    "text": (b"hello, world", "onnx"),
    "no graph": (field(1, 9), "is no ONNX model"),
    "two graphs": (model(tensor()) + field(7, b""), "not one graph"),
    "cut off": (model(tensor())[:-3], "ends behind its message"),
    "length of 2^64": (field(1, 9) + b"\x3a" + varint((1 << 64) - 1), "ends behind its message"),
    "endless number": (b"\x08" + b"\xff" * 20, "longer than 64 bits"),
    "field 0": (b"\x02\x00", "the number 0"),
    "groups": (b"\x0b\x0c", "wire type 3"),
    "huge dims": (model(tensor(dims=(HUGE,))), "overflows"),
    "dims that wrap": (model(tensor(dims=(1 << 32, 1 << 32))), "overflows"),
    "dims beyond": (model(tensor(dims=(1 << 40,))), "holds 8 bytes"),
    "negative dim": (model(tensor(dims=((1 << 64) - 1,))), "below zero"),
    "many dims": (model(tensor(dims=(1,) * 33)), "more than 32 dimensions"),
    "packed dims": (model(tensor(dims=(), more=field(1, bytes(1000)))), "no dimensions"),
    "few bytes": (model(tensor(dims=(3,))), "holds 8 bytes"),
    "no bytes": (model(tensor(payload=b"")), "but no values"),
    "no name": (model(tensor(name=b"")), "empty, or comes twice"),
    "same name": (model(tensor(), tensor()), "empty, or comes twice"),
    "name twice": (model(tensor(more=field(8, b"v"))), "comes twice"),
    "name no text": (model(tensor(name=b"\xff")), "not UTF-8"),
    "long name": (model(tensor(name=b"n" * 70_000)), "is no text"),
    "values twice": (model(tensor(more=field(9, bytes(8)))), "comes twice"),
    "deep subgraphs": (field(1, 9) + field(7, deep(60)), "lie too deep"),
    "list of odd bytes": (listing(field(7, bytes(65))), "holds 65 bytes"),
    "few numbers": (model(tensor(kind=7, payload=field(7, b"\x01"))), "holds 1 numbers"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_model_is_refused(name: str, tmp_path: Path) -> None:
    data, message = HOSTILE[name]
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=message) as caught:
        open_onnx(path)
    assert str(caught.value).startswith(str(path))


def test_numbers_no_writer_makes_stay_in_the_graph(tmp_path: Path) -> None:
    long = field(7, b"\x81\x80\x00\x02")  # 1, with two bytes too many
    cut = tensor(b"cut", (1,), 6, payload=field(5, b"\x01"))
    path = tmp_path / "m.onnx"
    path.write_bytes(model(tensor(b"long", (2,), 7, payload=long), cut))
    source = open_onnx(path)
    assert [info.name for info in source.infos] == ["cut", "onnx.graph"]


def test_keys_in_more_bytes_than_they_take_stay_in_the_graph(tmp_path: Path) -> None:
    """Protobuf reads such keys, but no writer makes them."""
    one = b"\xa5\x80\x00" + bytes(4)  # float_data: a key of three bytes, and 0.0
    path = tmp_path / "m.onnx"
    path.write_bytes(model(tensor(b"long", payload=one + one), tensor(b"a")))
    source = open_onnx(path)
    assert [info.name for info in source.infos] == ["a", "onnx.graph"]


def test_damage_anywhere_is_refused_or_read(tmp_path: Path) -> None:
    loose = b"".join(b"\x25" + bytes(4) for _ in range(2))  # float_data, not packed
    lists = field(7, bytes(80)) + b"".join(b"\x40" + varint(1000 * i) for i in range(20))
    whole = field(1, 9) + field(
        7,
        field(5, tensor(b"a"))
        + field(5, tensor(b"b", (1,), 7, payload=field(7, b"\x05")))
        + field(5, tensor(b"c", payload=loose))
        + field(1, field(2, b"y") + field(5, lists + field(6, field(5, tensor(b"d"))))),
    )
    path, chance = tmp_path / "m.onnx", random.Random(0)
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data[: chance.randrange(1, len(data) + 1)])
        try:
            source = open_onnx(path)
        except (FormatError, ArgumentError) as error:
            assert str(path) in str(error)
        else:
            for info in source.infos:
                assert source.load(info.name).nbytes == info.nbytes


def recipe(files: object, literal: bytes = b"") -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(json.dumps({"files": files}).encode() + b"\n" + literal) + packer.flush()


def listed(**changed: object) -> list[dict[str, object]]:
    return [{"name": "m.onnx", "bytes": 10, "holes": [[2, 6, "w", "raw"]]} | changed]


GRAPHS = {
    "noise": np.random.default_rng(0).bytes(100),
    "nothing": b"",
    "not all": recipe(listed(), bytes(5)),
    "too much": recipe(listed(), bytes(7)),
    "bytes behind": recipe(listed(), bytes(6)) + b"x",
    "bomb": recipe(listed(bytes=1 << 28, holes=[]), bytes(1 << 28)),
    "no files": recipe([]),
    "way up": recipe(listed(name="../m.onnx"), bytes(6)),
    "absolute": recipe(listed(name="/m.onnx"), bytes(6)),
    "same name": recipe([*listed(), *listed(name="M.ONNX")], bytes(12)),
    "same file": recipe([*listed(), *listed(name="./m.onnx")], bytes(12)),
    "hole behind": recipe(listed(holes=[[8, 12, "w", "raw"]]), bytes(6)),
    "holes over another": recipe(listed(holes=[[0, 4, "w", "raw"], [2, 6, "v", "raw"]]), bytes(2)),
    "hole turned round": recipe(listed(holes=[[6, 2, "w", "raw"]]), bytes(6)),
    "unknown encoding": recipe(listed(holes=[[2, 6, "w", "zip"]]), bytes(6)),
    "unknown key": recipe(listed(more=1), bytes(6)),
    "negative size": recipe(listed(bytes=-1, holes=[])),
    "key of two bytes": recipe(listed(holes=[[2, 6, "w", "raw", 189]]), bytes(6)),
    "key 0": recipe(listed(holes=[[2, 6, "w", "raw", 0]]), bytes(6)),
    "key no number": recipe(listed(holes=[[2, 6, "w", "raw", True]]), bytes(6)),
    "key of another kind": recipe(listed(holes=[[2, 6, "w", "varint", 61]]), bytes(6)),
    "two keys": recipe(listed(holes=[[2, 6, "w", "raw", 61, 61]]), bytes(6)),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_hostile_graph_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match=r"^here: "):
        unpack_recipe(GRAPHS[name], "here")


def test_a_sound_graph_is_read() -> None:
    (file,) = unpack_recipe(recipe(listed(), b"abcdef"), "here")
    assert (file.name, file.nbytes, file.literal) == ("m.onnx", 10, b"abcdef")
