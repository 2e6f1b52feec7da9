"""Writes the golden arrays of the coded array's version 1, once: nothing here overwrites a file.

Run from the repository's root: `python tests/golden/make.py`. Each file is a safetensors file with
the header, the chunks and, deflated, the bytes they decode to. They are what version 1 means: a
decoder that fails on one is wrong, whatever the encoder writes by then.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save

from taut.coding import (
    GROUP,
    CodedArray,
    encode_adaptive,
    encode_indices,
    encode_lossless,
    encode_matrix,
    encode_records,
)
from taut.coding import (
    BitPiece as Piece,
)
from taut.coding import (
    ContextTerm as Term,
)
from taut.coding import (
    RecordField as Field,
)
from taut.coding import (
    RecordLayout as Layout,
)
from taut.coding._reference import decode_reference

ARRAYS = Path(__file__).parent / "arrays"
BF16, FP8 = np.dtype(ml_dtypes.bfloat16), np.dtype(ml_dtypes.float8_e4m3fn)


def lossless() -> Iterator[tuple[str, CodedArray]]:
    """Arrays that between them have every kind, coder, mode, width and flag."""
    rng = np.random.default_rng(1)
    rows = rng.normal(0, 1, (9, 90)) * np.exp(rng.uniform(-7, 1, (9, 1)))
    half = rows.astype(np.float32)
    half[::2] = half[::2].astype(np.float16)
    yield "empty", encode_lossless(np.empty((0, 3), np.float32))
    yield "scalar", encode_lossless(np.array(-0.0, np.float16))
    yield "constant", encode_lossless(np.full((70, 70), np.nan))
    yield "stored", encode_lossless(np.frombuffer(rng.bytes(200), np.uint16))
    for dtype in (np.dtype("f8"), np.dtype("f4"), np.dtype("f2"), BF16, FP8):
        yield f"small-{dtype.name}", encode_lossless(rows[:5].astype(dtype))
    yield "dropping", encode_lossless(half)
    yield "sparse", encode_lossless(np.where(rng.random(rows.shape) < 0.3, half, 0))
    for bits, scale in ((8, 9), (16, 900), (32, 900), (64, 9)):
        values = np.rint(rows * scale).astype(f"i{bits // 8}")
        values[4, 40] = -(2 ** (bits - 1))
        yield f"signed-{bits}", encode_lossless(values)
    yield "bool", encode_lossless(rng.random(900) < 0.1)
    wide = rng.normal(0, 1, (82, 100)) * np.repeat([0.02, 2.0], 41)[:, None]
    yield "dense", encode_lossless(wide.astype(FP8), effort="max")
    yield "fast", encode_lossless(several_levels(rng).astype(np.int8), effort="fast")


def several_levels(rng: np.random.Generator) -> np.ndarray:
    """Integers near zero in rows of two scales, and a few that are far from it."""
    q = np.rint(
        rng.normal(0, 1, (192, 260)) * np.repeat([0.2, 0.6], 96)[rng.permutation(192), None]
    )
    return np.where(rng.random(q.shape) < 0.0005, rng.integers(-120, 120, q.shape), q)


def indices() -> Iterator[tuple[str, CodedArray]]:
    """Uniform arrays of every coder and output type, with indices far outside the symbols."""
    rng = np.random.default_rng(2)
    q = several_levels(rng).astype(np.int32)
    q[3, 3], q[100, 100], q[1, :5] = -(2**31), 2**31 - 1, (-128, -127, 126, 127, 128)
    offsets = (0.0625, 0.03, 0.011)
    for name, part, effort in (
        ("fast", q, "fast"),
        ("dense", q[:32], "max"),
        ("small", q[:5], "max"),
    ):
        for dtype in (np.dtype("f4"), np.dtype("f2"), BF16, np.dtype("f8")):
            if name != "fast" or dtype.itemsize == 4:
                coded = encode_indices(
                    part, step=0.0371, offsets=offsets, dtype=dtype, effort=effort
                )
                yield f"indices-{name}-{dtype.name}", coded


def matrices() -> Iterator[tuple[str, CodedArray]]:
    """Matrices of every coder and output type, with classes, exponents and rare indices."""
    rng = np.random.default_rng(3)
    scale = np.exp2(rng.integers(-2, 3, (260, 1)) / 2 + rng.integers(-2, 3, (1, 270)) / 2)
    q = np.rint(rng.normal(0, 0.22, scale.shape) * scale).astype(np.int32)
    q[3, 3], q[200, 100], q[1, :5] = -(2**31), 2**31 - 1, (-129, -128, 64, 126, 127)
    rows = np.rint(rng.normal(126, 2, 260)).astype(np.uint8)
    columns = np.rint(rng.normal(128, 2, 270)).astype(np.uint8)
    f4, f2, f8 = (np.dtype(name) for name in ("f4", "f2", "f8"))
    for name, n, m, dtype, trellis in (
        ("fast", 260, 190, f4, True),
        ("fast-plain", 190, 260, BF16, False),
        ("dense", 65, 260, BF16, True),
        ("dense-plain", 64, 257, f4, False),
        ("small", 16, 144, f4, True),
        ("small-float16", 41, 90, f2, True),
        ("small-plain", 41, 90, f8, False),
        ("small-row", 1, 33, f4, True),
        ("small-column", 37, 1, BF16, True),
    ):
        yield f"matrix-{name}", encode_matrix(
            q[:n, :m], step=0.0371, offsets=(0.125, 0.0625, 0.0) if n > 40 else (0.1, 0.05, 0.02),
            row_exponents=rows[:n] if n < 50 else None,
            column_exponents=columns[:m] if n in (37, 41) else None, row_fraction=2 + (n == 41),
            column_fraction=1, trellis=trellis, dtype=dtype, effort="fast",
        )  # fmt: skip


def bases() -> Iterator[tuple[str, CodedArray]]:
    """Matrices in a basis: one of each coder and of the output types."""
    rng = np.random.default_rng(6)
    f4, f2 = np.dtype("f4"), np.dtype("f2")
    for name, rows, columns, dtype, effort in (
        ("fast", 703, 70, BF16, "fast"),
        ("dense", 130, 70, f4, "fast"),
        ("small", 20, 33, f2, "max"),
    ):
        axes = np.rint(rng.normal(0, 2, (columns, columns))).astype(np.int32)
        axes[5] = 0
        basis = encode_matrix(
            axes,
            step=0.05,
            row_exponents=rng.integers(124, 133, columns).astype(np.uint8),
            trellis=True,
            dtype=f4,
        )
        q = np.rint(rng.normal(0, 0.5, (rows, columns))).astype(np.int32)
        q[3, 3], q[7, -1] = -70_000, 127
        exponents = rng.integers(126, 131, rows).astype(np.uint8)
        yield f"basis-{name}", encode_matrix(
            q, step=0.0371, row_exponents=exponents, basis=basis, trellis=name != "dense",
            dtype=dtype, effort=effort,
        )  # fmt: skip


def adaptives() -> Iterator[tuple[str, CodedArray]]:
    """Adaptive arrays of every grid and output type, with kernels, dead lines and huge indices."""
    rng = np.random.default_rng(4)
    lines = rng.normal(0, 1, (40, 1)), rng.normal(0, 1, (1, 90))
    q = np.rint(rng.laplace(0, 0.3, (40, 90)) * np.exp(lines[0] + lines[1])).astype(np.int32)
    q[5:9], q[:, 30:40] = 0, 0
    far = q.copy()
    far[3, 3], far[30, 70], far[1, :4] = -(2**31), 2**31 - 1, (-128, 255, 256, 2**24 + 1)
    levels = np.sort(rng.normal(0, 1, 16)).astype(np.float32)
    scales = np.exp(rng.normal(-3, 0.5, (40, 3))).astype(np.float16).astype(np.float32)
    zeros = rng.integers(-3, 4, (40, 3)).astype(np.int32)
    table = np.clip(q, -8, 7)
    f4, f2, f8 = (np.dtype(name) for name in ("f4", "f2", "f8"))
    yield "adaptive-step", encode_adaptive(far, step=-0.0371, dtype=f4)
    yield "adaptive-kernels", encode_adaptive(q, step=0.0371, period=9, dtype=BF16)
    yield "adaptive-levels", encode_adaptive(table, levels=levels, low=-8, dtype=f2)
    yield "adaptive-scales", encode_adaptive(q, scales=scales[:, :1], dtype=f8)
    yield "adaptive-zeros", encode_adaptive(q, scales=scales, zeros=zeros, group=32, dtype=f4)
    yield (
        "adaptive-both",
        encode_adaptive(table, levels=levels, low=-8, scales=np.exp(scales), group=32, dtype=BF16),
    )
    skewed = np.where(rng.random((20, 50)) < 0.1, -1, 1) * (rng.random((20, 50)) < 0.5)
    yield "adaptive-signs", encode_adaptive(skewed.astype(np.int32), step=0.5, dtype=f2)


def records() -> Iterator[tuple[str, CodedArray]]:
    """Records with symbols of one, two and four elements, of several pieces, of all functions."""
    rng = np.random.default_rng(5)
    bell = np.clip(np.rint(rng.normal(8, 2.5, (900, 40))), 0, 15).astype(np.uint8)
    scale = rng.normal(0.01, 0.004, (900, 1)).astype(np.float16).view(np.uint8)
    half = (
        Field((Piece(8, 8),)),
        Field((Piece(0, 8),), terms=(Term(0),), buckets=32),
    )
    by_scale = {
        "terms": (Term(0, 256, "magnitude"), Term(1)),
        "shift": 8,
        "buckets": 16,
    }
    pairs = Layout(22, (*half, Field((Piece(16, 8, (8,)),), (20,), elements=2, **by_scale)))
    packed = bell[:, :20] | bell[:, 20:] << 4
    data = np.concatenate([scale, packed], 1)
    yield "records-pairs", encode_records(data, pairs, 22 * 30)
    yield "records-small", encode_records(data[:300], pairs, 22 * 7)
    high = Piece(16, 1, (16, 1)), Piece(48, 4, (4, 8))
    bits = Layout(22, (*half, Field(high, (2, 16), 1, terms=(Term(GROUP, 5),), buckets=8)))
    yield "records-bits", encode_records(data, bits, 22)
    small = (bell[:, :8] // 4).astype(np.uint8)
    scales = rng.integers(20, 44, (900, 2)).astype(np.uint8)
    four = small[:, :4] | small[:, 4:] << 2 | (small[:, :4] & 1) << 4
    strides = (
        Piece(16, 2, (2,)),
        Piece(24, 2, (2,)),
        Piece(32, 2, (2,)),
        Piece(40, 2, (2,)),
    )
    terms = (
        Term(0, 3, "log from middle"), Term(0, -2, "log of signed"), Term(0, 1, "log"),
        Term(0, -700), Term(GROUP, 300, "magnitude"),
    )  # fmt: skip
    quads = Layout(
        6,
        (
            Field((Piece(0, 6, (8,)),), (2,)),
            Field((Piece(6, 2, (8,)),), (2,)),
            Field(strides, (2,), 1, 4, terms, 9, 64),
            Field(tuple(Piece(20 + 8 * k, 2) for k in range(4))),
            Field(tuple(Piece(22 + 8 * k, 1) for k in range(4))),
            Field(tuple(Piece(23 + 8 * k, 1) for k in range(4)), elements=4),
        ),
    )
    yield "records-quads", encode_records(np.concatenate([scales, four], 1), quads, 60)


def write(name: str, coded: CodedArray) -> int:
    """One golden file; its size. FileExistsError if there is one already."""
    expected = decode_reference(coded.header, coded.chunks)
    parts = {"header": coded.header, "expected": zlib.compress(expected, 9)}
    parts |= {f"chunk{i}": chunk for i, chunk in enumerate(coded.chunks)}
    data = save({key: np.frombuffer(part, np.uint8) for key, part in parts.items()})
    with (ARRAYS / f"{name}.safetensors").open("xb") as file:
        return file.write(data)


if __name__ == "__main__":
    ARRAYS.mkdir(exist_ok=True)
    total = 0
    for name, coded in [*lossless(), *indices(), *matrices(), *bases(), *adaptives(), *records()]:
        if (ARRAYS / f"{name}.safetensors").exists():
            print(f"{name}: is there, kept")
            continue
        total += (size := write(name, coded))
        print(f"{name}: {size} bytes")
    print(f"wrote {total} bytes")
