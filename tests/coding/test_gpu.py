"""Triton's kernels, interpreted on the CPU: the native decoder's bits, or left to it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from tests.thorough import sample

from taut.coding import (
    CodedArray,
    Job,
    decode,
    encode_indices,
    encode_lossless,
    encode_matrix,
)
from taut.errors import FormatError

torch = pytest.importorskip("torch")
pytest.importorskip("triton", reason="triton is not installed")
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    """The room, with kernels that are interpreted (`tests/conftest.py`)."""
    from taut.coding import gpu

    return gpu


def on_gpu(gpu: ModuleType, *arrays: tuple[CodedArray, int]) -> list[bytes | None]:
    jobs = [gpu.GpuJob(coded.header, coded.chunks, nbytes) for coded, nbytes in arrays]
    found = gpu.GpuBatch(jobs, torch.device("cpu")).decode()
    return [None if one is None else one.numpy().tobytes() for one in found]


def on_cpu(coded: CodedArray, nbytes: int) -> bytes:
    out = np.empty(nbytes, np.uint8)
    decode([Job(coded.header, coded.chunks, out)])
    return out.tobytes()


def weights(rows: int, columns: int) -> np.ndarray:
    """Rows of several scales, with a few values far smaller and larger than all others."""
    rng = np.random.default_rng(rows)
    w = rng.standard_normal((rows, columns)) * np.exp(rng.standard_normal((rows, 1)))
    w[rng.random(w.shape) < 0.01] *= 1e-9  # escapes
    w[0, 3], w[-1, -1] = 1e30, -1e-30  # exceptions
    return w.astype(np.float32)


def matrix(rows: int, columns: int, *, trellis: bool, large: int) -> CodedArray:
    """Indices on a grid with scales of rows and columns; two of them are no byte."""
    rng = np.random.default_rng(columns)
    q = np.rint(rng.standard_normal((rows, columns)) * 3).astype(np.int32)
    q[0, :4], q[-1, -1], q[1, 1] = (120, -120, 70, 40), large, -large
    exponents = rng.integers(120, 130, (2, columns)).astype(np.uint8)
    return encode_matrix(
        q, step=0.01, offsets=(0.1, 0.05, 0.01), dtype=BFLOAT16, trellis=trellis, effort="fast",
        row_exponents=exponents[0, :rows], column_exponents=exponents[1],
    )  # fmt: skip


def test_words_of_several_tables(gpu: ModuleType) -> None:
    w = weights(5, 1800)
    coded = encode_lossless(w.astype(BFLOAT16)), 2 * w.size
    assert on_gpu(gpu, coded) == [on_cpu(*coded)] == [w.astype(BFLOAT16).tobytes()]


@pytest.mark.slow("interpreted steps: seconds each")
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int64", "bfloat16"])
def test_words_of_every_width_and_the_fast_coder(gpu: ModuleType, dtype: str) -> None:
    w = weights(12, 4100).reshape(-1)[: 8 * 1100 if dtype == "int64" else 49157]
    if dtype.startswith("int"):
        w = np.rint(np.clip(w, -1, 1) * 3)
    with np.errstate(over="ignore"):
        values = w.astype(BFLOAT16 if dtype == "bfloat16" else dtype)
    coded = encode_lossless(values), values.nbytes
    assert on_gpu(gpu, coded) == [values.tobytes()]


@pytest.mark.parametrize(
    ("rows", "columns", "trellis", "large"),
    sample(
        [
            (64, 256, True, 2**31 - 1),
            (64, 256, False, 2**31 - 1),
            (87, 190, True, 100),
            (130, 190, True, 100),
            (130, 190, False, 2**31 - 1),
        ],
        reason="interpreted steps: seconds each",
    ),
)
def test_matrices(gpu: ModuleType, rows: int, columns: int, trellis: bool, large: int) -> None:
    coded = matrix(rows, columns, trellis=trellis, large=large), 2 * rows * columns
    assert on_gpu(gpu, coded) == [on_cpu(*coded)]


@pytest.mark.slow("interpreted steps: seconds")
def test_uniform_levels(gpu: ModuleType) -> None:
    q = np.rint(np.clip(weights(4, 3000), -2, 2) * 20).astype(np.int32)
    coded = encode_indices(q, step=0.02, offsets=(0.1, 0.05, 0.01), dtype=BFLOAT16), 2 * q.size
    assert on_gpu(gpu, coded) == [on_cpu(*coded)]


def test_the_fast_coder_by_hand(gpu: ModuleType, hand: Any) -> None:
    """Two tables over chunks of an odd number of steps, marked rows, escapes, exceptions."""
    rng = np.random.default_rng(3)
    tables = [hand.table(100, (6, 90, 60, 100)), hand.table(250, (16, 40, 50, 50, 50, 50))]
    row_bytes, columns, per_chunk, low, drop = bytes([1, 0, 128, 1, 129, 0, 1]), 70, 4, 8, 3
    array = hand.array(
        width=2, count=6 * columns + 33, row_length=columns, chunk_rows=per_chunk, coder=0, mode=1,
        low=low, drop=drop, base=90, tables=tables, row_bytes=b"\0" + row_bytes,
    )  # fmt: skip
    chunks = []
    for first in (0, per_chunk):
        rows = row_bytes[first : first + per_chunk]
        lengths = [33 if first + i == 6 else columns for i in range(len(rows))]
        bits = [low - drop * (row >> 7) for row in rows]
        raw = rng.bytes(sum((n * b + 7) // 8 for n, b in zip(lengths, bits, strict=True)))
        drawn = [
            rng.choice(
                [hand.escape, *range(table.first, table.first + len(table.frequencies) - 1)],
                sum(n for n, row in zip(lengths, rows, strict=True) if row & 127 == number),
            ).tolist()
            for number, table in enumerate(tables)
        ]
        escapes = sum(segment.count(hand.escape) for segment in drawn)
        tail = rng.choice([7, 255], escapes).astype(np.uint8).tobytes()
        special = tail.count(255) + drawn[1].count(255)
        entries = rng.bytes(2 * special)
        chunks.append(array.chunk(drawn, raw, b"\0" + tail, entries))
    coded = CodedArray(array.header(), tuple(chunks)), 2 * array.count
    assert on_gpu(gpu, coded) == [on_cpu(*coded)]


@pytest.mark.parametrize(("width", "output"), [(2, 2), (4, 0), (2, 1), (8, 3)])
def test_uniform_levels_by_hand(gpu: ModuleType, hand: Any, width: int, output: int) -> None:
    """Exceptions of every size, which are computed, beside levels, which are looked up."""
    drawn = np.random.default_rng(5).integers(250, 255, 160).tolist()
    entries = np.array([0, 1, -2, 3, -3, 200, -70_000, 2**31 - 1, -(2**31)], "<i4")
    for at in range(len(entries)):
        drawn[at * 17] = 255
    array = hand.array(
        kind=2, width=width, count=160, row_length=80, chunk_rows=2, coder=0, output=output,
        floats=(0.0123, 0.1, 0.05, 0.3), tables=[hand.table(250, (0, *[42] * 5, 46))],
    )  # fmt: skip
    coded = CodedArray(array.header(), (array.chunk([drawn], b"", b"", entries.tobytes()),))
    assert on_gpu(gpu, (coded, 160 * width)) == [on_cpu(coded, 160 * width)]


def test_what_the_kernels_are_not_for_is_left_to_the_cpu(gpu: ModuleType) -> None:
    pruned = weights(5, 1800)
    pruned[:, ::2] = 0
    few, same = weights(2, 100), np.ones(9000, np.float32)
    coded = [(encode_lossless(one), one.nbytes) for one in (pruned, few, same)]
    assert on_gpu(gpu, *coded) == [None, None, None]


def test_damage_is_left_to_the_cpu_which_says_what_it_is(gpu: ModuleType) -> None:
    w = weights(5, 1800).astype(BFLOAT16)
    coded = encode_lossless(w)
    (chunk,) = coded.chunks
    broken = [
        CodedArray(coded.header, (chunk[:-1],)),
        CodedArray(coded.header, (bytes([255]) * 3 + chunk[3:],)),
        CodedArray(coded.header, (chunk[: len(chunk) - 256] + bytes(256),)),
        CodedArray(coded.header[:-1], coded.chunks),
        CodedArray(coded.header, ()),
    ]
    for one in broken:
        with pytest.raises(FormatError):
            on_cpu(one, w.nbytes)
    assert on_gpu(gpu, *((one, w.nbytes) for one in broken)) == [None] * len(broken)


@pytest.mark.slow("interpreted steps: seconds each")
@pytest.mark.parametrize("kind", ["words", "matrix"])
def test_random_damage_gives_what_the_cpu_gives_or_nothing(gpu: ModuleType, kind: str) -> None:
    w = weights(5, 1800).astype(BFLOAT16)
    sound = (
        encode_lossless(w) if kind == "words" else matrix(5, 1800, trellis=True, large=2**31 - 1)
    )
    rng = np.random.default_rng(7)
    told = 0
    for _ in range(12):
        data = bytearray(sound.chunks[0])
        spot = int(rng.choice([rng.integers(12), rng.integers(len(data)), -rng.integers(1, 400)]))
        data[spot] ^= 1 << int(rng.integers(8))
        broken = CodedArray(sound.header, (bytes(data), *sound.chunks[1:]))
        try:
            expected = on_cpu(broken, w.nbytes)
        except FormatError:
            expected = None
            told += 1
        assert on_gpu(gpu, (broken, w.nbytes)) == [expected]
    assert told > 3
