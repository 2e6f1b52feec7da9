"""What is under the dial, what is fp16, and what stays as it is."""

import ml_dtypes
import numpy as np
import pytest

from taut.io import open_source
from taut.planning import free_schemes
from taut.planning.halves import holds_half
from taut.scheme import Scheme, parse_scheme


def schemes(arrays, plan=None, fixed=()):
    source = open_source(arrays)
    every = {name: Scheme() for name in arrays} | {k: parse_scheme(v) for k, v in plan.items()}
    return {n: str(s) for n, s in free_schemes(source, every, fixed).items()}


def test_matrices_go_under_the_dial_and_vectors_to_half_precision():
    arrays = {
        "w": np.ones((64, 64), np.float32),
        "small": np.ones((8, 8), np.float32),
        "bias": np.ones(64, np.float32),
        "half": np.ones(64, ml_dtypes.bfloat16),
        "half already": np.ones(64, np.float16),
        "ids": np.arange(64),
        "tiny": np.full(64, 1e-6, np.float32),
        "huge": np.full(64, 1e6, np.float32),
        "nan": np.full(64, np.nan, np.float32),
    }
    assert schemes(arrays, {}) == {
        "w": "rd",
        "small": "fp16",
        "bias": "fp16",
        "half": "lossless",
        "half already": "lossless",
        "ids": "lossless",
        "tiny": "lossless",
        "huge": "lossless",
        "nan": "lossless",
    }


def test_what_the_plan_names_is_as_the_plan_says():
    arrays = {"w": np.ones((64, 64), np.float32), "b": np.ones(64, np.float32)}
    plan = {"w": "keep", "b": "lossless"}
    assert schemes(arrays, plan, fixed=plan) == plan


def test_a_mask_that_a_plan_asks_for_stays_under_the_dial():
    arrays = {"w": np.ones((64, 64), np.float32), "b": np.ones(64, np.float32)}
    assert schemes(arrays, {"w": "50%"}) == {"w": "50%+rd", "b": "fp16"}


@pytest.mark.parametrize(
    ("values", "held"),
    [
        ([0.0], True),
        ([2.0**-14, -65504.0], True),
        ([1.0, -1e-12], True),
        ([1.0, 0.0, 1e-12], True),
        ([1.0, 2.0**-21], True),
        ([1.0, 2e-8], False),  # it may be divided by
        ([-1.0, -1e-12], False),
        ([2.0**-22 * 1.1], False),
        ([65505.0], False),
        ([1.0, np.nan], False),
        ([1.0, -np.inf], False),
        ([], True),
    ],
)
def test_half_precision_is_for_what_loses_next_to_nothing_in_it(values, held):
    assert holds_half("F32", np.array(values)) is held
    assert holds_half("F64", np.array(values)) is held
    assert not holds_half("BF16", np.array(values))
