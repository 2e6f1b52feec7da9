"""Sizes foreseen from samples, beside those of the files that come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import taut
from taut.compression.foreseen import Result
from taut.encoding.estimate import estimate_tensors
from taut.encoding.model import resolve_plan
from taut.io import open_source
from taut.io.safetensors import SafetensorsSource

Arrays = dict[str, np.ndarray]


def noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (0.05 * rng.standard_normal(shape)).astype(np.float32)


def foreseen_and_come(
    model: Arrays | Path, file: Path, plan: dict[str, str] | None = None
) -> tuple[int, Result]:
    """The estimated size, and the result of the compression; tensors agree within 2 %."""
    source = open_source(model)
    reports, size = estimate_tensors(source, resolve_plan(source, plan), "fast")
    result = taut.compress(model, file, plan=plan, effort="fast")
    for told, came in zip(reports, result.tensors, strict=True):
        assert (told.name, told.scheme) == (came.name, came.scheme)
        assert told.bytes == pytest.approx(came.bytes, rel=0.02, abs=8)
    return size, result


def test_small_tensors_are_foreseen_to_the_byte(tmp_path: Path, rng: np.random.Generator) -> None:
    """What is coded whole is laid out as it will be: packs, groups and names are not guessed."""
    arrays = {f"layer.{i}.w": noise(rng, 48, 64) for i in range(12)}
    arrays |= {f"layer.{i}.b": noise(rng, 48) for i in range(12)}
    plan = {f"layer.{i}.w": "int4" for i in range(12)}
    size, result = foreseen_and_come(arrays, tmp_path / "a", plan)
    assert size == result.size


def test_a_files_own_header_counts(tmp_path: Path, rng: np.random.Generator) -> None:
    model = tmp_path / "m.safetensors"
    save_file({f"t{i}": noise(rng, 10) for i in range(200)}, model, {"note": "kept " * 99})
    size, result = foreseen_and_come(model, tmp_path / "a")
    assert size == result.size


@pytest.mark.parametrize("scheme", ["lossless", "keep", "fp16", "ternary", "int8"])
def test_large_tensors_are_foreseen_from_a_sample(
    scheme: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    arrays = {"big": noise(rng, 1200, 256), "other": noise(rng, 700, 256), "b": noise(rng, 30)}
    plan = {"big": scheme, "other": scheme}
    size, result = foreseen_and_come(arrays, tmp_path / "a", plan)
    assert size == pytest.approx(result.size, rel=0.02)


def test_tied_tensors_count_once(tmp_path: Path, rng: np.random.Generator) -> None:
    w = noise(rng, 64, 64)
    size, result = foreseen_and_come({"head": w, "embed": w}, tmp_path / "a")
    assert size == result.size < 1.1 * w.nbytes


@pytest.mark.parametrize("options", [{}, {"bits": 4, "effort": "fast"}], ids=["exact", "lossy"])
def test_a_dry_run_loads_no_large_tensor(
    tmp_path: Path,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, object],
) -> None:
    model = {name: rng.standard_normal((2048, 512)).astype(np.float32) for name in "ab"}
    save_file(model, tmp_path / "net.safetensors")
    real = taut.compress(tmp_path / "net.safetensors", tmp_path / "small", **options)
    for way in ("load", "view"):
        monkeypatch.setattr(SafetensorsSource, way, lambda self, name: 1 / 0)
    told = taut.compress(tmp_path / "net.safetensors", dry_run=True, **options)
    assert abs(told.size / real.size - 1) < 0.02
