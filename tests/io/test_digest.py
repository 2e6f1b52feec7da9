"""A checksum of a batch: whatever could change what comes of it is in it."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from taut.errors import ArgumentError
from taut.io.digest import Digest

SIX = np.arange(1, 7, dtype=np.float32)


class Batch:
    """An object of the user's, which holds what it is given."""

    def __init__(self, **fields: object) -> None:
        vars(self).update(fields)


def digest(value: object) -> str:
    found = Digest()
    found.add(value, "a batch")
    return found.text()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (SIX, SIX.view(np.int32)),  # the same bytes of another dtype
        (SIX.astype(np.float16), SIX.astype(np.float16).view(ml_dtypes.bfloat16)),
        (SIX.reshape(2, 3), SIX.reshape(3, 2)),  # and of another shape
        (SIX, SIX.reshape(1, 6)),
        (SIX[:1], SIX[:1].reshape(())),
        (np.zeros((0, 3), np.float32), np.zeros((3, 0), np.float32)),
        (np.zeros(0, np.float32), np.zeros(0, np.int8)),
        (SIX, SIX[::-1]),
        (np.zeros(2), -np.zeros(2)),
        (np.float32(1), np.float64(1)),
        (1, True),
        (1, 1.0),
        ("1", 1),
        ("1", b"1"),
        (None, "None"),
        ([1, [2]], [[1], 2]),
        (["ab", "c"], ["a", "bc"]),
        ([SIX, SIX], [np.concatenate([SIX, SIX])]),
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
        ({"a": SIX}, {"b": SIX}),
        ({1: SIX}, {"1": SIX}),
        (Batch(x=SIX), Batch(y=SIX)),
        ("\ud800", "\ud801"),
    ],
)
def test_what_differs_has_another_digest(first, second):
    assert digest(first) != digest(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (SIX[::-1], SIX[::-1].copy()),
        (SIX.reshape(2, 3).T, SIX.reshape(2, 3).T.copy()),
        ([1, 2], (1, 2)),
        (Batch(x=SIX), {"x": SIX}),
    ],
)
def test_what_is_the_same_has_the_same(first, second):
    assert digest(first) == digest(second)


def test_a_tensor_is_digested_as_its_array():
    torch = pytest.importorskip("torch")
    assert digest(torch.from_numpy(SIX.copy())) == digest(SIX)
    assert digest(torch.ones(3, dtype=torch.bfloat16)) == digest(np.ones(3, ml_dtypes.bfloat16))


def test_arrays_of_texts_are_told_apart():
    first, second = (np.array([text, "b"], object) for text in ("a", "ab"))
    assert digest(first) == digest(first.copy()) != digest(second)
    assert digest(first) != digest(first.reshape(2, 1))


def test_what_cannot_be_digested_is_told_by_its_place():
    deep: list[object] = []
    deep.append(deep)
    for value in (np.array([object()]), {1, 2}, deep):
        with pytest.raises(ArgumentError, match=r"^a batch: has a (object|set|list) in it"):
            digest(value)
