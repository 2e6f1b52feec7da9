"""Hostile array headers and chunks behind valid checksums: refused by name, or the right size."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from tests.thorough import examples

import taut

from .conftest import REFUSAL, Victim, load_all, named, refused, same, survivors
from .forge import Forgery, varint


def damaged(rng: np.random.Generator, part: bytes, other: bytes) -> bytes:
    """One part after one change; small numbers at its start and states at its end are hit often."""
    data = bytearray(part)
    near = [0, min(40, len(data)), max(0, len(data) - 256), len(data)]
    first = int(rng.choice([0, 0, 1, 2]))
    low, high = (near[0], near[3]) if first == 2 else (near[2 * first], near[2 * first + 1])
    spot = int(rng.integers(low, max(low + 1, high)))
    match int(rng.integers(7)):
        case 0 | 1:
            data[spot] ^= 1 << int(rng.integers(8))
        case 2:
            data[spot] = int(rng.choice([0, 1, 127, 128, 254, 255]))
        case 3:
            data[spot : spot + int(rng.integers(1, 20))] = b""
        case 4:
            data[spot:spot] = rng.bytes(int(rng.integers(1, 20)))
        case 5:
            data = data[:spot]
        case _:
            data = bytearray(other)
    return bytes(data)


def check(path: Path, victim: Victim, changed: str) -> bool:
    """Whether `verify` passes, which it may only for the truth; loading all is as loading each."""
    found = survivors(path)
    try:
        taut.verify(path)
    except REFUSAL as error:
        assert named(error, path) and f'"{changed}"' in str(error), error
        verified = False
    else:
        verified = True
        assert found.keys() == victim.tensors.keys() and same(victim, found)
    try:
        whole = load_all(path)
    except REFUSAL as error:
        assert named(error, path) and 'tensor "' in str(error), error
    else:
        assert {n: a.tobytes() for n, a in whole.items()} == {
            n: a.tobytes() for n, a in found.items()
        }
    return verified


@pytest.mark.parametrize(
    ("victim", "times"),
    [("small", examples(500)), ("large", examples(350)), ("lossy", examples(350))],
    indirect=["victim"],
)
def test_damaged_streams(victim: Victim, times: int, tmp_path: Path) -> None:
    path = tmp_path / "stream"
    rng = np.random.default_rng(times)
    sound = Forgery.of(victim.data)
    verified = 0
    for _ in range(times):
        forgery = Forgery.of(victim.data)
        name = str(rng.choice(list(forgery.parts)))
        pieces = forgery.parts[name]
        number = int(rng.integers(len(pieces))) if rng.integers(3) else 0
        donor = sound.parts[str(rng.choice(list(sound.parts)))]
        other = donor[min(number, len(donor) - 1)]
        pieces[number] = damaged(rng, pieces[number], other)
        path.write_bytes(forgery.signed())
        kept = {n for n, a in survivors(path).items() if a.tobytes() == victim.tensors[n].tobytes()}
        verified += check(path, victim, name)
        touched = {name, *(r["name"] for r in forgery.tree["tensors"] if r.get("of") == name)}
        if name in (group["name"] for group in forgery.tree["solids"]):
            which = [group["name"] for group in forgery.tree["solids"]].index(name)
            members = {r["name"] for r in forgery.tree["tensors"] if r.get("solid") == which}
            touched |= members
            touched |= {r["name"] for r in forgery.tree["tensors"] if r.get("of") in members}
        assert kept >= victim.tensors.keys() - touched
    assert verified < times / 3


@pytest.mark.parametrize("victim", ["small", "large", "lossy"], indirect=True)
def test_parts_that_are_lost_doubled_or_swapped(victim: Victim, tmp_path: Path) -> None:
    path = tmp_path / "parts"
    for name in Forgery.of(victim.data).parts:
        for change in ("none", "no header", "no chunk", "doubled", "swapped", "empty", "one"):
            forgery = Forgery.of(victim.data)
            pieces = forgery.parts[name]
            if change != "doubled" and len(pieces) < 2:
                continue  # a constant array has no chunk
            forgery.parts[name] = {
                "none": [],
                "no header": pieces[1:],
                "no chunk": pieces[:-1],
                "doubled": [*pieces, pieces[-1]],
                "swapped": [*pieces[:-2], *pieces[:-3:-1]],
                "empty": [*pieces[:-1], b""],
                "one": [b"".join(pieces)],
            }[change]
            path.write_bytes(forgery.signed())
            message = refused(path, taut.verify)
            assert f'"{name}"' in message or "no parts" in message
            assert same(victim, survivors(path)) or change == "swapped"


def header(kind: int, width: int, count: int, row: int, rows: int, rest: bytes = b"") -> bytes:
    return b"LCA1" + bytes([kind, width]) + varint(count) + varint(row) + varint(rows) + rest


def matrix(step: float = 1, flags: int = 0, rest: bytes = b"", fractions: int = 0) -> bytes:
    """What follows the shape of a float32 matrix of the fast coder."""
    return bytes([0, 0, flags, fractions]) + struct.pack("<f", step) + rest


def adaptive(form: int, rest: bytes = b"", largest: int = 0, row: int = 300) -> bytes:
    """An adaptive array header of float32; `rest` follows `largest`."""
    return header(5, 4, 90_000, row, 300, bytes([form, 0, 0, largest]) + rest)


def records(layout: bytes, rest: bytes = b"", width: int = 1, coder: int = 1) -> bytes:
    """An array header of records of a layout."""
    rest = bytes([coder]) + varint(len(layout)) + layout + rest
    return header(6, width, 90_000, 300, 300, rest)


# A record of a byte: two elements of 4 bits each, no loops, one piece, no terms.
NIBBLES = bytes([1, 1, 4, 2, 0, 0, 1, 0, 8, 0, 0, 1])
# A byte, and a byte whose contexts follow from it.
TWO = bytes([2, 2, 8, 1, 0, 0, 1, 0, 8, 0, 0, 1, 8, 1, 0, 0, 1, 8, 8, 1, 0, 0, 2, 0, 4])

HEADERS = {
    "no magic": b"LCA2" + bytes(20),
    "empty": b"",
    "only magic": b"LCA1",
    "kind 60": header(60, 4, 90_000, 300, 300),
    "matrix without fields": header(4, 4, 90_000, 300, 300),
    "matrix of part of a row": header(4, 4, 90_000, 301, 300, matrix()),
    "matrix of no row": header(4, 4, 0, 300, 300, matrix()),
    "matrix without its basis": header(4, 4, 90_000, 300, 300, matrix(flags=128)),
    "matrix with an empty basis": header(4, 4, 90_000, 300, 300, matrix(1, 128, b"\0")),
    "matrix with a basis cut short": header(4, 4, 90_000, 300, 300, matrix(1, 128, b"\x20abc")),
    "matrix with a basis of 2,049 columns": header(
        4, 4, 2049 * 40, 2049, 40, matrix(1, 128, b"\1a")
    ),
    "matrix with two kinds of offsets": header(4, 4, 90_000, 300, 300, matrix(flags=6)),
    "matrix of sixty-fourths": header(4, 4, 90_000, 300, 300, matrix(fractions=0x50)),
    "matrix of infinite rows": header(4, 4, 90_000, 300, 300, matrix(1e30, 8, b"\2\1\xff")),
    "matrix of 65 classes": header(4, 4, 90_000, 300, 300, matrix(1, 32, b"\2\1\x40")),
    "matrix of 33 contexts": header(4, 4, 90_000, 300, 300, matrix(1, 32, b"\2\1\0\2\1\x20")),
    "matrix of 2^22 columns in a run": header(
        4, 1, 1 << 55, 1 << 22, 1, matrix(1, 24, b"\2\1\x80\2\1\x80")
    ),
    "matrix with a table too steep": header(4, 4, 90_000, 300, 300, matrix(1, 0, b"\xff" * 40)),
    "adaptive without fields": header(5, 4, 90_000, 300, 300),
    "adaptive of part of a row": adaptive(0, struct.pack("<f", 1), row=301),
    "adaptive of an infinite step": adaptive(0, struct.pack("<f", float("inf"))),
    "adaptive of half a step": adaptive(128, struct.pack("<f", 1)),
    "adaptive of float16 in four bytes": adaptive(1, struct.pack("<f", 1)),
    "adaptive with unknown options": adaptive(0, struct.pack("<f", 1), largest=64),
    "adaptive of kernels that do not fill": adaptive(32, b"\7" + struct.pack("<f", 1)),
    "adaptive of groups without scales": adaptive(64, b"\7" + struct.pack("<f", 1)),
    "adaptive of empty groups": adaptive(72, b"\0\200" + bytes(1200)),
    "adaptive of no level": adaptive(4, b"\0\0\200"),
    "adaptive of 65,537 levels": adaptive(4, b"\0" + varint(65537) + b"\200" + bytes(262148)),
    "adaptive of levels beyond 2^31": adaptive(4, varint(0xFFFFFFFE) + b"\2\200" + bytes(8)),
    "adaptive of levels that are no number": adaptive(4, b"\0\1\200\0\0\xc0\x7f"),
    "adaptive of 299 scales": adaptive(8, b"\200" + bytes(299 * 4)),
    "adaptive of 301 scales": adaptive(8, b"\200" + bytes(301 * 4)),
    "adaptive of zeros alone": adaptive(16, b"\200" + bytes(1200)),
    "adaptive of levels and zeros": adaptive(28, b"\0\1\200" + bytes(4 + 1 + 1200 + 1 + 1200)),
    "adaptive of numbers of a strange kind": adaptive(8, b"\40\0\0\0"),
    "adaptive of numbers without bytes": adaptive(8, b"\5\0\0\0"),
    "adaptive of a row too long": header(
        5, 4, 1 << 21, 1 << 21, 1, bytes(4) + struct.pack("<f", 1)
    ),
    "adaptive of 2^42 scales": header(5, 4, 1 << 42, 1 << 20, 1, b"\110\0\0\0\1\5\0\0\0"),
    "records without fields": header(6, 1, 90_000, 300, 300),
    "records of words": records(NIBBLES, b"\0", width=4),
    "records of the fast coder": records(NIBBLES, b"\0", coder=0),
    "records of a layout cut short": records(NIBBLES[:-1], b"\0"),
    "records of a layout too long": records(NIBBLES + b"\0", b"\0"),
    "records that do not fill a row": records(b"\7" + NIBBLES[1:], b"\0"),
    "records of no byte": records(b"\0" + NIBBLES[1:], b"\0"),
    "records of 8,000 bytes": records(b"\xc0\x3e" + NIBBLES[1:], b"\0"),
    "records of no field": records(b"\1\0", b"\0"),
    "records of 12 bits": records(b"\1\1\4\3" + NIBBLES[4:], b"\0"),
    "records of a field named twice": records(b"\1\2" + NIBBLES[2:] * 2, b"\0\0"),
    "records of seven loops": records(b"\1\1\4\2\7\0" + bytes(20), b"\0"),
    "records of 2^32 symbols": records(b"\1\1\4\2\2\0" + b"\x80\x80\4" * 2 + NIBBLES[6:], b"\0"),
    "records of a piece outside": records(NIBBLES[:7] + b"\x08" + NIBBLES[8:], b"\0"),
    "records of a context from later": records(TWO[:-5] + b"\1\0\2\0\4", b"\0\0"),
    "records of an unknown function": records(TWO[:-4] + b"\5\2\0\4", b"\0\0"),
    "records of a huge coefficient": records(TWO[:-3] + b"\xff\xff\xff\x7f\0\4", b"\0\0"),
    "records of 65 buckets": records(TWO[:-1] + b"\x41", b"\0\0"),
    "records of 33 contexts": records(TWO, b"\0\1\x21\0" + bytes(4)),
    "records of contexts without buckets": records(NIBBLES, b"\1\2\0" + bytes(40)),
    "records of a context without a table": records(TWO, b"\0\1\2\0\0\1\2\1" + bytes(40)),
    "records of a field coded strangely": records(NIBBLES, b"\2"),
    "records of a broken table": records(NIBBLES, b"\1\1" + b"\xff" * 20),
    "records of a table of one symbol": records(NIBBLES, b"\1\1\0\0\x0c\4\0"),
    "records with something behind": records(NIBBLES, b"\0\0"),
    "width 3": header(0, 3, 120_000, 300, 300),
    "2^57 values": header(0, 4, 1 << 57, 1, 1),
    "2^64 - 1 values": header(0, 4, (1 << 64) - 1, 1, 1),
    "a number that never ends": b"LCA1" + bytes([0, 4]) + b"\xff" * 50,
    "no row": header(0, 4, 90_000, 0, 1),
    "no rows": header(0, 4, 90_000, 1, 0),
    "rows that overflow": header(0, 4, 90_000, 1 << 33, 1 << 33),
    "a chunk too large": header(0, 4, 90_000, 1 << 12, 1 << 11),
    "2^40 chunks": header(0, 4, 1 << 40, 1, 1),
    "90,000 chunks": header(0, 4, 90_000, 1, 1),
    "constant without value": header(3, 4, 90_000, 300, 300),
    "constant with too much": header(3, 4, 90_000, 300, 300, bytes(5)),
    "split without fields": header(1, 4, 90_000, 300, 300),
    "200 tables": header(1, 4, 90_000, 300, 300, bytes([0, 0, 8, 0, 0, 0, 200, 0])),
    "no table": header(1, 4, 90_000, 300, 300, bytes([0, 0, 8, 0, 0, 0, 0, 0])),
    "64 raw bits": header(1, 8, 45_000, 300, 300, bytes([0, 0, 64, 0, 0, 0, 1, 0])),
    "rows longer than the header": header(1, 4, 90_000, 300, 300, bytes([0, 0, 8, 0, 0, 0, 1, 99])),
    "2^56 rows in a run": header(
        1, 1, 1 << 56, 1, 1, bytes([0, 0, 4, 0, 0, 0, 2, 2, 1, 1]) + bytes(8)
    ),
}


@pytest.mark.parametrize("lie", HEADERS)
def test_an_array_header_that_lies_names_its_tensor(
    lie: str, large: Victim, tmp_path: Path
) -> None:
    forgery = Forgery.of(large.data)
    forgery.parts["zeros"] = [HEADERS[lie]]
    path = tmp_path / "header"
    path.write_bytes(forgery.signed())
    for act in (taut.verify, load_all, lambda p: taut.load(p)["zeros"]):
        assert 'tensor "zeros"' in refused(path, act)
    found = survivors(path)
    assert found.keys() == large.tensors.keys() - {"zeros"} and same(large, found)
