"""Chosen rows of a coded array: those of the whole, whatever its kind, and refused where wrong."""

from __future__ import annotations

import random

import ml_dtypes
import numpy as np
import pytest
from tests.thorough import examples

from taut.coding import (
    ChosenRows,
    CodedArray,
    Job,
    decode,
    decoded_nbytes,
    encode_indices,
    encode_lossless,
    encode_matrix,
)
from taut.errors import FormatError

F32 = np.dtype(np.float32)
ROWS, COLUMNS = 300, 64


def arrays() -> dict[str, CodedArray]:
    """Of each kind that has chunks, rows of 64 values; some with levels that take no byte."""
    rng = np.random.default_rng(8)
    q = np.rint(rng.laplace(0, 4, (ROWS, COLUMNS))).astype(np.int32)
    q[rng.random(q.shape) < 0.001] *= 1000
    square = np.rint(rng.normal(0, 3, (COLUMNS, COLUMNS))).astype(np.int32)
    basis = encode_matrix(square, step=0.05, trellis=False, dtype=F32)
    found = {
        "lossless": encode_lossless(rng.normal(size=q.shape).astype(np.float32)),
        "halves": encode_lossless(rng.normal(size=q.shape).astype(ml_dtypes.bfloat16)),
        "uniform": encode_indices(q, step=0.1, offsets=(0.1, 0, 0), dtype=F32),
    }
    for effort in ("fast", "max"):
        for trellis in (False, True):
            made = {"step": 0.1, "trellis": trellis, "dtype": F32, "effort": effort}
            found[f"matrix {effort} {trellis}"] = encode_matrix(q, **made)
            found[f"basis {effort} {trellis}"] = encode_matrix(q, basis=basis, **made)
    return found


def whole(coded: CodedArray) -> np.ndarray:
    out = np.empty(decoded_nbytes(coded.header), np.uint8)
    decode([Job(coded.header, coded.chunks, out)])
    return out


def taken(coded: CodedArray, row_nbytes: int, rows: np.ndarray) -> np.ndarray:
    """Rows of the first chunk; what else lies in its memory is another number each time."""
    nbytes = decoded_nbytes(coded.header)
    scratch = np.random.default_rng().integers(0, 256, nbytes, dtype=np.uint8)
    out = np.empty((len(rows), row_nbytes), np.uint8)
    reader = ChosenRows(coded.header, nbytes, row_nbytes)
    reader.take(0, coded.chunks[0], rows, scratch, out)
    return out


@pytest.mark.parametrize("name", arrays())
def test_rows_are_those_of_the_whole(name: str) -> None:
    coded = arrays()[name]
    values = whole(coded)
    width = values.nbytes // ROWS
    for row_nbytes in (width, width // 2, 2 * width, 3 * width // 4):  # as a tensor has them
        rows = values.reshape(-1, row_nbytes)
        last = len(rows) - 1
        for some in ([], [0], [last], [3, 3, 4, last // 2, last], list(range(len(rows)))):
            found = taken(coded, row_nbytes, np.array(some, np.int64))
            assert np.array_equal(found, rows[some]), (row_nbytes, some)


def test_later_chunks_count_their_rows_from_their_first() -> None:
    rng = np.random.default_rng(9)
    q = np.rint(rng.normal(0, 3, (70_000, 16))).astype(np.int32)
    square = np.rint(rng.normal(0, 3, (16, 16))).astype(np.int32)
    basis = encode_matrix(square, step=0.05, trellis=False, dtype=F32)
    coded = encode_matrix(q, step=0.1, trellis=True, dtype=F32, basis=basis, effort="max")
    values = whole(coded).reshape(70_000, 64)
    assert len(coded.chunks) == 2
    reader = ChosenRows(coded.header, values.nbytes, 64)
    scratch, out = np.empty(1 << 22, np.uint8), np.empty((2, 64), np.uint8)
    reader.take(1, coded.chunks[1], np.array([0, 4463]), scratch, out)
    assert np.array_equal(out, values[[65_536, 69_999]])
    for chunk, row in ((1, 4464), (1, -1), (0, 65_536)):
        with pytest.raises(ValueError):
            reader.take(chunk, coded.chunks[chunk], np.array([0, row]), scratch, out)
    with pytest.raises(ValueError):
        reader.take(0, coded.chunks[0], np.array([0, 1]), scratch[:-1], out)
    with pytest.raises(ValueError):
        reader.take(0, coded.chunks[0], np.array([0]), scratch, out)
    with pytest.raises(FormatError, match="2 chunks, not this one"):
        reader.take(2, coded.chunks[1], np.array([0]), scratch, out[:1])


def test_what_has_no_chunks_of_whole_rows_is_refused() -> None:
    coded = arrays()["lossless"]
    nbytes = ROWS * COLUMNS * 4
    zeros = encode_lossless(np.zeros((ROWS, COLUMNS), np.float32))
    for header, total, row_nbytes in (
        (coded.header, nbytes, 0),
        (coded.header, nbytes, 7 * 256),
        (coded.header, nbytes - 4, 256),
        (coded.header[:-1], nbytes, 256),
        (b"", nbytes, 256),
        (zeros.header, nbytes, 256),
    ):
        with pytest.raises(FormatError):
            ChosenRows(header, total, row_nbytes)


@pytest.mark.parametrize("name", arrays())
def test_damaged_chunks_are_refused_as_the_whole_is(name: str) -> None:
    coded = arrays()[name]
    pick = random.Random(name)
    for _ in range(examples(60)):
        data = bytearray(coded.chunks[0])
        data[pick.randrange(len(data))] ^= 1 << pick.randrange(8)
        damaged = CodedArray(
            coded.header, (bytes(data[: pick.choice((len(data), len(data) - 1))]),)
        )
        try:
            values = whole(damaged)
        except FormatError:
            with pytest.raises(FormatError):
                taken(damaged, len(whole(coded)) // ROWS, np.arange(ROWS))
            continue
        row_nbytes = values.nbytes // ROWS
        rows = values.reshape(ROWS, row_nbytes)
        assert np.array_equal(taken(damaged, row_nbytes, np.array([0, 99])), rows[[0, 99]])
