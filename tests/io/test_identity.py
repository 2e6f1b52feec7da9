"""Identities: equal for the same work, however it comes, and for nothing else."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from taut.io import open_source
from taut.io.identity import model_identity, plan_identity
from taut.scheme import parse_scheme

MODEL = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.ones(4, ml_dtypes.bfloat16),
    "n": np.int64(3),
}


def of(model: dict[str, np.ndarray]) -> str:
    return model_identity(open_source(model))


@pytest.mark.parametrize(
    "change",
    [
        {"a": MODEL["a"].reshape(3, 2)},
        {"a": MODEL["a"].view(np.int32)},
        {"a": -MODEL["a"]},  # 0.0 is not -0.0 either
        {"n": np.array([3])},
        {"c": np.zeros(0)},
    ],
)
def test_names_dtypes_shapes_and_bytes_all_count(change):
    assert of(MODEL | change) != of(MODEL)
    assert of(dict(MODEL)) == of(MODEL)


def test_a_new_name_or_another_order_is_another_model():
    a, b = MODEL["a"], MODEL["b"]
    assert len({of({"a": a, "b": b}), of({"a": a, "c": b}), of({"b": b, "a": a})}) == 3


@given(hnp.arrays(np.uint8, st.integers(1, 40)), st.data())
def test_any_one_bit_is_seen(values, data):
    other = values.copy()
    other[data.draw(st.integers(0, len(values) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert of({"w": values}) != of({"w": other})


def test_a_file_and_the_same_tensors_in_memory_are_one_model(tmp_path: Path):
    numpy = pytest.importorskip("safetensors.numpy")
    plain = {"a": MODEL["a"], "b": np.ones(4, np.float32)}
    numpy.save_file(plain, tmp_path / "x.safetensors")
    assert model_identity(open_source(tmp_path / "x.safetensors")) == of(plain)


def test_tied_tensors_are_the_same_as_equal_ones():
    tied = MODEL["a"]
    assert of({"x": tied, "y": tied}) == of({"x": tied, "y": tied.copy()})


def test_what_decides_is_in_a_plans_identity():
    plans = [
        plan_identity(),
        plan_identity(""),
        plan_identity({}),
        plan_identity("rules: []"),
        plan_identity({"a": "lossless"}),
        plan_identity({"a": "lossless", "b": "lossless"}),
        plan_identity(bits=2.5),
        plan_identity(bits=None),
        plan_identity(size="8x"),
        plan_identity("rules: []", bits=2.5),
        plan_identity(bits="2.5"),
    ]
    assert len(set(plans)) == len(plans)


def test_schemes_count_by_what_they_say():
    assert plan_identity({"a": parse_scheme("rd:2")}) == plan_identity({"a": "rd:2"})
    assert plan_identity(bits=2.5, size=None) == plan_identity(size=None, bits=2.5)
