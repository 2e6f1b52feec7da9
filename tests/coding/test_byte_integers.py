"""Values made of integers that are kept in bytes are the decoder's, to the bit."""

from __future__ import annotations

import random
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from taut import _core
from taut.coding import (
    ByteIntegers,
    CodedArray,
    Job,
    decode,
    encode_adaptive,
    encode_indices,
    encode_lossless,
    encode_matrix,
)
from taut.errors import FormatError

DTYPES = [np.dtype(t) for t in (np.float32, np.float16, ml_dtypes.bfloat16, np.float64)]
RNG = np.random.default_rng(5)
ROWS, COLUMNS = 37, 211  # of neither a multiple of what instructions take
Q = np.rint(RNG.laplace(0, 9, (ROWS, COLUMNS))).astype(np.int32)
Q.flat[::1700] = [-(2**31), 2**31 - 1, 127, -128, 128][: len(Q.flat[::1700])]  # some are wide
SMALL = np.clip(Q, -20, 19)
SCALES = RNG.normal(0, 1, (ROWS, 3)).astype(np.float32)
LEVELS = RNG.normal(0, 1, 40).astype(np.float32)


def arrays(dtype: np.dtype) -> dict[str, CodedArray]:
    offsets = (0.1, 0.05, 0.01)
    exponents: dict[str, Any] = {
        "row_exponents": RNG.integers(110, 135, ROWS).astype(np.uint8),
        "column_exponents": RNG.integers(110, 135, COLUMNS).astype(np.uint8),
    }
    by_group = {"scales": SCALES, "group": 90}
    return {
        "uniform": encode_indices(Q, step=0.3, offsets=offsets, dtype=dtype),
        "uniform, flat": encode_indices(
            Q.reshape(-1)[:5000], step=0.3, offsets=offsets, dtype=dtype
        ),
        "matrix": encode_matrix(
            Q, step=0.3, offsets=offsets, dtype=dtype, trellis=False, **exponents
        ),
        "trellis": encode_matrix(SMALL, step=0.3, offsets=offsets, dtype=dtype, trellis=True),
        "adaptive": encode_adaptive(Q, step=0.3, dtype=dtype),
        "zeros": encode_adaptive(SMALL, dtype=dtype, zeros=SCALES.astype(np.int32) * 9, **by_group),
        "levels": encode_adaptive(SMALL, dtype=dtype, levels=LEVELS, low=-20, **by_group),
        "wide levels": encode_adaptive(SMALL + 107, dtype=dtype, levels=LEVELS, low=87, **by_group),
    }


def held(coded: CodedArray, nbytes: int, kernels: str = "") -> ByteIntegers:
    made = ByteIntegers(coded.header, nbytes, kernels=kernels)
    assert all(made.take(chunk) for chunk in coded.chunks)
    return made


@pytest.mark.parametrize("kernels", _core.kernels())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_any_part_of_any_rounded_array_is_as_decoded(dtype: np.dtype, kernels: str) -> None:
    with np.errstate(all="ignore"):
        for name, coded in arrays(dtype).items():
            wanted = np.empty(5000 if "flat" in name else ROWS * COLUMNS, dtype)
            decode([Job(coded.header, coded.chunks, wanted)])
            one = held(coded, wanted.nbytes, kernels)
            assert one.nbytes < wanted.size * 1.2 + 4 * (ROWS + COLUMNS) + 200, name
            for begin, end in ((0, wanted.size), (0, 0), (3, 4), (190, 640), (4990, 5000)):
                out = np.empty(end - begin, dtype)
                one.read(begin, out.view(np.uint8))
                assert out.tobytes() == wanted[begin:end].tobytes(), (name, begin, end)
            rows = np.array([3, 0, 22, 3])
            out = np.empty((4, COLUMNS), dtype)
            one.read_rows(rows, COLUMNS, out.reshape(-1).view(np.uint8))
            whole = wanted[: wanted.size // COLUMNS * COLUMNS].reshape(-1, COLUMNS)
            assert out.tobytes() == whole[rows].tobytes(), name


def test_what_does_not_fit_into_bytes_is_told() -> None:
    coded = encode_matrix(Q * 1000, step=0.3, dtype=DTYPES[0], trellis=False)
    made = ByteIntegers(coded.header, 4 * Q.size)
    assert not made.take(coded.chunks[0])
    with pytest.raises(ValueError):
        made.read(0, np.empty(4, np.uint8))


def test_what_is_no_array_of_integers_is_refused() -> None:
    coded = encode_lossless(np.arange(9000, dtype=np.float32))
    with pytest.raises(FormatError, match="not made of integers"):
        ByteIntegers(coded.header, 36_000)
    coded = encode_matrix(Q, step=0.3, dtype=DTYPES[0], trellis=False)
    with pytest.raises(FormatError, match="decodes to"):
        ByteIntegers(coded.header, 4 * Q.size - 4)
    made = ByteIntegers(coded.header, 4 * Q.size)
    with pytest.raises(FormatError):
        made.take(bytes(coded.chunks[0])[:-9])
    assert made.take(coded.chunks[0])
    with pytest.raises(FormatError, match="chunks"):
        made.take(coded.chunks[0])
    for begin, nbytes in ((0, 4 * Q.size + 4), (Q.size, 4), (0, 6)):
        with pytest.raises(ValueError):
            made.read(begin, np.empty(nbytes, np.uint8))
    for rows, length, room in (([ROWS], COLUMNS, 1), ([-1], COLUMNS, 1), ([0, 1], COLUMNS, 1)):
        with pytest.raises(ValueError):
            out = np.empty(4 * COLUMNS * room, np.uint8)
            made.read_rows(np.array(rows), length, out)
    with pytest.raises(ValueError):
        made.read_rows(np.array([0]), 0, np.empty(4, np.uint8))


def test_an_index_without_a_level_is_refused() -> None:
    coded = encode_adaptive(SMALL, dtype=DTYPES[0], levels=LEVELS, low=-20)
    fewer = encode_adaptive(np.clip(SMALL, -20, 9), dtype=DTYPES[0], levels=LEVELS[:30], low=-20)
    made = ByteIntegers(fewer.header, 4 * SMALL.size)
    with pytest.raises(FormatError):
        made.take(coded.chunks[0])


def test_damage_is_refused_or_gives_what_the_decoder_gives() -> None:
    pick = random.Random(6)
    made = list(arrays(DTYPES[0]).items())
    same = 0
    for _ in range(250):
        name, coded = pick.choice(made)
        header, (chunk,) = bytearray(coded.header), coded.chunks
        parts = [header, bytearray(chunk)]
        part = pick.choice(parts)
        part[pick.randrange(len(part))] ^= 1 << pick.randrange(8)
        out = np.empty(5000 if "flat" in name else ROWS * COLUMNS, np.float32)
        try:
            one = ByteIntegers(bytes(header), out.nbytes)
            if not one.take(bytes(parts[1])):
                continue
        except FormatError:
            continue
        with np.errstate(all="ignore"):
            again = np.empty_like(out)
            decode([Job(bytes(header), [bytes(parts[1])], out)])
            one.read(0, again.view(np.uint8))
        assert again.tobytes() == out.tobytes(), name
        same += 1
    assert same  # a flipped bit of a scale is a value like any other to who checks no checksum
