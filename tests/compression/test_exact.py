"""Sizes that leave room: nothing is lost that need not be, and tiny and odd models meet them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import taut
from taut.compression import Result
from taut.errors import ArgumentError, TargetError


def matrix(dtype: str = "f4", side: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((side, side)).astype(dtype)


def vector(size: int) -> np.ndarray:
    return np.random.default_rng(size).standard_normal(size).astype("f4")


def mask(value: float, dtype: str = "f4") -> np.ndarray:
    return np.triu(np.full((128, 128), value, np.float32), 1).astype(dtype)


MASKED = {
    "finite": {"w": matrix(), "b": vector(64), "mask": mask(-1e4)},
    "halves": {"w": matrix("f2"), "mask": mask(-1e4, "f2")},
    "ones": {"w": matrix(), "mask": 1 - mask(1.0)},
    "lowest": {"w": matrix(), "mask": mask(np.finfo(np.float32).min)},
}


def compressed(model: dict[str, np.ndarray], path: Path, **said: object) -> Result:
    result = taut.compress(model, path / "x", force=True, threads=1, **said)  # type: ignore[arg-type]
    back = taut.load(path / "x")
    for tensor in result.tensors:
        exact = np.array_equal(np.asarray(back[tensor.name]), model[tensor.name])
        assert exact or tensor.scheme not in ("lossless", "keep")
    return result


@pytest.mark.parametrize("model", MASKED)
@pytest.mark.parametrize("size", ["2x", "8x", "16x", "40x"])
def test_a_mask_among_few_weights_is_exact_and_any_size_is_met(
    model: str, size: str, tmp_path: Path
) -> None:
    result = compressed(MASKED[model], tmp_path, size=size)
    assert result.ratio >= float(size[:-1])
    (found,) = (tensor for tensor in result.tensors if tensor.name == "mask")
    assert found.rel_mse == 0.0


def test_a_matrix_of_three_values_is_rounded_where_its_bits_have_no_room(tmp_path: Path) -> None:
    few = np.random.default_rng(0).integers(-1, 2, (128, 128)).astype("f4")
    result = compressed({"few": few, "w": matrix(side=256)}, tmp_path, bits=0.3)
    assert {tensor.scheme for tensor in result.tensors} == {"rd"}


@pytest.mark.parametrize("rules", [None, [{"match": "*", "scheme": "rd"}]])
@pytest.mark.parametrize("size", ["1.05x", "1.3x", "2x"])
def test_a_generous_size_is_met_by_losing_as_little_as_can_be(
    rules: list[dict[str, str]] | None, size: str, tmp_path: Path
) -> None:
    model = {"w": matrix(side=32), "b": vector(3000), "mask": mask(-1e38)}
    plan = None if rules is None else taut.planning.Plan.model_validate({"rules": rules})
    result = compressed(model, tmp_path, size=size, plan=plan)
    assert result.tensors[0].name == "w" and result.tensors[0].scheme == "lossless"


def test_doubles_are_rounded_at_the_finest_step_where_a_size_has_room_for_more(
    tmp_path: Path,
) -> None:
    result = compressed({"w": matrix("f8"), "v": matrix("f8", seed=1)}, tmp_path, bits=45)
    assert result.bits <= 45
    assert all(tensor.rel_mse < 1e-13 for tensor in result.tensors)


def test_vectors_alone_are_halves_where_that_is_small_enough(tmp_path: Path) -> None:
    model = {"a": vector(64), "b": vector(5000)}
    result = compressed(model, tmp_path, size="2x")
    assert {tensor.scheme for tensor in result.tensors} == {"fp16"}
    with pytest.raises(TargetError, match="no float matrix"):
        taut.compress(model, tmp_path / "y", size="4x")
    assert not (tmp_path / "y").exists()


@pytest.mark.parametrize("preset", ["server", "edge"])
@pytest.mark.parametrize("model", MASKED)
def test_presets_take_masks(model: str, preset: str, tmp_path: Path) -> None:
    result = compressed(MASKED[model], tmp_path, plan=preset)
    assert result.ratio > 2


@pytest.mark.parametrize("bits", [0.5, 3, 30])
def test_bits_of_their_own_never_put_an_end_to_masks_zeros_and_handfuls(
    bits: float, tmp_path: Path
) -> None:
    model = {**MASKED["finite"], "zeros": np.zeros((64, 64), "f4"), "ones": np.ones((64, 64), "f4")}
    plan = taut.planning.Plan.model_validate({"rules": [{"match": "*", "scheme": f"rd:{bits}"}]})
    result = compressed(model, tmp_path, plan=plan)
    schemes = {tensor.name: tensor.scheme for tensor in result.tensors}
    assert schemes["mask"] == schemes["zeros"] == schemes["ones"] == "lossless"
    assert schemes["w"] == f"rd:{bits:g}"
    assert next(tensor for tensor in result.tensors if tensor.name == "w").bits < bits + 1


def test_bits_that_would_leave_nothing_but_zeros_are_refused(tmp_path: Path) -> None:
    few = np.random.default_rng(0).integers(-1, 2, (64, 64)).astype("f4")
    with pytest.raises(ArgumentError, match=r'"w": rd:0.3 leaves nothing but zeros'):
        taut.compress({"w": few}, tmp_path / "y", plan={"w": "rd:0.3"})
    assert not (tmp_path / "y").exists()
