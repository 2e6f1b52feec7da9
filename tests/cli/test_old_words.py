"""Words of before are taken for one release, and said to be old."""

import warnings

import numpy as np
import pytest

import taut
from taut.cli._old_words import in_new_words
from taut.errors import ArgumentError


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["compress", "m", "--eval", "f.py:s"], ["compress", "m", "--score", "f.py:s"]),
        (["eval", "--against=o", "--data", "d"], ["eval", "--original=o", "--calib", "d"]),
        (["-q", "export", "m", "--model", "f"], ["-q", "export", "m", "--into", "f"]),
        (["info", "--data", "x"], ["info", "--data", "x"]),
        (["report", "m", "--original", "o"], ["report", "m", "--original", "o"]),
    ],
)  # fmt: skip
def test_old_options_become_new_ones_and_are_told(old, new, capsys):
    assert in_new_words(old) == new
    told = capsys.readouterr().err.splitlines()
    assert len(told) == sum(a != b for a, b in zip(old, new, strict=True))
    assert all(line.endswith(" now") for line in told)


def test_an_old_keyword_is_the_new_one_and_warns():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(ArgumentError, match=r"^score: goes with calibration data"):
            taut.compress({"w": np.ones((64, 64))}, "x", evaluate=lambda net: 1.0)
    assert [str(one.message) for one in said if one.category is DeprecationWarning] == [
        "evaluate= is called score= now"
    ]


def test_both_words_at_once_are_refused():
    with pytest.raises(ArgumentError, match="score: is given twice"):
        taut.compress({"w": np.ones((64, 64))}, "x", evaluate=len, score=len)
