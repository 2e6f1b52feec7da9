"""Truncation, flipped bits and garbage anywhere: found, named, and never a wrong number."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tests.thorough import examples

import taut

from .conftest import REFUSAL, Victim, load_all, named, refused, same, survivors
from .forge import split

VICTIMS = pytest.mark.parametrize("victim", ["small", "large", "lossy"], indirect=True)


def check_damaged(path: Path, victim: Victim) -> None:
    """A damaged file is refused as a whole, and what can still be had of it is right."""
    refused(path, taut.verify)
    assert same(victim, survivors(path))


@VICTIMS
def test_a_sound_file_passes(victim: Victim, tmp_path: Path) -> None:
    path = tmp_path / "sound"
    path.write_bytes(victim.data)
    assert taut.verify(path).tensors == len(victim.tensors)
    found = survivors(path)
    assert found.keys() == victim.tensors.keys() and same(victim, found)


def test_a_small_file_cut_at_every_byte_is_refused(small: Victim, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    assert 2500 < len(small.data) < 5000
    path.write_bytes(small.data)
    for length in reversed(range(len(small.data))):
        os.truncate(path, length)
        refused(path, taut.verify)
        refused(path, load_all)


@pytest.mark.parametrize("victim", ["large", "lossy"], indirect=True)
def test_a_large_file_cut_at_200_places_is_refused(victim: Victim, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    lengths = np.linspace(0, len(victim.data) - 1, 200, dtype=int)
    path.write_bytes(victim.data)
    for length in map(int, reversed(lengths)):
        os.truncate(path, length)
        refused(path, taut.verify)
        refused(path, load_all)


@VICTIMS
def test_a_file_with_more_behind_it_is_refused(victim: Victim, tmp_path: Path) -> None:
    path = tmp_path / "long"
    for more in (b"\0", b"\0" * 8, victim.data):
        path.write_bytes(victim.data + more)
        refused(path, taut.verify)


@pytest.mark.parametrize(
    ("victim", "flips"),
    [("small", examples(1200)), ("large", examples(500)), ("lossy", examples(300))],
    indirect=["victim"],
)
def test_every_flipped_bit_is_found(victim: Victim, flips: int, tmp_path: Path) -> None:
    path = tmp_path / "flipped"
    path.write_bytes(victim.data)
    rng = np.random.default_rng(flips)
    _, body = split(victim.data)
    # Most bits of a large file are its data; a fifth of the flips go to header and index.
    bits = rng.integers(0, 8 * len(victim.data), flips)
    bits[::10] = rng.integers(0, 8 * body, len(bits[::10]))
    bits[5::10] = 8 * len(victim.data) - 1 - rng.integers(0, 8 * 400, len(bits[5::10]))
    with path.open("r+b", buffering=0) as file:
        for bit in map(int, bits):
            at, mask = bit // 8, 1 << bit % 8
            file.seek(at)
            file.write(bytes([victim.data[at] ^ mask]))
            check_damaged(path, victim)
            file.seek(at)
            file.write(victim.data[at : at + 1])
    taut.verify(path)


@VICTIMS
def test_blocks_that_were_lost_moved_or_zeroed_are_found(victim: Victim, tmp_path: Path) -> None:
    path = tmp_path / "blocks"
    rng = np.random.default_rng(4)
    size = len(victim.data)
    for _ in range(60):
        length = int(min(rng.choice([1, 8, 64, 512, 4096]), size // 3))
        at, other = map(int, rng.integers(0, size - length, 2))
        for block in (bytes(length), b"\xff" * length, victim.data[other : other + length], b""):
            data = victim.data[:at] + block + victim.data[at + length :]
            if data != victim.data:
                path.write_bytes(data)
                check_damaged(path, victim)


def test_garbage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "garbage"
    rng = np.random.default_rng(5)
    for length in [*range(40), 100, 1000, 100_000]:
        garbage = rng.bytes(length)
        for data in (
            garbage,
            b"\x08" + bytes(7) + garbage,
            (length).to_bytes(8, "little") + garbage,
        ):
            path.write_bytes(data)
            refused(path, taut.verify)
            refused(path, taut.load)


@VICTIMS
def test_garbage_behind_a_sound_header_is_refused(victim: Victim, tmp_path: Path) -> None:
    path = tmp_path / "garbage"
    rng = np.random.default_rng(6)
    _, body = split(victim.data)
    rest = len(victim.data) - body
    for fill in (rng.bytes(rest), bytes(rest), b"\xff" * rest):
        path.write_bytes(victim.data[:body] + fill)
        refused(path, taut.verify)
    for kept in (0, 8, 60, 100, body // 2):
        path.write_bytes(victim.data[:kept] + rng.bytes(len(victim.data) - kept))
        refused(path, taut.verify)


@pytest.mark.parametrize("victim", ["small", "large"], indirect=True)
def test_decompress_writes_nothing_of_a_damaged_file(victim: Victim, tmp_path: Path) -> None:
    path, out = tmp_path / "in", tmp_path / "out"
    out.mkdir()
    rng = np.random.default_rng(7)
    for bit in map(int, rng.integers(0, 8 * len(victim.data), 40)):
        data = bytearray(victim.data)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            taut.decompress(path, out / "model.safetensors")
        except REFUSAL as error:
            assert named(error, path)
            assert list(out.iterdir()) == []
        else:  # a group that no tensor of the output needed: none in these files
            pytest.fail(f"bit {bit} went unnoticed")
