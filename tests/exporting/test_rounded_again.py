"""What an export says of tensors that were rounded before it: by name, or by their count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.attacks.forge import Forgery

import taut
from taut.container import TautFile
from taut.exporting.rounded_again import counted_note, rounding_notes


@pytest.fixture
def file(tmp_path, rng) -> TautFile:
    arrays = {name: rng.standard_normal((8, 32)).astype(np.float32) for name in "abc"}
    plan = {"a": "int8", "b": "int4:g32"}
    return TautFile(taut.compress(arrays, tmp_path / "f", plan=plan).path)


def test_those_whose_integers_are_kept_are_told_from_the_others(file):
    kept, again = rounding_notes(file, ["a", "b", "c"], {"a"})
    assert kept.startswith("1 tensor (a) is written with the integers of the Taut file")
    assert again.startswith("1 tensor (b) is rounded once more")
    assert rounding_notes(file, ["c"]) == []  # it was lossless: no score knew it otherwise
    assert rounding_notes(file, []) == []


def test_weights_of_a_graph_are_told_by_their_count(file, tmp_path, rng):
    [note] = counted_note(file, 3)
    assert note.startswith("3 weights are rounded for this format, and 2 tensors of the Taut file")
    assert counted_note(file, 0) == []
    exact = taut.compress({"c": rng.standard_normal(9)}, tmp_path / "exact")
    assert counted_note(TautFile(exact.path), 3) == []


def test_a_scheme_of_a_later_version_is_one_that_rounds(tmp_path: Path) -> None:
    """A reader needs no scheme (docs/format.md): the export is written, and says the same of it."""
    model = {"w": np.linspace(-1, 1, 6400, dtype=np.float32).reshape(80, 80)}
    path = tmp_path / "net.taut.safetensors"
    taut.compress(model, path, plan={"w": "int8"})
    forgery = Forgery.of(path.read_bytes())
    for scheme in ("", "later:7", "int8"):
        forgery.record("w")["scheme"] = scheme
        path.write_bytes(forgery.signed())
        notes = taut.export(path, tmp_path / "out.safetensors", dtype="bfloat16", force=True).notes
        assert any("1 tensor (w) is rounded once more" in note for note in notes), scheme
