"""Of the ways to code indices the smallest; all decode to what the indices stand for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taut.coding import Job, decode, encode_adaptive, encode_indices
from taut.encoding.choose_coder import coded_few, coded_smallest, kernel, offset_levels
from taut.encoding.foresee_coded import estimate_smallest
from taut.transform import (
    Grid,
    Indices,
    codebook,
    factor_forms,
    fp8,
    integers,
    quantize,
    round_matrix,
    ternary,
)

F4 = np.dtype(np.float32)


def back(coded, shape, dtype=F4):
    out = np.empty(shape, dtype)
    decode([Job(coded.header, coded.chunks, out)])
    return out


GRIDS = {
    "ternary": lambda w: ternary(w, fraction=4),
    "int4 in groups": lambda w: integers(w, 4, group=8, fraction=4),
    "int8, free scales": lambda w: integers(w, 8),
    "codebook": lambda w: codebook(w, 16),
    "fp8": fp8,
    "step": lambda w: Grid(np.rint(w * 4).astype(np.int32), step=0.25),
    "zeros": lambda w: Grid(
        np.rint(w * 4).astype(np.int32) + 3,
        scales=np.full((w.shape[0], 2), 0.25, np.float32),
        zeros=np.full((w.shape[0], 2), 3, np.int32),
        group=w.shape[1] // 2,
    ),
}


@pytest.mark.parametrize("effort", ["fast", "max"])
@pytest.mark.parametrize("name", GRIDS)
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 40),
    spread=st.floats(0, 6),
    density=st.sampled_from([0.05, 1.0]),
)
def test_every_way_decodes_to_the_grids_values(name, effort, seed, rows, spread, density):
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((rows, 16)) * np.exp(spread * rng.standard_normal((rows, 1)))
    w = (w * (rng.random((rows, 16)) < density)).astype(np.float32)
    w = np.clip(w, -1e5, 1e5)
    grid = GRIDS[name](w)
    coded = coded_smallest(grid, F4, effort=effort)
    assert np.array_equal(back(coded, w.shape), grid.values(F4))


def test_scales_in_sixteenths_of_an_octave_take_the_fast_coder(rng):
    w = (rng.standard_normal((200, 640)) * np.exp(rng.standard_normal((200, 1)))).astype(np.float32)
    grid = integers(w, 4, group=64, fraction=4)
    fast = coded_smallest(grid, F4, effort="fast")
    slow = encode_adaptive(grid.indices, scales=grid.scales, group=64, dtype=F4)
    assert fast.header[:8] != slow.header[:8] and fast.nbytes < slow.nbytes
    assert np.array_equal(back(fast, w.shape), grid.values(F4))


def test_sparse_indices_take_the_adaptive_coder(rng):
    q = np.where(rng.random((300, 400)) < 0.02, rng.integers(-3, 4, (300, 400)), 0)
    found = Indices(q.astype(np.int32), 0.5, (0.0, 0.0, 0.0))
    plain = encode_indices(found.values, step=0.5, offsets=found.offsets, dtype=F4)
    coded = coded_smallest(found, F4)
    assert coded.nbytes < plain.nbytes
    assert coded_smallest(found, F4, effort="fast") == encode_indices(
        found.values, step=0.5, offsets=found.offsets, dtype=F4, effort="fast"
    )
    assert np.array_equal(back(coded, q.shape), q * np.float32(0.5))


def test_fine_steps_do_not_cost_exceptions(rng):
    """A Gaussian of scale s at a step takes log2(s sqrt(2 pi e) / step) bits a value."""
    values = rng.standard_normal((120, 200)).astype(np.float32)
    for octaves in (7, 10, 14):
        found = quantize(values, 2.0**-octaves)
        coded = coded_smallest(found, F4)
        ideal = octaves + 0.5 * np.log2(2 * np.pi * np.e)
        assert ideal - 0.05 < 8 * coded.nbytes / values.size < ideal + 0.2
        assert np.abs(back(coded, values.shape) - values).max() < 2.0**-octaves
        assert estimate_smallest(found) == pytest.approx(coded.nbytes, rel=0.02)


def test_fine_matrices_of_few_bits_go_as_floats(rng):
    values = rng.standard_normal((64, 100)).astype(np.float32)
    metric = factor_forms(np.ones(64), rng.uniform(0.5, 2, 100))
    found = round_matrix(values, metric, 2.0**-9)
    half = np.dtype(np.float16)
    coded = coded_smallest(found, half)
    assert 8 * coded.nbytes < 16 * values.size  # as indices they take 26 bits
    assert np.array_equal(back(coded, values.shape, half), found.decoded.astype(half))


def test_offsets_go_into_a_table_to_the_last_bit(rng):
    values = (rng.standard_normal((40, 50)) * (rng.random((40, 50)) < 0.2)).astype(np.float32)
    found = quantize(values, 0.37)
    assert any(found.offsets)
    plain = encode_indices(found.values, step=found.step, offsets=found.offsets, dtype=F4)
    low, high = int(found.values.min()), int(found.values.max())
    levels = offset_levels(np.arange(low, high + 1), found.step, found.offsets)
    table = encode_adaptive(found.values, levels=levels, low=low, dtype=F4)
    assert np.array_equal(back(plain, values.shape), back(table, values.shape))


def test_a_kernel_is_what_lies_side_by_side():
    assert [kernel(s) for s in [(8,), (8, 9), (8, 3, 5), (8, 3, 7, 7), (8, 4, 300)]] == [
        1, 1, 5, 49, 1,
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", ["f4", "f2", "f8"])
def test_a_handful_of_values_is_coded_bit_for_bit(dtype):
    lowest = np.finfo(np.dtype(dtype) if dtype != "f8" else F4).min
    few = np.triu(np.full((64, 64), lowest, dtype), 1)
    few[3, 0] = 0.1
    coded = coded_few(few)
    if dtype == "f8":  # .1 in float64 is none of float32
        assert coded is None
        return
    assert coded.nbytes < 200
    assert back(coded, few.shape, few.dtype).tobytes() == few.tobytes()


@pytest.mark.parametrize(
    "values",
    [
        np.arange(4096.0).reshape(64, 64),
        np.where(np.eye(64), -0.0, 0.0).astype("f4"),
        np.where(np.eye(64), np.inf, 0.0).astype("f4"),
        np.zeros((4, 4), "f4"),
        np.zeros((64, 64), np.int64),
    ],
)
def test_other_values_are_not_a_handful(values):
    assert coded_few(values) is None
