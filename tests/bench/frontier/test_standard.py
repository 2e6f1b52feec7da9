"""The allocation of steps to tensors, by the optimum that it claims."""

import numpy as np
import pytest

pytest.importorskip("torch")

from bench.frontier.standard import factors_of


def test_factors_minimise_the_loss_at_equal_bits():
    harm = {"a": 3.0, "b": 0.2, "c": 1.0}
    sizes = {"a": 10, "b": 1000, "c": 100}
    found = factors_of(harm, sizes)

    def loss(logs: np.ndarray) -> float:
        """Noise of variance 1 / f^2; rates are n log f."""
        return sum(h * np.exp(-2 * f) for h, f in zip(harm.values(), logs, strict=True))

    n = np.array(list(sizes.values()), float)
    logs = np.log(list(found.values()))
    assert n @ logs == pytest.approx(0, abs=1e-9)  # the bits of one step for all
    rng = np.random.default_rng(5)
    for _ in range(50):
        shift = rng.standard_normal(3) * 0.1
        shift -= n * (n @ shift) / (n @ n)  # to other factors of the same bits
        assert loss(logs + shift) >= loss(logs)


def test_a_matrix_without_harm_keeps_some_bits():
    found = factors_of({"a": 1.0, "b": 0.0, "c": 1.0}, dict.fromkeys("abc", 5))
    assert 0.03 < found["b"] / found["a"] < 0.04  # the root of a thousandth
