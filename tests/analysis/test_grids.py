"""Rounding to nearest, against each scheme's own definition."""

from __future__ import annotations

import numpy as np
import pytest

from taut.analysis.grids import round_to
from taut.errors import ArgumentError
from taut.scheme import parse_scheme


def rounded(values: np.ndarray, scheme: str) -> np.ndarray:
    return round_to(values, parse_scheme(scheme)).values


@pytest.mark.parametrize(("scheme", "levels"), [("int8", 127), ("int4", 7), ("int3", 3)])
def test_integers_err_by_half_a_step_of_their_row_at_most(
    scheme: str, levels: int, rng: np.random.Generator
) -> None:
    values = rng.standard_normal((8, 96)).astype(np.float32) * np.arange(1, 9)[:, None]
    step = np.abs(values).max(1, keepdims=True) / levels
    found = rounded(values, scheme)
    assert np.all(np.abs(found - values) <= step * 0.5001)
    assert np.abs(found / step - np.rint(found / step)).max() < 1e-4
    assert np.abs(values - found).max() > 0


def test_groups_have_scales_of_their_own_and_pay_for_them(rng: np.random.Generator) -> None:
    values = rng.standard_normal((4, 200)).astype(np.float32)
    values[:, 64:128] *= 100
    nearest = round_to(values, parse_scheme("int4:g64"))
    assert np.abs(nearest.values - values)[:, :64].max() < 0.5
    assert np.abs(rounded(values, "int4") - values)[:, :64].max() > 1
    assert nearest.bits == 4 + 16 * 4 / 200  # the last group of a row has 8 weights


def test_an_asymmetric_grid_spends_all_its_levels_on_one_side() -> None:
    values = np.linspace(0, 15, 16, dtype=np.float32)[None]
    assert rounded(values, "int4,asym").tolist() == values.tolist()
    assert rounded(values, "int4").tolist() != values.tolist()
    nearest = round_to(values, parse_scheme("int4:g8,asym"))
    assert nearest.bits == 4 + (16 + 4) / 8


@pytest.mark.parametrize("scheme", ["int8", "int4:g64,asym", "fp16", "fp8", "rd:2", "int2"])
def test_zero_stays_zero(scheme: str, rng: np.random.Generator) -> None:
    values = rng.standard_normal((16, 64)).astype(np.float32)
    values[:, ::3] = 0
    values[3] = 0
    found = rounded(values, scheme)
    assert not found[:, ::3].any()
    assert not found[3].any()


def test_rd_takes_the_bits_it_is_given(rng: np.random.Generator) -> None:
    values = rng.laplace(size=(128, 512)).astype(np.float32)
    nearest = round_to(values, parse_scheme("rd:2.5"))
    assert nearest.bits == pytest.approx(2.5, abs=0.02)
    _, counts = np.unique(nearest.values, return_counts=True)
    shares = counts / counts.sum()
    assert -np.sum(shares * np.log2(shares)) == pytest.approx(2.5, abs=0.05)
    assert round_to(np.zeros((9, 9)), parse_scheme("rd:2")).bits == 0


def test_halves_are_halves_and_end_at_their_largest() -> None:
    assert rounded(np.array([[1 / 3, 1e9, -1e9]]), "fp16").tolist() == [
        [float(np.float16(1 / 3)), 65504, -65504]
    ]


@pytest.mark.parametrize("scheme", ["rd", "keep", "ternary", "50%+int4", "2:4+int8", "codebook16"])
def test_what_is_not_rounded_here_is_refused(scheme: str) -> None:
    with pytest.raises(ArgumentError, match="scheme"):
        rounded(np.ones((2, 2)), scheme)
