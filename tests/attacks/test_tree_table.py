"""Damaged tables of several models: every byte of them is covered."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import taut
from taut.errors import TautError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two models in one folder."""
    for name in ("a", "b"):
        (tmp_path / "source" / name).mkdir(parents=True)
        save_file({"w": np.arange(40.0)}, tmp_path / "source" / name / "model.safetensors")
    taut.compress(tmp_path / "source", tmp_path / "small")
    return tmp_path / "small"


def test_no_byte_can_change(folder: Path) -> None:
    table = folder / "model.taut.tree.json"
    data = table.read_bytes()
    for at in range(0, len(data), 3):
        table.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(TautError):
            taut.info(folder)


def test_no_part_of_it_is_a_table(folder: Path) -> None:
    table = folder / "model.taut.tree.json"
    data = table.read_bytes()
    for length in range(0, len(data), 7):
        table.write_bytes(data[:length])
        with pytest.raises(TautError):
            taut.info(folder)
