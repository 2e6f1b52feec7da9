"""Integers behind floats: found again where there were any, else rounded to some."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from taut.exporting.integers import to_integers
from taut.exporting.onnx.row_integers import stored
from taut.scheme import parse_scheme
from taut.transform.runtime import make_grid


def weights(rows: int = 24, columns: int = 96) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((rows, columns)).astype(np.float32) * 0.05


@pytest.mark.parametrize(
    ("scheme", "bits", "group"),
    [("int8", 8, None), ("int4", 4, None), ("int4:g32", 4, 32), ("int3", 3, None),
     ("int2", 2, None), ("ternary", 2, None), ("binary", 8, None), ("50%+int8", 8, None)],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_what_was_on_a_grid_is_found_again(
    scheme: str, bits: int, group: int | None, dtype: type
) -> None:
    values = make_grid(weights(), parse_scheme(scheme)).values(np.dtype(dtype))
    found = to_integers(values, bits, group=group)
    assert found.exact
    rounding = {2: 2**-7, 4: 2**-21}[values.itemsize]
    np.testing.assert_allclose(found.floats(), values.astype(np.float32), rtol=rounding, atol=0)


def test_an_asymmetric_grid_is_found_again() -> None:
    values = make_grid(weights() + 0.02, parse_scheme("int4:g32,asym")).values(np.dtype("f4"))
    found = to_integers(values, 4, group=32, asymmetric=True)
    assert found.exact and found.zeros is not None
    assert found.values.min() >= 0 and found.values.max() <= 15
    np.testing.assert_allclose(found.floats(), values, rtol=2**-20, atol=1e-9)


@pytest.mark.parametrize("asymmetric", [False, True])
def test_what_was_on_no_grid_is_rounded(asymmetric: bool) -> None:
    found = to_integers(weights(), 8, asymmetric=asymmetric)
    assert not found.exact
    worst = np.abs(found.floats() - weights()).max(axis=1)
    # Scales of least squared error may cut off a little at the ends.
    assert (worst <= 4 * found.scales[:, 0]).all()


def test_rows_of_zeros_are_exact() -> None:
    values = np.zeros((3, 8), np.float32)
    values[1] = [0, 1, 2, 3, -4, 0, 0, 0]
    found = to_integers(values, 4)
    assert found.exact
    assert (found.floats() == values).all()


def test_finer_grids_do_not_fit_in_fewer_bits() -> None:
    values = make_grid(weights(), parse_scheme("int8")).values(np.dtype("f4"))
    assert not to_integers(values, 4).exact


def test_eight_bits_of_a_runtime_lie_within_127_and_are_the_files_own():
    w = -np.abs(np.random.default_rng(0).standard_normal((8, 32))).astype(np.float32)
    own = make_grid(w, parse_scheme("int8"))  # the least value of each row is the largest
    found = stored(own.values(np.dtype(np.float32)), (1,))
    assert found.exact and -127 <= found.values.min() < -120
    old = np.array([[-128, 127, 3, 1]], np.float32) * np.float32(0.01)
    clipped = stored(old, (1,))
    assert not clipped.exact and clipped.values.tolist() == [[-127, 127, 3, 1]]
