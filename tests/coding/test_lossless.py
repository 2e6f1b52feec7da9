"""Any array comes back bit for bit, from every native decoder and from the reference."""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.thorough import examples

from taut import _core
from taut.coding import CodedArray, Effort, decoded_nbytes, encode_lossless
from taut.errors import ArgumentError
from taut.io import SAFETENSORS_DTYPES

Maker = Callable[[np.random.Generator, np.dtype, tuple[int, ...]], np.ndarray]
EFFORTS: tuple[Effort, ...] = ("fast", "max")


def cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Floats to any dtype; integers are what fits of 100 times the values."""
    with np.errstate(all="ignore"):
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
            return np.clip(np.rint(values * 100), info.min // 2, info.max // 2).astype(dtype)
        return values.astype(dtype)


def normals(rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    return cast(rng.normal(0, 10 ** rng.uniform(-8, 4), shape), dtype)


def row_scales(rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    rows = np.exp(rng.uniform(-12, 6, (*shape[:1], *(1 for _ in shape[1:]))))
    return cast(rng.normal(0, 1, shape) * rows, dtype)


def sparse(rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    return cast(rng.normal(0, 1, shape) * (rng.random(shape) < rng.uniform(0, 0.3)), dtype)


def signed_zeros(rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    values = np.where(rng.random(shape) < 0.5, 0.0, -0.0)
    return cast(np.where(rng.random(shape) < 0.05, rng.normal(0, 1, shape), values), dtype)


def halves(rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Some rows are exact float16, some exact bfloat16."""
    values = rng.normal(0, 1, shape)
    if values.ndim:
        values[::3] = values[::3].astype(np.float16)
        values[1::3] = values[1::3].astype(ml_dtypes.bfloat16)
    return cast(values, dtype)


def specials(rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Words at the edges of every field: NaN payloads, infinities, denormals, limits."""
    bits = 8 * dtype.itemsize
    one = [1 << i for i in range(bits)]
    words = [0, (1 << bits) - 1, *one, *[w - 1 for w in one], *[(1 << bits) - w for w in one]]
    drawn = rng.integers(0, len(words), shape)
    raw = b"".join(words[i].to_bytes(dtype.itemsize, "little") for i in drawn.reshape(-1))
    return np.frombuffer(raw, dtype).reshape(shape)


def noise(rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(rng.bytes(size), dtype).reshape(shape)


def constant(rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """One word everywhere, and now and then another somewhere."""
    flat = np.repeat(noise(rng, dtype, (1,)), int(np.prod(shape)))
    if flat.size and rng.random() < 0.7:
        flat[rng.integers(flat.size)] = noise(rng, dtype, (1,))[0]
    return flat.reshape(shape)


def counting(rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Words that count up from anywhere, over the ends of the range too."""
    start = int(rng.integers(1 << 63))
    words = (np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(start)) * np.uint64(3)
    unsigned = words.astype(f"u{min(8, dtype.itemsize)}")
    return unsigned.view(np.uint8)[: unsigned.size * dtype.itemsize].view(dtype).reshape(shape)


def few_levels(rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    return cast(np.rint(rng.normal(0, rng.uniform(0.2, 3), shape)) / 100, dtype)


MAKERS: tuple[Maker, ...] = (
    normals, row_scales, sparse, signed_zeros, halves, specials, noise, constant, counting,
    few_levels,
)  # fmt: skip


def shape_of(rng: np.random.Generator, count: int) -> tuple[int, ...]:
    """0-d to 3-d, of about `count` values, odd row lengths included."""
    dims = int(rng.integers(0 if count == 1 else 1, 4))
    if dims < 2:
        return (count,) * dims
    row = int(rng.integers(1, max(2, min(count, 3000))))
    shape = (-(-count // row), row)
    return shape if dims == 2 else (*shape[:1], 1, row) if row % 2 else (shape[0], row // 2, 2)


def check(values: np.ndarray, effort: Effort, decode_everywhere: Any) -> CodedArray:
    coded = encode_lossless(values, effort=effort)
    assert decoded_nbytes(coded.header) == values.nbytes
    assert decode_everywhere(coded.header, coded.chunks) == values.tobytes()
    assert coded.nbytes <= values.nbytes + 32
    return coded


@settings(max_examples=examples(120))
@given(
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(sorted(SAFETENSORS_DTYPES)),
    maker=st.sampled_from(MAKERS),
    effort=st.sampled_from(EFFORTS),
    count=st.sampled_from([0, 1, 2, 3, 63, 64, 65, 300, 2047, 4096, 8191, 8192, 20011]),
)
def test_any_array_comes_back(
    seed: int, dtype: str, maker: Maker, effort: Effort, count: int, decode_everywhere: Any
) -> None:
    rng = np.random.default_rng(seed)
    values = maker(rng, SAFETENSORS_DTYPES[dtype], shape_of(rng, count))
    check(values, effort, decode_everywhere)


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("dtype", SAFETENSORS_DTYPES)
def test_every_dtype_comes_back_through_the_wide_coders(
    dtype: str, effort: Effort, rng: np.random.Generator, decode_everywhere: Any
) -> None:
    for maker in (row_scales, sparse):
        check(maker(rng, SAFETENSORS_DTYPES[dtype], (199, 251)), effort, decode_everywhere)


@pytest.mark.parametrize("maker", MAKERS)
def test_every_kind_of_values_comes_back_through_the_fast_coder(
    maker: Maker, rng: np.random.Generator, decode_everywhere: Any
) -> None:
    for dtype in (np.float32, ml_dtypes.bfloat16, np.int8):
        check(maker(rng, np.dtype(dtype), (173, 293)), "fast", decode_everywhere)


@pytest.mark.parametrize("effort", EFFORTS)
def test_chunks_share_tables_and_any_number_of_threads_gives_the_same_bytes(
    effort: Effort, rng: np.random.Generator, decode_everywhere: Any
) -> None:
    scale = np.exp(rng.uniform(-4, 0, (700, 1)))
    values = (rng.normal(0, 1, (700, 1601)) * scale).astype(ml_dtypes.bfloat16)
    coded = check(values, effort, decode_everywhere)
    facts = _core.inspect(np.frombuffer(coded.header, np.uint8))
    assert facts["chunks"] >= 2
    assert facts["tables"] >= 2
    assert encode_lossless(values, effort=effort, threads=2) == coded


def test_layout_of_the_source_does_not_matter(rng: np.random.Generator) -> None:
    values = rng.normal(0, 1, (60, 80)).astype(np.float32)
    coded = encode_lossless(values)
    assert encode_lossless(np.asfortranarray(values)) == coded
    assert encode_lossless(np.repeat(values, 2, axis=1)[:, ::2]) == coded


def test_what_are_no_numbers_is_refused() -> None:
    for values in (np.array(["a"]), np.array([object()]), np.zeros(2, "f4,i4")):
        with pytest.raises(ArgumentError, match="cannot code"):
            encode_lossless(values)
