"""A pattern passes by matrices that its groups do not divide, and one note counts them."""

from pathlib import Path

import numpy as np
import pytest

import taut
from taut.errors import ArgumentError


@pytest.fixture
def odd(rng) -> dict[str, np.ndarray]:
    """Matrices of 172, 25 and 64 columns, a convolution of 27, and a bias."""
    shapes = {"a": (64, 172), "b": (64, 25), "c": (64, 64), "d": (64, 3, 3, 3), "e": (172,)}
    return {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}


def written(folder: Path, text: str) -> Path:
    """A plan's file."""
    path = folder / "plan.yaml"
    path.write_text(f"taut: 1\n{text}\n")
    return path


@pytest.mark.parametrize(
    ("scheme", "taken"), [("int4:g32", ["c"]), ("2:4", ["a", "c"]), ("2:4+int4:g32", ["c"])]
)
@pytest.mark.parametrize("pattern", ["'*'", "'re:[a-z]'", "'[a-d]'"])
def test_the_rest_goes_on_as_if_there_were_no_plan(tmp_path, odd, pattern, scheme, taken):
    plan = written(tmp_path, f"rules: [{{match: {pattern}, scheme: '{scheme}'}}]")
    made = taut.compress(odd, tmp_path / "x", plan=plan)
    schemes = {one.name: one.scheme for one in made.tensors}
    assert [name for name, scheme in schemes.items() if scheme != "lossless"] == taken
    (note,) = made.notes
    passed = [name for name in "abd" if name not in taken]
    count = "matrices" if len(passed) > 1 else "matrix"
    assert f"{len(passed)} {count}" in note
    assert f'"{passed[0]}" has {odd[passed[0]][0].size}' in note
    found = taut.load(tmp_path / "x")
    assert all(np.array_equal(found[name], odd[name]) for name in passed)


def test_later_rules_and_a_size_take_what_was_passed_by(tmp_path, odd):
    rules = "rules: [{match: '*', scheme: int4:g32}, {match: '*', scheme: int8}]"
    made = taut.compress(odd, tmp_path / "x", plan=written(tmp_path, rules))
    assert [one.scheme for one in made.tensors] == ["int8", "int8", "int4:g32", "int8", "lossless"]
    rules = "rules: [{match: '*', scheme: int4:g32}]"
    made = taut.compress(odd, tmp_path / "y", plan=written(tmp_path, rules), bits=5)
    assert [one.scheme for one in made.tensors] == ["rd", "rd", "int4:g32", "rd", "fp16"]


def test_a_tensor_named_in_full_is_meant(tmp_path, odd):
    plan = written(tmp_path, "rules: [{match: a, scheme: int4:g32}]")
    with pytest.raises(ArgumentError, match="group of 32 does not divide 172 columns"):
        taut.compress(odd, tmp_path / "x", plan=plan)
    with pytest.raises(ArgumentError, match="group of 32 does not divide 172 columns"):
        taut.compress(odd, tmp_path / "x", plan={"a": "int4:g32"})
    assert not (tmp_path / "x").exists()


def test_a_pattern_that_divides_nothing_is_refused(tmp_path, odd):
    plan = written(tmp_path, "rules: [{match: '[ab]', scheme: int4:g32}]")
    with pytest.raises(ArgumentError, match=r'the 172 columns of "a", nor those of 1 more'):
        taut.compress(odd, tmp_path / "x", plan=plan)


def test_a_mask_as_a_step_passes_by_them_too(tmp_path, odd):
    plan = written(tmp_path, "rules: [{match: c, scheme: int8}]\nsteps: [mask: {n_of_m: '2:4'}]")
    made = taut.compress(odd, tmp_path / "x", plan=plan)
    schemes = {one.name: one.scheme for one in made.tensors}
    assert schemes == {
        "a": "2:4",
        "b": "lossless",
        "c": "2:4+int8",
        "d": "lossless",
        "e": "lossless",
    }
    assert "the step mask" in made.notes[0]
    assert "2 matrices" in made.notes[0]
