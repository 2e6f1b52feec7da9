"""What the native core says of a header for other devices, against the reference decoder."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from taut import _core
from taut.coding import encode_lossless, encode_matrix
from taut.coding._reference import _read_header
from taut.coding._reference_symbols import SymbolTable, byte_stream


def slots_of(table: SymbolTable) -> list[int]:
    byte = np.where(table.symbol < 0, 0, table.symbol)
    return (byte | table.frequency << 8 | table.rank << 20).tolist()


@pytest.mark.parametrize("size", [9_000, 60_000])
def test_words(size: int) -> None:
    w = np.random.default_rng(size).standard_normal((6, size // 6))
    w *= np.array([[1], [50], [1], [50], [1], [50]])
    values = w.astype(ml_dtypes.bfloat16)
    coded = encode_lossless(values)
    found = _core.device_header(
        np.frombuffer(coded.header, np.uint8), values.nbytes, len(coded.chunks)
    )
    h = _read_header(coded.header, len(coded.chunks))
    assert found["kind"] == "split" and found["chunks"] == len(coded.chunks)
    for name in ("count", "row_length", "chunk_rows", "width", "mode", "low", "drop", "base"):
        assert found[name] == getattr(h, name), name
    assert (found["rows"] or bytes(6)) == h.rows
    check_slots(found, list(h.tables))


def check_slots(found: dict[str, bytes], tables: list[SymbolTable]) -> None:
    """Every slot is the reference's, but for the byte of an escape, which is the mark."""
    slots = np.frombuffer(found["slots"], np.uint32).reshape(len(tables), -1)
    for slot, table, mark in zip(slots, tables, found["marks"], strict=True):
        assert (slot >> 8 & 0xFFF).tolist() == list(table.frequency)
        assert (slot >> 20).tolist() == list(table.rank)
        escaped = np.asarray(table.symbol) < 0
        assert (slot[escaped] & 255 == mark).all()
        assert (slot[~escaped] & 255).tolist() == np.asarray(table.symbol)[~escaped].tolist()
        assert mark not in slot[~escaped] & 255


def test_matrices() -> None:
    rng = np.random.default_rng(0)
    q = np.rint(rng.standard_normal((20, 3000)) * 3).astype(np.int32)
    coded = encode_matrix(
        q, step=0.01, offsets=(0.1, 0.05, 0.01), dtype=np.dtype(np.float32), trellis=True,
        row_exponents=rng.integers(120, 130, 20).astype(np.uint8),
        column_exponents=rng.integers(120, 130, 3000).astype(np.uint8),
    )  # fmt: skip
    found = _core.device_header(
        np.frombuffer(coded.header, np.uint8), 4 * q.size, len(coded.chunks)
    )
    m = _read_header(coded.header, len(coded.chunks)).matrix
    assert m is not None and found["trellis"]
    assert np.array_equal(np.frombuffer(found["row_scales"], np.float32), m.row_scale)
    assert np.array_equal(np.frombuffer(found["column_scales"], np.float32), m.column_scale)
    assert np.array_equal(np.float32([0, *found["offsets"]]), m.offsets)
    check_slots(found, [table for pair in m.tables for table in pair])


def test_a_header_of_another_size_is_refused() -> None:
    coded = encode_lossless(np.arange(9000, dtype=np.float32))
    for nbytes, chunks in ((35_996, 1), (36_000, 2), (36_000, 0)):
        with pytest.raises(_core.CoreFormatError):
            _core.device_header(np.frombuffer(coded.header, np.uint8), nbytes, chunks)


def test_short_streams() -> None:
    assert _core.byte_stream(np.frombuffer(b"\0abc", np.uint8), 3) == byte_stream(b"\0abc", 3)
    assert _core.byte_stream(np.frombuffer(b"\1a", np.uint8), 5) == b"aaaaa"
    with pytest.raises(_core.CoreFormatError):
        _core.byte_stream(np.frombuffer(b"\0abc", np.uint8), 4)
