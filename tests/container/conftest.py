"""Models that have one tensor of every kind of storage, and their Taut files."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import taut


@pytest.fixture
def arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Coded, kept, solid (three dtypes), alias, empty and 0-d tensors; 60 kB."""
    weights = (rng.standard_normal((96, 128)) * 0.02).astype(np.float32)
    return {
        "coded": weights,
        "half": weights.astype(ml_dtypes.bfloat16),
        "noise": rng.integers(0, 256, (130, 127), dtype=np.uint8),  # 16510 bytes: ends unaligned
        "copy": weights.copy(),
        "bias": np.array([0.0, -0.0, np.nan, np.inf, 1e-42], np.float32),
        "scalar": np.array(3.5, np.float32),
        "steps": np.array(7, np.int64),
        "mask": np.array([True, False]),
        "empty": np.empty((0, 3), np.float16),
    }


@pytest.fixture
def file(arrays: dict[str, np.ndarray], tmp_path: Path) -> Path:
    """The Taut file of `arrays`."""
    path = tmp_path / "net.taut.safetensors"
    taut.compress(arrays, path)
    return path


def same(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two arrays are equal to the bit."""
    return (
        first.dtype == second.dtype
        and first.shape == second.shape
        and first.tobytes() == second.tobytes()
    )
