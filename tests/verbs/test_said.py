"""What is asked of a verb may be said as people say it; what means nothing is told before work."""

import io

import numpy as np
import pytest

import taut
from taut.errors import ArgumentError
from taut.planning import Plan, Rule
from taut.scheme import Scheme


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(64, 64)).astype("f4") for name in ("a.w", "b.w")} | {
        "a.b": np.ones(64, "f4")
    }


def schemes(weights, **asked):
    found = taut.compress(weights, io.BytesIO(), **asked)
    return [tensor.scheme for tensor in found.tensors]


@pytest.mark.parametrize("bits", ["3", 3, 3.0, np.float32(3), " 3.0 "])
def test_bits_are_a_number_however_they_are_written(weights, bits):
    found = taut.compress(weights, io.BytesIO(), bits=bits)
    assert found.bits == pytest.approx(3, rel=0.01) and found.bits <= 3


@pytest.mark.parametrize("ratio", [6, "6", "6x", 6.0, np.int64(6)])
def test_a_ratio_is_how_many_times_smaller(weights, ratio):
    assert taut.compress(weights, io.BytesIO(), ratio=ratio).ratio == pytest.approx(6, rel=0.01)


@pytest.mark.parametrize("scheme", ["int8", Scheme("int8"), " int8"])
def test_a_scheme_is_for_all_matrices(weights, scheme):
    assert schemes(weights, scheme=scheme) == ["int8", "int8", "lossless"]


@pytest.mark.parametrize(
    "plan",
    [
        {"*": "int4:g64", "b.w": "int8", "a.b": "fp16"},  # names go before patterns
        {"b.w": Scheme("int8"), "a.b": "fp16", "re:a[.]w": "int4:g64"},
        {"rules": [{"match": "b.w", "scheme": "int8"}, {"match": "a.b", "scheme": "fp16"},
                   {"match": "*", "scheme": "int4:g64"}]},
        Plan(rules=(Rule(match="b.w", scheme=Scheme("int8")), Rule(match="a.b", scheme="fp16"),
                    Rule(match="*", scheme="int4:g64"))),
    ],
)  # fmt: skip
def test_a_dict_is_a_plan(weights, plan):
    assert schemes(weights, plan=plan) == ["int4:g64", "int8", "fp16"]


def test_a_plan_by_keys_has_a_target(weights):
    found = taut.compress(weights, io.BytesIO(), plan={"taut": 1, "target": {"size": "8x"}})
    assert found.ratio == pytest.approx(8, rel=0.01)


def test_frontier_and_plan_take_the_same_words(weights):
    found = taut.frontier(weights, bits="3", schemes="int8")
    assert [point.name for point in found.points] == ["3 bits", "int8"]
    found = taut.frontier(weights, ratios=[4, "8x"], schemes=[])
    assert [round(point.ratio) for point in found.points] == [8, 4]
    assert taut.plan(weights, ratio=8).target.size == "8x"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"bits": float("nan")}, "bits: nan is not a positive number"),
        ({"bits": "three"}, "bits: 'three' is not a positive number; give 3 or 2.5"),
        ({"bits": True}, "bits: True is not a positive number"),
        ({"bits": [3]}, r"bits: \[3\] is not a positive number"),
        ({"bits": 0}, "bits: 0 is not a positive number"),
        ({"bits": 10**400}, "is not a positive number"),
        ({"ratio": 0}, "ratio: 0 is not a positive number; give 8"),
        ({"ratio": -8}, "ratio: -8 is not a positive number"),
        ({"ratio": 0.5}, "ratio: 0.5 is more than the original"),
        ({"ratio": float("inf")}, "ratio: inf is not a positive number"),
        ({"ratio": "eight"}, "ratio: 'eight' is not a positive number"),
        ({"ratio": 8, "size": "8x"}, "size and ratio say the same thing"),
        ({"ratio": 8, "bits": 4}, "bits and size say the same thing"),
        ({"size": True}, "size: a bool; give a text as 8x"),
        ({"size": 8.5}, r"size: 8.5 is no number of bytes; 8.5x\?"),
        ({"scheme": "int9"}, 'unknown part "int9"; nearest: int8'),
        ({"scheme": 8}, "scheme: 8 is no scheme; give a text"),
        ({"scheme": "int8", "plan": {"a.w": "int8"}}, "plan and scheme both say"),
        ({"plan": 3}, "plan: a int; give a dict"),
        ({"plan": {3: "int8"}}, "plan: 3 is not the name of a tensor"),
        ({"plan": {"a.w": "int9"}}, "nearest: int8"),
        ({"plan": {"a.*": None}}, r'plan: "a.\*": None is no scheme'),
        ({"plan": {"c.*": "int8"}}, "matches no tensor; nearest"),
        ({"plan": {"rules": [], "targets": {}}}, "target"),
        ({"plan": "lossles"}, "lossless"),
        ({"progress": "yes"}, "progress: a str; give True, False, or a function"),
    ],
)
def test_what_means_nothing_is_told(weights, asked, told):
    out = io.BytesIO()
    with pytest.raises(ArgumentError, match=told):
        taut.compress(weights, out, **asked)
    assert out.getvalue() == b""


def test_outputs_are_named_after_the_model(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from safetensors.numpy import save_file

    save_file(weights, "net.safetensors")
    assert str(taut.compress("net.safetensors").path) == "net.taut.safetensors"
    (tmp_path / "net.safetensors").unlink()
    assert str(taut.decompress("net.taut.safetensors").path) == "net.safetensors"
    assert str(taut.report("net.taut.safetensors")) == "net.html"
    with pytest.raises(ArgumentError, match="exists"):
        taut.compress("net.safetensors")
    assert taut.compress("net.safetensors", force=True, bits=4).ratio > 7
