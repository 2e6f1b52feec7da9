"""Entropy-coded GPTQ: what its corrections and its packing must give."""

import importlib.util
import lzma
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("torch")

from bench.frontier import golf

RNG = np.random.default_rng(3)


def test_the_correction_takes_away_all_of_an_error_of_its_rank():
    E = RNG.standard_normal((20, 4)) @ RNG.standard_normal((4, 30))
    x = RNG.standard_normal((100, 30))
    H = x.T @ x
    lost, A, B = golf.correction(E, H)
    rest = E - A.astype(np.float64) @ B.astype(np.float64)
    assert lost == pytest.approx(np.einsum("ij,jk,ik->", E, H, E), rel=0.02)
    assert np.einsum("ij,jk,ik->", rest, H, rest) < 1e-4 * lost


def test_a_step_is_a_share_of_the_deviation_and_clips_at_the_top():
    W = RNG.standard_normal((3, 4000)).astype(np.float32) * [[1], [2], [4]]
    W[0, 0] = 100
    grid = golf.DeviationGrid(31, 10)
    scale, zero = grid.fit(W[1:])
    np.testing.assert_allclose(scale[:, 0], [2 * 10 / 31, 4 * 10 / 31], rtol=0.05)
    levels = grid.round(W[:1], np.float32([[1]]), np.float32([[31]]))
    assert levels[0, 0] == 62 and np.all(zero == 31)


def test_sorting_puts_rows_of_one_kind_beside_each_other():
    kinds = RNG.integers(0, 20, (2, 50))
    rows = np.concatenate([kinds, kinds, kinds])[RNG.permutation(6)].astype(np.uint8)
    order = golf._likeness(rows)
    changes = np.any(np.diff(rows[order].astype(int), axis=0) != 0, axis=1).sum()
    assert changes == 1


@pytest.fixture
def _brotli(monkeypatch):
    """Another coder in the place of brotli where that is not installed: LZMA, of Python's own."""
    if importlib.util.find_spec("brotli") is None:
        coder = SimpleNamespace(compress=lambda data, quality, lgwin: lzma.compress(data))
        monkeypatch.setitem(sys.modules, "brotli", coder)


@pytest.mark.usefixtures("_brotli")
@pytest.mark.skipif(shutil.which("lrzip") is None, reason="no lrzip here: apt-get install lrzip")
def test_an_archive_holds_less_than_a_byte_a_level():
    levels = RNG.binomial(62, 0.5, (64, 512)).astype(np.uint8)
    size = golf.packed({"w.levels": levels, "w.scales": np.ones((64, 1), np.float16)})
    assert 0.45 * levels.size < size < 0.62 * levels.size  # 4 bits of entropy
