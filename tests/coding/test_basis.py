"""Matrices in a basis: rows of values are sums of the basis' rows, as plain numpy adds them."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.thorough import examples

from taut.coding import (
    ByteIntegers,
    CodedArray,
    Job,
    combined,
    decode,
    decoded_nbytes,
    encode_matrix,
    exponent_scale,
    matrix_levels,
)
from taut.errors import ArgumentError, FormatError

F32, F16, BF16, F64 = (
    np.dtype(t) for t in (np.float32, np.float16, ml_dtypes.bfloat16, np.float64)
)


def coded_basis(rng: np.random.Generator, columns: int, **given: Any) -> CodedArray:
    q = np.rint(rng.normal(0, 3, (columns, columns))).astype(np.int32)
    q[0, 0] = 1
    return encode_matrix(q, **{"step": 0.05, "trellis": False, "dtype": F32} | given)


def numbers_of(basis: CodedArray) -> np.ndarray:
    count = decoded_nbytes(basis.header) // 4
    out = np.empty((int(count**0.5), int(count**0.5)), np.float32)
    decode([Job(basis.header, basis.chunks, out)])
    return out


def added_up(coefficients: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Every product and sum by itself, in the order of the basis' rows."""
    out = np.zeros(coefficients.shape, np.float32)
    for k in range(len(basis)):
        out = out + coefficients[:, k, None] * basis[k]
    return out


@settings(max_examples=examples(40))
@given(
    seed=st.integers(0, 2**32),
    rows=st.sampled_from([1, 5, 40, 130]),
    columns=st.sampled_from([1, 3, 16, 47, 64, 129, 150]),
    trellis=st.booleans(),
    dtype=st.sampled_from([F32, F16, BF16, F64]),
)
def test_rows_are_sums_of_the_basis_rows(
    seed: int, rows: int, columns: int, trellis: bool, dtype: np.dtype, decode_everywhere: Any
) -> None:
    rng = np.random.default_rng(seed)
    basis = coded_basis(rng, columns)
    q = np.rint(rng.normal(0, 1, (rows, columns))).astype(np.int32)
    q[0, -1] = 300  # an exception
    exponents = rng.integers(124, 132, rows).astype(np.uint8)
    coded = encode_matrix(
        q, step=0.1, row_exponents=exponents, trellis=trellis, dtype=dtype, basis=basis
    )
    scales = np.float32(0.1) * exponent_scale(exponents, 2)
    levels = matrix_levels(q, trellis=trellis).astype(np.float32)
    expected = added_up(levels * scales[:, None], numbers_of(basis))
    assert decode_everywhere(coded.header, coded.chunks) == expected.astype(dtype).tobytes()
    assert np.array_equal(combined(levels * scales[:, None], numbers_of(basis)), expected)


def test_kept_bytes_give_the_same_values(rng: np.random.Generator) -> None:
    basis = coded_basis(rng, 40)
    q = np.rint(rng.normal(0, 1, (90, 40))).astype(np.int32)
    q[7, 3] = -200
    coded = encode_matrix(q, step=0.1, trellis=True, dtype=F16, basis=basis)
    expected = np.empty(q.size, np.float16)
    decode([Job(coded.header, coded.chunks, expected)])
    held = ByteIntegers(coded.header, 2 * q.size)
    assert all(held.take(chunk) for chunk in coded.chunks)
    part = np.empty(95, np.float16)
    held.read(33, part.view(np.uint8))
    assert np.array_equal(part, expected[33:128])
    rows = np.empty((3, 40), np.float16)
    held.read_rows(np.array([89, 7, 7]), 40, rows.reshape(-1).view(np.uint8))
    assert np.array_equal(rows, expected.reshape(90, 40)[[89, 7, 7]])


def header_with(coded: CodedArray, basis: bytes, instead: bytes) -> bytes:
    """The header with another basis in the place of its own; both of less than 2^14 bytes."""
    size = _varint(len(basis))
    assert coded.header.count(size + basis) == 1
    return coded.header.replace(size + basis, _varint(len(instead)) + instead)


def _varint(n: int) -> bytes:
    return bytes([n]) if n < 128 else bytes([n & 127 | 128, n >> 7])


def laid_out(basis: CodedArray) -> bytes:
    return _varint(len(basis.header)) + basis.header + b"".join(basis.chunks)


def broken_bases(rng: np.random.Generator) -> dict[str, bytes]:
    good = coded_basis(rng, 12)
    nested = encode_matrix(
        np.ones((12, 12), np.int32), step=1.0, trellis=False, dtype=F32, basis=good
    )
    return {
        "none": b"",
        "cut short": laid_out(good)[:-3],
        "of other columns": laid_out(coded_basis(rng, 11)),
        "of float16": laid_out(coded_basis(rng, 12, dtype=F16)),
        "in a basis itself": laid_out(nested),
        "infinite": laid_out(coded_basis(rng, 12, step=3e38)),
        "bytes left over": laid_out(good) + b"\0",
    }


@pytest.mark.parametrize("fault", broken_bases(np.random.default_rng(0)))
def test_a_broken_basis_is_refused(
    fault: str, rng: np.random.Generator, decode_everywhere: Any
) -> None:
    good = coded_basis(rng, 12)
    coded = encode_matrix(
        np.ones((30, 12), np.int32), step=1.0, trellis=False, dtype=F32, basis=good
    )
    header = header_with(coded, laid_out(good), broken_bases(rng)[fault])
    assert decode_everywhere(header, coded.chunks) is None


def test_sums_that_are_not_finite_are_refused(
    rng: np.random.Generator, decode_everywhere: Any
) -> None:
    basis = encode_matrix(np.full((4, 4), 3, np.int32), step=1e38, trellis=False, dtype=F32)
    q = np.array([[1, 0, 0, 0], [1, 1, 0, 0]], np.int32)
    first = encode_matrix(q[:1], step=1.0, trellis=False, dtype=F32, basis=basis)
    assert decode_everywhere(first.header, first.chunks) is not None
    both = encode_matrix(q, step=1.0, trellis=False, dtype=F32, basis=basis)
    assert decode_everywhere(both.header, both.chunks) is None
    with pytest.raises(FormatError, match="infinite"):
        combined(q.astype(np.float32), np.full((4, 4), 3e38, np.float32))


def test_a_basis_of_zeros_cannot_be_coded() -> None:
    zeros = encode_matrix(np.zeros((4, 4), np.int32), step=1.0, trellis=False, dtype=F32)
    with pytest.raises(ArgumentError, match="not zero"):
        encode_matrix(np.ones((2, 4), np.int32), step=1.0, trellis=False, dtype=F32, basis=zeros)
