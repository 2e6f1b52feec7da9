"""Tensors that no scheme can round stay bit-exact with a note, in every lossy way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import taut
from taut.compression.held_exact import hold_exact
from taut.compression.request import Asked, Call, read_call
from taut.errors import ArgumentError, TargetError
from taut.io import open_source
from taut.planning import Plan
from taut.scheme import Scheme

INF = np.float32(np.inf)
LOWEST = np.finfo(np.float32).min


def matrix(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((64, 64)).astype("f4")


def with_value(value: float) -> np.ndarray:
    found = matrix(9)
    found[3, 5] = value
    return found


ODD = {
    "infinite": np.triu(np.full((64, 64), -INF), 1),
    "nan": np.full((64, 64), np.nan, np.float32),
    "lowest": np.triu(np.full((64, 64), LOWEST), 1),
    "half_lowest": np.triu(np.full((64, 64), -65504, np.float16), 1),
    "far": with_value(1e12),
    "tiny": matrix(8) * np.float32(1e-41),
}
BEYOND = {"double": matrix(7).astype("f8") * 1e300, "faint": matrix(6).astype("f8") * 1e-60}
EVEN = {
    "whole": np.arange(4096).reshape(64, 64),
    "yes": np.ones((64, 64), bool),
    "complex": matrix().astype(np.complex64),
    "empty": np.empty((0, 64), np.float32),
    "scalar": np.array(np.nan, np.float32),
}


def asked(model: object, **said: object) -> Asked:
    source = open_source(model)  # type: ignore[arg-type]
    return hold_exact(source, read_call(source, Call(**said)))  # type: ignore[arg-type]


def everything(scheme: str) -> Plan:
    return Plan.model_validate({"rules": [{"match": "*", "scheme": scheme}]})


@pytest.mark.parametrize("said", [{"bits": 4}, {"size": "8x"}, {"plan": everything("rd")}])
def test_only_what_cannot_be_rounded_is_held_under_the_dial(said: dict[str, object]) -> None:
    found = asked({"w": matrix(), **ODD, **EVEN}, **said)
    assert set(found.held) == set(ODD)
    assert all(found.schemes[name] == Scheme() for name in ODD)
    (note,) = found.notes
    assert '"infinite": 2,016 of its values are infinite' in note
    assert '"nan": 4,096 of its values are NaN' in note
    assert "and 3 more" in note


@pytest.mark.parametrize(
    ("scheme", "held"),
    [
        ("int8", {"infinite", "nan", "lowest", "half_lowest", "tiny", "double", "faint"}),
        ("int4:g32", {"infinite", "nan", "lowest", "half_lowest", "tiny", "double", "faint"}),
        ("fp8", {"infinite", "nan", "lowest", "half_lowest", "tiny", "double", "faint"}),
        ("fp16", {"infinite", "nan", "lowest", "far", "scalar", "tiny", "double", "faint"}),
        ("50%", {"infinite", "nan", "double", "faint"}),
        ("2:4", {"infinite", "nan", "double", "faint"}),
        ("lossless", set()),
        ("keep", set()),
    ],
)
def test_a_pattern_leaves_them_lossless(scheme: str, held: set[str]) -> None:
    model = {"w": matrix(), **ODD, **BEYOND, "scalar": EVEN["scalar"]}
    assert set(asked(model, plan=everything(scheme)).held) == held


@pytest.mark.parametrize("scheme", ["50%", "2:4", "fp16", "int8", "rd:4"])
@pytest.mark.parametrize("name", BEYOND)
def test_what_float32_does_not_hold_is_an_error_where_it_is_named(name: str, scheme: str) -> None:
    with pytest.raises(ArgumentError, match=f'"{name}".*largest value'):
        asked({"w": matrix(), **BEYOND}, plan={name: scheme})


def test_other_notes_of_the_plan_stay() -> None:
    model = {"w": matrix(), "mask": ODD["nan"], "odd": np.ones((64, 25), np.float32)}
    found = asked(model, plan=everything("int4:g32"))
    assert '"mask"' in found.notes[-1]
    assert any("int4:g32" in note for note in found.notes[:-1])


@pytest.mark.parametrize("name", ODD)
def test_a_tensor_named_in_full_is_an_error(name: str) -> None:
    rules = Plan.model_validate({"rules": [{"match": name, "scheme": "rd:4"}]})
    for plan in ({name: "rd:4"}, rules):
        with pytest.raises(ArgumentError, match=f'"{name}"') as caught:
            asked({"w": matrix(), **ODD}, plan=plan)
        assert "lossless" in str(caught.value)


def test_values_far_apart_are_held_only_where_steps_go_by_the_scale() -> None:
    model = {"w": matrix(), "far": ODD["far"]}
    assert set(asked(model, bits=4).held) == {"far"}
    assert not asked(model, bits=4, calib=[]).held
    assert not asked(model, bits=4, train=[]).held


def test_vectors_are_looked_at_only_where_they_are_rounded() -> None:
    model = {"w": matrix(), "bias": np.array([1, np.inf, np.nan] * 9, np.float32)}
    assert not asked(model, bits=4).held
    assert set(asked(model, bits=4, train=[]).held) == {"bias"}
    assert not asked(model).notes


def test_the_file_holds_the_very_bits_and_the_rest_is_rounded(tmp_path: Path) -> None:
    model = {f"w{n}": matrix(n) for n in range(8)} | {"mask": ODD["infinite"]}
    result = taut.compress(model, tmp_path / "x", bits=6, effort="fast")
    schemes = {tensor.name: tensor.scheme for tensor in result.tensors}
    assert schemes["mask"] == "lossless" and schemes["w0"].startswith("rd")
    assert any('"mask"' in note for note in result.notes)
    assert np.array_equal(taut.load(tmp_path / "x")["mask"], ODD["infinite"])


def test_a_plan_made_of_a_report_does_not_ask_for_what_cannot_be(tmp_path: Path) -> None:
    model = {f"w{n}": matrix(n) for n in range(8)} | ODD
    plan = taut.plan(model, bits=16)
    taut.compress(model, tmp_path / "x", plan=plan, bits=16, effort="fast")


def test_a_sweep_leaves_them_out_and_says_so() -> None:
    model = {"w": matrix(), "mask": ODD["infinite"]}
    found = taut.frontier(model, bits=[6], schemes=["int8"])
    assert not found.missed
    assert any('"mask"' in note for note in found.notes)
    with pytest.raises(ArgumentError, match="NaN"):
        taut.frontier({"w": ODD["nan"]}, bits=[4])


def test_a_size_that_they_put_out_of_reach_names_them() -> None:
    with pytest.raises(TargetError, match=r'"mask": 1 of its values is NaN') as caught:
        taut.compress({"w": matrix(), "mask": with_value(np.nan)}, bits=2, dry_run=True)
    assert caught.value.best is not None


def test_a_mask_of_two_values_costs_next_to_nothing(tmp_path: Path) -> None:
    for name in ("lowest", "half_lowest"):
        model = {"w": matrix(), "mask": ODD[name]}
        result = taut.compress(model, tmp_path / "x", bits=4, force=True)
        (mask,) = (tensor for tensor in result.tensors if tensor.name == "mask")
        assert (mask.scheme, mask.rel_mse) == ("lossless", 0.0)
        assert mask.bytes < 200
        assert taut.load(tmp_path / "x")["mask"].tobytes() == ODD[name].tobytes()


def test_a_model_of_nothing_else_is_an_error_that_names_it() -> None:
    with pytest.raises(ArgumentError, match='"w" has the value nan'):
        taut.compress({"w": with_value(np.nan), "b": np.ones(3)}, bits=1, dry_run=True)
    fits = taut.compress({"w": ODD["nan"], "b": np.ones(3)}, bits=1, dry_run=True)
    assert fits.tensors[0].scheme == "lossless"
    assert asked({"w": ODD["nan"]}, plan=everything("int8")).held == {"w"}
