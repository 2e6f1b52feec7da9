"""Rows of a large tensor, without decoding all of it."""

from __future__ import annotations

import numpy as np
import pytest

import taut
from taut.errors import VerifyError

ROWS = np.array([0, 1, 4095, 4096, 8998, 8999])


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    rng = np.random.default_rng(3)
    table = rng.normal(size=(9000, 64)).astype(np.float32)
    arrays = {"table": table, "same": table, "small": table[:50], "vector": table[0]}
    return taut.compress(arrays, tmp_path_factory.mktemp("rows") / "t", effort="fast").path


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], ROWS[:0], np.arange(9000)])
@pytest.mark.parametrize("name", ["table", "same"])
def test_rows_are_those_of_the_whole(rows, name, file):
    opened = taut.load(file)
    reader = opened.row_reader(name)
    scratch = np.empty(reader.scratch, np.uint8)
    found = reader.take(rows, scratch)
    assert (reader.rows, reader.row_nbytes, found.dtype) == (9000, 256, np.float32)
    assert np.array_equal(found, opened[name][rows])
    assert reader.scratch < opened["table"].nbytes


def test_rounded_rows_of_two_bytes(tmp_path):
    table = np.random.default_rng(4).normal(size=(70_000, 40)).astype(np.float16)
    opened = taut.load(taut.compress({"t": table}, tmp_path / "t", bits=3).path)
    reader = opened.row_reader("t")
    rows = np.array([5, 69_999])
    found = reader.take(rows, np.empty(reader.scratch, np.uint8))
    assert np.array_equal(found, opened["t"][rows])


def test_what_has_one_chunk_or_none_is_read_whole(file):
    opened = taut.load(file)
    assert opened.row_reader("small") is None
    assert opened.row_reader("vector") is None
    assert opened.row_reader("no such tensor") is None


def test_only_the_chunks_that_hold_rows_are_looked_at(file, tmp_path):
    data = bytearray(file.read_bytes())
    entry = taut.load(file).contents.places["table"].entry
    data[entry.start + entry.nbytes - 100] ^= 1
    path = tmp_path / "damaged.taut.safetensors"
    path.write_bytes(data)
    reader = taut.load(path).row_reader("table")
    scratch = np.empty(reader.scratch, np.uint8)
    assert len(reader.take(ROWS[:2], scratch)) == 2
    with pytest.raises(VerifyError, match='"table", chunk'):
        reader.take(ROWS, scratch)
