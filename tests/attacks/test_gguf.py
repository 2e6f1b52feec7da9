"""Hostile GGUF files, and hostile frames in Taut files: refused by name, nothing written."""

from __future__ import annotations

import json
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from tests.forge_gguf import Blob, Forged, blob, small_model, string

import taut
from taut.container import Origin
from taut.container.write import Writer
from taut.encoding.model import fill
from taut.errors import ArgumentError, FormatError
from taut.io import open_source
from taut.io.gguf_frame import read_frame
from taut.io.gguf_header import read_gguf_header
from taut.scheme import Scheme

W = blob("w", "Q4_0", 4, 64)
SOUND = Forged([W])


def key(name: str, kind: int, value: bytes) -> dict[str, object]:
    return {"keys": ((name, kind, value),)}


def tensor(**changes: object) -> dict[str, object]:
    values = {"name": "w", "dims": (64, 4), "kind": 2, "data": W.data, **changes}
    return {"tensors": [Blob(**values)]}  # type: ignore[arg-type]


LIES = {
    "another version": ({"version": 4}, "GGUF of version 4"),
    "big-endian": ({"version": 3 << 24}, "big-endian"),
    "2^60 tensors": ({"count": 1 << 60}, "no room"),
    "2^60 keys": ({"key_count": 1 << 60}, "no room"),
    "a tensor too many": ({"count": 2}, "tensor|name|cut short|no UTF-8"),
    "a key of 2^60 bytes": (key("k", 8, struct.pack("<Q", 1 << 60)), "cannot be"),
    "an array of 2^60 numbers": (key("k", 9, struct.pack("<IQ", 4, 1 << 60)), "no room"),
    "an array of 2^60 texts": (key("k", 9, struct.pack("<IQ", 8, 1 << 60)), "no room"),
    "arrays in arrays": (key("k", 9, struct.pack("<IQ", 9, 1) * 9), "too deep"),
    "an unknown value": (key("k", 13, b""), "type 13"),
    "a key twice": ({"keys": (("k", 4, bytes(4)), ("k", 4, bytes(4)))}, "twice"),
    "no alignment": (key("general.alignment", 4, bytes(4)), "power of two"),
    "an odd alignment": (key("general.alignment", 4, struct.pack("<I", 48)), "power of two"),
    "an alignment of text": (key("general.alignment", 8, string("32")), "power of two"),
    "an unknown type": (tensor(kind=31), "ggml type 31"),
    "five dimensions": (tensor(dims=(32, 1, 1, 1, 4)), "5 dimensions"),
    "2^32 dimensions": (tensor(dims=()), "no whole blocks"),
    "part of a block": (tensor(dims=(48, 4)), "no whole blocks of 32"),
    "2^60 values": (tensor(dims=(1 << 60, 4)), "more values than can be"),
    "values that overflow": (tensor(dims=(1 << 32, 1 << 32)), "more values than can be"),
    "an offset that is not aligned": (tensor(offset=8), "no multiple of the alignment"),
    "an offset beyond the end": (tensor(offset=1 << 40), "cut short"),
    "a tensor twice": ({"tensors": [W, W]}, "twice"),
    "tensors on each other": (
        {"tensors": [W, Blob("v", (64, 4), 2, W.data, 32)]},
        "lies over",
    ),
    "a name that is no text": (tensor(name="\udcff"), "UTF-8"),
}


@pytest.mark.parametrize("lie", [one for one in LIES if one != "a name that is no text"])
def test_a_file_that_lies_is_refused_for_its_lie(lie: str, tmp_path: Path) -> None:
    changes, reason = LIES[lie]
    path, out = tmp_path / "m.gguf", tmp_path / "m.taut.safetensors"
    path.write_bytes(SOUND.but(**changes))
    with pytest.raises(FormatError, match=reason):
        taut.compress(path, out)
    assert [one.name for one in tmp_path.iterdir()] == ["m.gguf"]


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    data = SOUND.data().replace(
        string("w") + struct.pack("<I", 2), string(b"\xff") + struct.pack("<I", 2)
    )
    (tmp_path / "m.gguf").write_bytes(data)
    with pytest.raises(FormatError, match="UTF-8"):
        taut.compress(tmp_path / "m.gguf", tmp_path / "m.taut.safetensors")


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    data = SOUND.data()
    for end in range(4, len(data) - 15, 7):
        with pytest.raises(FormatError):
            read_gguf_header(lambda a, b, end=end: data[:end][a:b], end, "m.gguf")


