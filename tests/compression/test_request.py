"""From what a caller asks to schemes and targets, before anything is worked on."""

from __future__ import annotations

import numpy as np
import pytest

from taut.compression.exact import decide
from taut.compression.origin import origin_of
from taut.compression.request import Call, read_call, target_of
from taut.errors import ArgumentError, TargetError
from taut.io import open_source
from taut.io.source import parameters_of
from taut.planning import Goal, Plan, Rule
from taut.scheme import parse_scheme


@pytest.fixture
def source(rng):
    arrays = {
        "h.0.w": rng.standard_normal((64, 64)).astype(np.float32),
        "h.1.w": rng.standard_normal((64, 64)).astype(np.float32),
        "b": np.ones(64, np.float32),
    }
    return open_source(arrays)


def rule(match, scheme, weight=1.0):
    return Rule(match=match, scheme=parse_scheme(scheme), weight=weight)


def test_without_a_plan_all_is_lossless_and_nothing_is_fixed(source):
    asked = read_call(source, Call())
    assert {str(scheme) for scheme in asked.schemes.values()} == {"lossless"}
    assert not asked.fixed


def test_a_plans_target_serves_where_the_call_has_none(source):
    plan = Plan(target=Goal(bits=3.0, max_drop="1%"), effort="fast", seed=7, finish=False)
    call = read_call(source, Call(plan=plan)).call
    assert (call.bits, call.max_drop) == (3.0, "1%")
    assert (call.effort, call.seed, call.finish) == ("fast", 7, False)


def test_what_the_call_says_itself_comes_first(source):
    plan = Plan(target=Goal(bits=3.0), effort="fast", seed=7, finish=False)
    call = read_call(source, Call(plan=plan, size="4x", effort="max", seed=1, finish=True)).call
    assert (call.bits, call.size) == (None, "4x")
    assert (call.effort, call.seed, call.finish) == ("max", 1, True)


def test_rules_fix_what_they_name_and_weigh_it(source):
    plan = Plan(rules=(rule("h.0.*", "rd", 2.0), rule("b", "keep")))
    asked = read_call(source, Call(plan=plan))
    assert set(asked.fixed) == {"h.0.w", "b"}
    assert asked.gains == {"h.0.w": 2.0}
    assert {name: str(scheme) for name, scheme in asked.schemes.items()} == {
        "h.0.w": "rd",
        "h.1.w": "lossless",
        "b": "keep",
    }


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ({"h.0.v": "rd"}, "nearest: h.0.w"),
        (Plan(rules=(rule("x.*", "rd"),)), "matches no tensor"),
        (5, "a int"),
        ("none.yaml", "none.yaml"),
    ],
)
def test_a_plan_that_does_not_fit_is_told(source, plan, told):
    with pytest.raises(ArgumentError, match=told):
        read_call(source, Call(plan=plan))


def test_an_unknown_effort_is_told(source):
    with pytest.raises(ArgumentError, match="effort"):
        read_call(source, Call(effort="most"))


def decided(source, **words):
    return decide(source, read_call(source, Call(**words)), origin_of(source))


def test_a_size_that_lossless_meets_loses_nothing(source):
    decision = decided(source, size="70%")
    assert decision.quantize is not None  # noise takes 85 % without loss
    zeros = open_source({"w": np.zeros((64, 64), np.float32)})
    assert decided(zeros, size="50%").quantize is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"max_drop": "1%"}, r"max_drop \(--max-drop\): goes with calibration data"),
        ({"score": float}, "score: goes with calibration data"),
        ({"plan": {"h.0.w": "rd"}}, "rd needs bits or size"),
        ({"bits": 3, "size": "4x"}, "either bits or size"),
    ],
)
def test_what_does_not_go_together_is_told(source, words, told):
    with pytest.raises(ArgumentError, match=told):
        decided(source, **words)


@pytest.mark.parametrize("words", [{}, {"size": "2x"}])
def test_a_scheme_that_does_not_fit_is_told_before_any_tensor_is_read(rng, monkeypatch, words):
    arrays = {f"w{i}": rng.standard_normal((64, 60)).astype(np.float32) for i in range(3)}
    source = open_source(arrays)
    monkeypatch.setattr(type(source), "load", lambda *_: pytest.fail("a tensor was read"))
    with pytest.raises(ArgumentError, match=r'tensor "w2": .* 60'):
        decided(source, plan={"w2": "int4:g7"}, **words)


def test_a_model_without_matrices_cannot_be_lossy(rng):
    # Noise, as else it would be small enough without loss.
    vectors = open_source({"b": rng.standard_normal(4000).astype(np.float32)})
    with pytest.raises(TargetError, match="no float matrix"):
        decided(vectors, bits=2)


def test_targets_are_in_bytes_of_all_parameters(source):
    assert parameters_of(source) == 2 * 64 * 64 + 64
    assert target_of(source, Call(bits=3)).nbytes == 3 * (2 * 64 * 64 + 64) // 8
    assert target_of(source, Call(size="4x")).nbytes == source.nbytes // 4
    assert target_of(source, Call()) is None
