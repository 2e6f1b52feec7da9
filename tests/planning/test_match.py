"""Which rule takes which tensor, and the rules that take none."""

import pytest

from taut.errors import ArgumentError
from taut.io import TensorInfo
from taut.planning import Plan, Resolved, resolve
from taut.scheme import Scheme

INFOS = tuple(
    TensorInfo(name, dtype, shape, 0)
    for name, dtype, shape in [
        ("embed.ids", "I64", (1, 512)),
        ("embed.word.weight", "F32", (100, 64)),
        ("layer.0.dense.weight", "F32", (64, 64)),
        ("layer.0.dense.bias", "F32", (64,)),
        ("layer.0.LayerNorm.weight", "F32", (64,)),
        ("layer.1.dense.weight", "BF16", (64, 64)),
        ("head.weight", "F32", (100, 64)),
    ]
)
TIED = {"head.weight": "embed.word.weight"}


def plan(*rules: tuple[str, str]) -> Plan:
    return Plan(rules=[{"match": match, "scheme": scheme} for match, scheme in rules])  # type: ignore[arg-type]


def taken(*rules: tuple[str, str]) -> dict[str, tuple[str, int]]:
    found = resolve(plan(*rules), INFOS, TIED)
    return {name: (str(r.scheme), r.rule) for name, r in found.items() if r is not None}


def test_the_first_rule_wins_and_tied_tensors_are_not_asked() -> None:
    assert taken(("layer.1.*", "rd:4"), ("re:.*Norm.*", "fp16"), ("*", "rd")) == {
        "embed.word.weight": ("rd", 3),
        "layer.0.dense.weight": ("rd", 3),
        "layer.0.LayerNorm.weight": ("fp16", 2),
        "layer.1.dense.weight": ("rd:4", 1),
    }


def test_what_no_rule_takes_is_none() -> None:
    found = resolve(plan(("layer.0.dense.weight", "rd")), INFOS, TIED)
    assert found.pop("layer.0.dense.weight") == Resolved(Scheme("rd"), 1.0, 1)
    assert set(found) == {info.name for info in INFOS} - {"layer.0.dense.weight", "head.weight"}
    assert set(found.values()) == {None}


def test_a_weight_goes_with_its_rule() -> None:
    heavy = Plan(rules=[{"match": "*.word.*", "scheme": "rd", "weight": 1.5}])  # type: ignore[arg-type]
    found = resolve(heavy, INFOS, TIED)["embed.word.weight"]
    assert found is not None
    assert found.weight == 1.5


@pytest.mark.parametrize("scheme", ["50%", "2:4", "int8", "rd:3", "50%+int8"])
def test_a_pattern_prunes_and_rounds_matrices_alone(scheme: str) -> None:
    assert taken(("*", scheme)).keys() == {
        "embed.word.weight",
        "layer.0.dense.weight",
        "layer.1.dense.weight",
    }


@pytest.mark.parametrize("scheme", ["keep", "lossless"])
def test_what_loses_nothing_is_for_every_tensor(scheme: str) -> None:
    assert taken(("*", scheme)).keys() == {info.name for info in INFOS} - TIED.keys()


def test_a_tensor_named_in_full_is_taken_whatever_it_is() -> None:
    assert taken(("layer.0.dense.bias", "50%")) == {"layer.0.dense.bias": ("50%", 1)}


def test_a_pattern_leaves_what_its_scheme_is_not_for_to_later_rules() -> None:
    found = taken(("*", "rd"), ("*.bias", "fp16"), ("embed.ids", "keep"))
    assert found["layer.0.dense.bias"] == ("fp16", 2)
    assert found["embed.ids"] == ("keep", 3)
    assert "embed.ids" not in taken(("*", "fp16"))
    assert set(taken(("*", "lossless"))) == {i.name for i in INFOS} - set(TIED)


def test_a_full_name_is_meant() -> None:
    assert taken(("layer.0.dense.bias", "rd:8")) == {"layer.0.dense.bias": ("rd:8", 1)}


def test_patterns_match_the_whole_name_and_case() -> None:
    for match in ("layer.0", "dense*", "re:layer[.]0", "*layernorm*"):
        with pytest.raises(ArgumentError, match="matches no tensor"):
            taken((match, "fp16"))


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            [("*", "rd"), ("layr.1.dense.weight", "rd")],
            'plan: rule 2 ("layr.1.dense.weight") matches no tensor; nearest: layer.1.dense.weight',
        ),
        ([("lyaer.0.dense.*", "rd")], "nearest: layer.0.dense.bias"),
        ([("head.*", "rd")], '"head.weight" is tied to "embed.word.weight"; give the scheme there'),
        (
            [("*", "rd"), ("layer.*.weight", "rd:4")],
            'plan: rule 2 ("layer.*.weight") decides nothing: all its 2 tensors went to rule 1 '
            '("*") before; move it up',
        ),
        (
            [("layer.0.*", "rd"), ("layer.1.*", "rd"), ("layer.*.dense.weight", "rd:4")],
            'went to rules 1 ("layer.0.*"), 2 ("layer.1.*") before',
        ),
        ([("embed.*", "lossless"), ("embed.word.weight", "rd")], "its one tensor went to rule 1"),
        (
            [("*.bias", "rd")],
            'rule 1 ("*.bias") matches no tensor that scheme rd is for (float matrices of 1,024 '
            'values): "layer.0.dense.bias" is F32 [64]; name a tensor in full if it is meant',
        ),
        ([("*.ids", "fp16")], 'is for (floats): "embed.ids" is I64 [1, 512]'),
    ],
)
def test_a_rule_that_takes_nothing_is_an_error(rules: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        taken(*rules)
    assert message in str(caught.value)


def test_a_model_without_tensors_has_no_nearest() -> None:
    with pytest.raises(ArgumentError, match=r"matches no tensor$"):
        resolve(plan(("*", "rd")), (), {})