def test_damage_to_a_header_is_refused_or_says_other_tensors() -> None:
    data = small_model().data()
    rng = random.Random(1)
    for _ in range(400):
        changed = bytearray(data)
        changed[rng.randrange(900)] = rng.randrange(256)
        try:
            header = read_gguf_header(lambda a, b: bytes(changed[a:b]), len(changed), "m")  # noqa: B023
        except FormatError:
            continue
        assert all(one.start + one.nbytes <= len(changed) for one in header.tensors)


# --- frames ---------------------------------------------------------------------------------------


def frame(**changes: object) -> np.ndarray:
    """The packed frame of the sound file, with something else in it."""
    data = SOUND.data()
    begin = data.index(W.data)
    end = begin + len(W.data)
    tree = {"name": "m.gguf", "bytes": len(data), "holes": [[begin, end, "w", "raw"]]}
    literal = changes.pop("literal", data[:begin] + data[end:])
    text = json.dumps({"files": [tree | changes]}).encode() + b"\n" + literal  # type: ignore[operator]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return np.frombuffer(packer.compress(text) + packer.flush(), np.uint8)


def test_a_sound_frame_is_read() -> None:
    [found] = read_frame(frame(), "f")
    assert found.header.tensors[0].shape == (4, 64)


FRAMES = {
    "no plain name": {"name": "a/m.gguf"},
    "a hidden name": {"name": ".m.gguf"},
    "a way out": {"name": "../m.gguf"},
    "no hole": {"holes": []},
    "another tensor": {"holes": [[160, 304, "v", "raw"]]},
    "another place": {"holes": [[0, 144, "w", "raw"]]},
    "varints": {"holes": [[160, 304, "w", "varint"]]},
    "another size": {"bytes": 1 << 40},
    "no header": {"literal": bytes(160)},
}


@pytest.mark.parametrize("lie", FRAMES)
def test_a_frame_that_lies_is_refused(lie: str) -> None:
    with pytest.raises(FormatError, match=r"^f"):
        read_frame(frame(**FRAMES[lie]), "f")


def test_a_frame_must_be_of_the_tensors_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "m.taut.safetensors"
    out = tmp_path / "out.gguf"
    for blocks in (np.zeros((4, 40), np.uint8), np.zeros((4, 36), np.int8)):
        arrays = {"w": blocks, "gguf.frame": frame()}
        forged(path, arrays)
        with pytest.raises(FormatError, match='wants "w"'):
            taut.decompress(path, out)
    forged(path, {"w": np.zeros((4, 36), np.uint8), "v": np.zeros(3), "gguf.frame": frame()})
    with pytest.raises(FormatError, match="does not name all"):
        taut.decompress(path, out)
    forged(path, {"w": np.zeros((4, 36), np.uint8)})
    with pytest.raises(FormatError, match="no tensor of bytes"):
        taut.decompress(path, out)
    assert not out.exists()


def forged(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """A Taut file of these tensors that says it was GGUF."""
    source = open_source(arrays)
    origin = Origin(source.nbytes, {"taut.gguf": "gguf.frame"})
    schemes = dict.fromkeys(arrays, Scheme())
    with Writer(path, origin, source.infos, force=True) as writer:
        fill(writer.layout, source, schemes, effort="fast", threads=1)
        writer.finish()


def test_no_tensors_are_no_model(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(SOUND.but(tensors=[]))
    with pytest.raises(ArgumentError, match="no tensors"):
        taut.compress(tmp_path / "m.gguf", tmp_path / "m.taut.safetensors")
