"""Rounded matrices beyond a bound lie in files, and are what they were."""

from __future__ import annotations

import numpy as np
import pytest

from taut.calibration.index_shelf import IndexShelf
from taut.errors import ArgumentError
from taut.transform import Rounded


def rounded(dtype: type, seed: int = 0) -> Rounded:
    indices = np.random.default_rng(seed).integers(-100, 100, (30, 7)).astype(dtype)
    return Rounded(indices, 0.5, None, None, True)


def test_what_there_is_no_room_for_lies_in_a_file(tmp_path):
    given = {str(i): rounded(kind, i) for i, kind in enumerate((np.int8, np.int16, np.int32) * 2)}
    shelf = IndexShelf(tmp_path, held=30 * 7 * 3)
    kept = shelf.kept(given)
    assert [isinstance(one.indices, np.memmap) for one in kept.values()] == [
        False, False, True, True, True, True
    ]  # fmt: skip
    for name, one in kept.items():
        assert one.indices.dtype == given[name].indices.dtype
        np.testing.assert_array_equal(one.decoded, given[name].decoded)
    assert [*tmp_path.iterdir()] == []  # the files have no name
    again = shelf.kept(kept)
    assert all(again[name].indices is one.indices for name, one in kept.items())


def test_what_is_held_already_takes_room():
    shelf, one = IndexShelf(held=300), rounded(np.int8)
    assert isinstance(shelf.kept({"b": one}, [one])["b"].indices, np.memmap)
    assert shelf.kept({"b": one})["b"] is one


def test_no_room_on_the_disk_is_told(tmp_path):
    with pytest.raises(ArgumentError, match=r"scratch \(--scratch\)"):
        IndexShelf(tmp_path / "none", held=0).kept({"a": rounded(np.int8)})
