"""Few rules that say the same as many."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.io import TensorInfo
from taut.planning import Plan, resolve
from taut.planning.collapse import collapse
from taut.scheme import Scheme

EXACT, DIAL, HALF = Scheme(), Scheme("rd"), Scheme("fp16")


def rules(schemes: dict[str, Scheme]) -> list[tuple[str, str]]:
    return [(rule.match, str(rule.scheme)) for rule in collapse(schemes)]


def decided(schemes: dict[str, Scheme]) -> dict[str, Scheme]:
    """What the rules say of tensors that are fit for the schemes."""
    infos = [
        TensorInfo(name, "F32", shape := (64, 64) if scheme == DIAL else (9,), 4 * math.prod(shape))
        for name, scheme in schemes.items()
    ]
    found = resolve(Plan(rules=collapse(schemes)), infos, {})
    return {name: one.scheme for name, one in found.items() if one is not None}


def test_layers_share_a_rule_and_single_tensors_keep_their_names() -> None:
    schemes = {"embed.weight": DIAL}
    for layer in range(3):
        for name, scheme in (("q.weight", DIAL), ("o.weight", DIAL), ("norm.weight", HALF)):
            schemes[f"layer.{layer}.{name}"] = scheme
    assert rules(schemes) == [
        ("embed.weight", "rd"),
        ("layer.*.q.weight", "rd"),
        ("layer.*.o.weight", "rd"),
        ("*.norm.weight", "fp16"),
    ]


def test_numbers_inside_words_count_too() -> None:
    schemes = {f"layer{i}.{j}.conv{k}.w": DIAL for i in (1, 2) for j in (0, 1) for k in (1, 2)}
    assert rules(schemes | {"fc.b": HALF}) == [("layer*.*.conv*.w", "rd"), ("fc.b", "fp16")]


def test_one_layer_unlike_the_others_breaks_a_glob_up() -> None:
    schemes = {f"h.{i}.w": DIAL for i in range(3)} | {"h.1.w": EXACT}
    assert rules(schemes) == [("h.0.w", "rd"), ("h.1.w", "lossless"), ("h.2.w", "rd")]


def test_one_scheme_for_all_is_one_rule() -> None:
    assert rules({"a": EXACT, "b.c": EXACT}) == [("*", "lossless")]
    assert rules({"a": DIAL}) == [("a", "rd")]
    assert rules({}) == []


@pytest.mark.parametrize("name", ["w[0]", "a*b", "re:x", "what?"])
def test_names_that_look_like_patterns_are_taken_at_their_word(name: str) -> None:
    schemes = {name: DIAL, "w0": HALF, "axb": HALF, "x": EXACT}
    assert decided(schemes) == schemes


_PARTS = st.sampled_from(["h", "0", "1", "10", "conv1", "conv2", "w", "b", "[", "*"])
_NAMES = st.lists(_PARTS, min_size=1, max_size=4).map(".".join)


@given(st.dictionaries(_NAMES, st.sampled_from([EXACT, DIAL, HALF]), max_size=12))
def test_rules_decide_every_tensor_as_it_was_meant(schemes: dict[str, Scheme]) -> None:
    assert decided(schemes) == schemes
    assert len(collapse(schemes)) <= len(schemes)


def test_many_layers_take_few_rules_and_little_time() -> None:
    kinds = [f"part{k}.weight" for k in range(8)]
    schemes = {f"model.layers.{i}.{kind}": DIAL for i in range(500) for kind in kinds}
    schemes |= {f"model.layers.{i}.norm.bias": HALF for i in range(500)}
    assert rules(schemes) == [("model.layers.*.part*.weight", "rd"), ("*.bias", "fp16")]
