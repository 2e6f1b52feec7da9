"""What a folder holds beside its weights goes along into an exported folder."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import numpy as np
from safetensors.numpy import load_file

import taut
from taut.exporting.companions import companion_notes, copy_companions


def test_all_but_the_weights_is_copied_and_the_config_is_new(tmp_path: Path) -> None:
    source, out = tmp_path / "from", tmp_path / "to"
    for name in (
        "voices/a.pt",
        "vocab.bin",
        "filters.npz",
        "model.taut.safetensors",
        "tf_model.h5",
    ):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(name.encode())
    config = {"quantization_config": {"quant_method": "taut"}, "model_type": "x"}
    (source / "config.json").write_text(json.dumps(config))
    assert copy_companions(source, out, "float16") == {"model_type": "x", "dtype": "float16"}
    copied = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert copied == {"voices/a.pt", "vocab.bin", "filters.npz", "config.json"}
    assert json.loads((out / "config.json").read_text())["dtype"] == "float16"
    (note,) = companion_notes(source)
    assert "tf_model.h5" in note


def test_shards_that_are_exported_are_not_told_as_left_behind(tmp_path: Path) -> None:
    model = {name: np.ones((64, 64), np.float32) * n for n, name in enumerate("abc")}
    taut.compress(model, tmp_path / "cut", shard_size=1)
    assert companion_notes(tmp_path / "cut") == ()


def test_an_export_goes_to_a_store_and_comes_from_one(tmp_path: Path) -> None:
    values = np.arange(64, dtype=np.float32).reshape(8, 8)
    taut.compress({"a": values}, "memory://exports/a.taut.safetensors")
    taut.export("memory://exports/a.taut.safetensors", "memory://exports/a.safetensors")
    taut.export("memory://exports/a.taut.safetensors", tmp_path / "a.safetensors")
    (here,) = load_file(tmp_path / "a.safetensors").values()
    assert np.array_equal(here, values)
    files = fsspec.filesystem("memory")
    assert files.cat("/exports/a.safetensors") == (tmp_path / "a.safetensors").read_bytes()
