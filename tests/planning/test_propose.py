"""Schemes by what a tensor is, and bits by what one dial gives it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from taut.analysis.sensitivity import Sensitivity
from taut.analysis.statistics import describe, entropy_bounds
from taut.analysis.tensor_facts import Prediction, Report, TensorFacts
from taut.errors import TargetError
from taut.planning import Target
from taut.planning.propose import choose_schemes, forecast

ROWS, COLUMNS = 64, 256


def facts(name: str, values: np.ndarray, dtype: str = "F32", **more: object) -> TensorFacts:
    found = TensorFacts(
        name=name, dtype=dtype, shape=values.shape, parameters=values.size, bytes=values.nbytes,
        share=0.0, module="", tied="", equal="", lossless=int(0.85 * values.nbytes),
        distribution=describe(values), bounds=entropy_bounds(values), sensitivity=None,
        predictions={"fp16": Prediction(16, 1e-8)},
    )  # fmt: skip
    return replace(found, **more)  # type: ignore[arg-type]


def report(*tensors: TensorFacts, overhead: int = 100) -> Report:
    return Report(
        model="net",
        parameters=sum(t.parameters for t in tensors if not t.tied),
        bytes=sum(t.bytes for t in tensors),
        lossless=overhead + sum(t.lossless for t in tensors),
        memory=0,
        tensors=tensors,
    )


def minded(step: float) -> Sensitivity:
    return Sensitivity("linear", 0, 1, 1, 1.0, 1, 1, 0, 0.0, 0.0, step, ())


def gaussian(seed: int, scale: float = 1.0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((ROWS, COLUMNS))
    return (noise * scale).astype(np.float32)


def of(nbytes: int) -> Target:
    return Target(nbytes, "a test")


def test_schemes_follow_what_a_tensor_is() -> None:
    vector = np.ones(300, np.float32)
    broken = gaussian(1)
    broken[0, 0] = np.nan
    given = report(
        facts("matrix", gaussian(0)),
        facts("small", gaussian(0)[:2, :100]),
        facts("bias", vector),
        facts("half", vector.astype(np.float16), "F16"),
        facts("huge", vector * np.float32(1e6)),
        facts("lost", vector, predictions={"fp16": Prediction(16, 1e-3)}),
        facts("broken", broken, predictions={}),
        facts("ids", np.arange(4096).reshape(64, 64), "I64", bounds=()),
        facts("zeros", np.zeros((64, 64), np.float32)),
        facts("wide", gaussian(0).astype(np.float64) * 1e300, "F64", predictions={}),
        facts("tied", gaussian(0), tied="matrix"),
    )
    found = {name: str(scheme) for name, scheme in choose_schemes(given, of(100)).items()}
    assert found == {
        "matrix": "rd", "small": "fp16", "bias": "fp16", "half": "lossless", "huge": "lossless",
        "lost": "lossless", "broken": "lossless", "ids": "lossless", "zeros": "lossless",
        "wide": "lossless",
    }  # fmt: skip


def test_nothing_is_lost_where_nothing_need_be() -> None:
    given = report(facts("matrix", gaussian(0)))
    assert [str(s) for s in choose_schemes(given, of(given.lossless)).values()] == ["lossless"]
    assert [str(s) for s in choose_schemes(given, of(given.lossless - 1)).values()] == ["rd"]
    assert [str(s) for s in choose_schemes(given, None).values()] == ["rd"]


@pytest.mark.parametrize("bits", [0.2, 1.0, 3.0, 8.0])
def test_all_of_the_target_is_spent(bits: float) -> None:
    given = report(facts("a", gaussian(0)), facts("b", gaussian(1, 3.0)))
    nbytes = 100 + int(bits * given.parameters / 8)
    found = forecast(given, choose_schemes(given, of(nbytes)), of(nbytes))
    assert found.nbytes == pytest.approx(nbytes, abs=2)
    assert sum(found.bits.values()) / 2 == pytest.approx(bits, rel=0.01)


def test_without_curvature_four_times_the_scale_takes_one_bit_more() -> None:
    given = report(facts("a", gaussian(0)), facts("b", gaussian(1, 4.0)))
    nbytes = 4 * given.parameters // 8
    bits = forecast(given, choose_schemes(given, of(nbytes)), of(nbytes)).bits
    assert bits["b"] - bits["a"] == pytest.approx(1, abs=0.03)  # steps go by the scale's root


def test_with_curvature_half_the_step_takes_one_bit_more() -> None:
    given = report(
        facts("a", gaussian(0), sensitivity=minded(0.02)),
        facts("b", gaussian(1), sensitivity=minded(0.01)),
        facts("unread", gaussian(2), sensitivity=minded(0.0)),
    )
    nbytes = 4 * given.parameters // 8
    bits = forecast(given, choose_schemes(given, of(nbytes)), of(nbytes)).bits
    assert bits["b"] - bits["a"] == pytest.approx(1, abs=0.03)
    assert min(bits["a"], bits["b"]) - 0.1 < bits["unread"] < bits["b"] + 0.1


@pytest.mark.parametrize("order", ["abc", "acb", "cab", "cba"])
def test_what_has_no_curvature_gets_the_middle_of_the_steps_whatever_their_order(order) -> None:
    steps = {"a": 0.01, "b": 0.02, "c": 0.08}
    given = report(
        facts("unread", gaussian(0), sensitivity=minded(0.0)),
        *(facts(name, gaussian(0), sensitivity=minded(steps[name])) for name in order),
    )
    nbytes = 4 * given.parameters // 8
    bits = forecast(given, choose_schemes(given, of(nbytes)), of(nbytes)).bits
    assert bits["unread"] == pytest.approx(bits["b"], abs=1e-6)


def test_equal_tensors_are_paid_for_once() -> None:
    given = report(facts("a", gaussian(0)), facts("b", gaussian(0), equal="a"))
    nbytes = 100 + 2 * ROWS * COLUMNS * 2 // 8
    bits = forecast(given, choose_schemes(given, of(nbytes)), of(nbytes)).bits
    assert bits["b"] == 0
    assert bits["a"] == pytest.approx(4, rel=0.02)


def test_a_size_below_what_does_not_hang_on_the_dial_is_told_with_the_least() -> None:
    given = report(facts("a", gaussian(0)), facts("bias", np.ones(1000, np.float32)))
    least = 100 + 1775  # 3,400 bit-exactly, 13 bits less for each of 1,000
    with pytest.raises(TargetError, match=r"a test \(1,874 bytes\) cannot be met.*1,875") as caught:
        forecast(given, choose_schemes(given, of(least - 1)), of(least - 1))
    assert caught.value.best == least
    found = forecast(given, choose_schemes(given, of(least)), of(least))
    assert found.bits["a"] == pytest.approx(0, abs=1e-3)
    assert math.isfinite(found.nbytes)
