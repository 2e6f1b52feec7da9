"""Products by oneDNN: taken where they are as exact, and only while the context holds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from taut.analysis._gram import Gram, Room
from taut.networks import quick_products as quick


@pytest.fixture(autouse=True)
def _usual() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def test_products_are_exact_and_the_setting_comes_back() -> None:
    left, right = torch.randn(64, 300), torch.randn(300, 64)
    with quick.quick_products():
        found = left @ right
    exact = left.double() @ right.double()
    assert float((found - exact).norm() / exact.norm()) < 1e-5
    assert torch.get_float32_matmul_precision() == "highest"


def test_code_of_the_users_own_has_the_usual_products() -> None:
    with quick.quick_products(), quick.usual_products():
        assert torch.get_float32_matmul_precision() == "highest"
    with quick.usual_products():
        assert torch.get_float32_matmul_precision() == "highest"


def test_the_setting_comes_back_after_an_error() -> None:
    with pytest.raises(KeyError), quick.quick_products():
        raise KeyError("x")
    assert torch.get_float32_matmul_precision() == "highest"


def test_what_somebody_chose_stays() -> None:
    torch.set_float32_matmul_precision("high")
    with quick.quick_products():
        assert torch.get_float32_matmul_precision() == "high"
        assert not quick.products_are_quick()
    assert torch.get_float32_matmul_precision() == "high"


def test_coarser_products_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "_EXACT", 0.0)  # as if they were of bfloat16
    quick._as_exact.cache_clear()
    with quick.quick_products():
        assert torch.get_float32_matmul_precision() == "highest"
    quick._as_exact.cache_clear()


@pytest.mark.parametrize("width", [5, 130, 300])
def test_sums_are_those_of_numpy(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = torch.randn(40, width)
    monkeypatch.setattr("taut.analysis._gram.products_are_quick", lambda: True)
    side = Gram(width, Room(1 << 20))
    side.add(vectors, "here")
    exact = vectors.double().numpy()
    np.testing.assert_allclose(side.values, exact.T @ exact, rtol=0, atol=1e-4)
    assert (side.values == side.values.T).all()
