"""Data given as one bare array, which compares by its values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from taut import compress
from taut.errors import ArgumentError


@pytest.mark.parametrize("given", ["calib", "train"])
def test_a_bare_array_is_an_error_that_names_it(tmp_path: Path, given: str) -> None:
    torch = pytest.importorskip("torch")
    batch = np.ones((4, 64), np.float32)
    with pytest.raises(ArgumentError, match=given):
        compress(torch.nn.Linear(64, 64), tmp_path / "x", bits=3, **{given: batch})
    assert not list(tmp_path.iterdir())
