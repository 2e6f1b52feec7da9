"""Safetensors out: the file's values in any float dtype, whole files and folders or nothing."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import taut
from taut.container import TautFile
from taut.errors import ArgumentError, TautError, VerifyError
from taut.exporting import safetensors as room
from taut.exporting.safetensors import HubFolder, convert, export_file, export_folder
from taut.io import SAFETENSORS_DTYPES, open_source, read_header


@pytest.fixture
def arrays(rng) -> dict[str, np.ndarray]:
    return {
        "odd": np.arange(7, dtype=np.int8),
        "w": rng.standard_normal((40, 30)).astype(np.float32),
        "b": rng.standard_normal(30).astype(np.float16),
        "ids": np.arange(5),
        "none": np.empty((0, 3), np.float32),
        "nan": np.array([np.nan, np.inf, -np.inf, 0.5], np.float32),
    }


@pytest.fixture
def file(tmp_path: Path, arrays) -> TautFile:
    return TautFile(taut.compress(arrays, tmp_path / "f.taut.safetensors").path)


def test_values_that_were_rounded_before_are_told_when_they_are_again(tmp_path, arrays):
    small = taut.compress(arrays, tmp_path / "g.taut.safetensors", plan={"w": "int8"}).path
    done = taut.export(small, tmp_path / "half.safetensors", dtype="float16")
    assert any(note.startswith("1 tensor (w) is rounded once more") for note in done.notes)
    done = taut.export(small, tmp_path / "whole.safetensors")
    assert not any("once more" in note for note in done.notes)


@pytest.mark.parametrize("dtype", [None, "float16"])
def test_a_large_tensor_is_written_and_checked_in_pieces(tmp_path, rng, monkeypatch, dtype):
    weight = (rng.standard_normal((1300, 900)) / 9).astype(np.float32)
    arrays = {"w": weight, "noise": rng.integers(0, 256, (300, 300), dtype=np.uint8)}
    arrays["few"] = np.round(weight[:500])
    file = TautFile(taut.compress(arrays, tmp_path / "f.taut.safetensors").path)
    whole = export_file(file, tmp_path / "whole.safetensors", dtype=dtype)
    monkeypatch.setattr(room, "_PIECE", 1 << 15)
    monkeypatch.setattr(sys.modules["taut.exporting.check"], "_BLOCK", 1 << 13)
    sizes = []
    monkeypatch.setattr(room, "convert", lambda v, *a: sizes.append(v.nbytes) or convert(v, *a))
    cut = export_file(file, tmp_path / "cut.safetensors", dtype=dtype)
    assert (tmp_path / "cut.safetensors").read_bytes() == whole.path.read_bytes()
    assert (cut.exact, cut.rounded, cut.check.samples) == (whole.exact, whole.rounded, 3)
    assert cut.check.max_error == whole.check.max_error
    assert cut.check.rel_mse == pytest.approx(whole.check.rel_mse, rel=1e-9)
    assert len(sizes) > 6 and max(sizes) < weight.nbytes


def test_the_largest_value_of_all_pieces_is_named(tmp_path, rng, monkeypatch):
    values = rng.standard_normal((1300, 900)).astype(np.float32)
    values[1, 1], values[1299, 899] = 1e5, -3e6
    path = taut.compress({"w": values}, tmp_path / "f.taut.safetensors").path
    monkeypatch.setattr(room, "_PIECE", 1 << 15)
    with pytest.raises(ArgumentError, match="largest value, 3e\\+06, is beyond float16"):
        taut.export(path, tmp_path / "m.safetensors", dtype="float16")
    assert not (tmp_path / "m.safetensors").exists()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "original"
    (home / "sub").mkdir(parents=True)
    config = {"torch_dtype": "float32", "é": 1, "quantization_config": {"quant_method": "taut"}}
    (home / "config.json").write_text(json.dumps(config))
    (home / "sub" / "tokens.txt").write_text("a\nb\n")
    return home


def test_every_tensor_has_its_values_and_the_library_reads_them(tmp_path, arrays, file):
    done = export_file(file, tmp_path / "m.safetensors")
    found = load_file(tmp_path / "m.safetensors")
    assert {n: (a.dtype, a.tobytes()) for n, a in found.items()} == {
        n: (a.dtype, a.tobytes()) for n, a in arrays.items()
    }
    with safe_open(tmp_path / "m.safetensors", "np") as opened:
        assert opened.metadata() == {"format": "pt"}
    assert (done.exact, done.rounded, done.check.max_error, done.check.samples) == (6, 0, 0, 6)
    assert done.size == (tmp_path / "m.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("dtype", "numpy_dtype", "rounded"),
    [("float16", np.float16, 1), ("bfloat16", ml_dtypes.bfloat16, 2), ("float32", np.float32, 0)],
)
def test_floats_are_rounded_to_nearest_and_counted(
    tmp_path, arrays, file, dtype, numpy_dtype, rounded
):
    done = export_file(file, tmp_path / "m.safetensors", dtype=dtype)
    assert (done.exact, done.rounded) == (6 - rounded, rounded)
    source = open_source(tmp_path / "m.safetensors")
    assert np.array_equal(source.load("w"), arrays["w"].astype(numpy_dtype))
    assert source.load("odd").dtype == np.int8
    errors = [np.abs(arrays[n] - arrays[n].astype(numpy_dtype).astype(np.float32)) for n in "wb"]
    assert done.check.max_error == max(error.max() for error in errors)


def test_a_value_beyond_the_dtype_names_its_tensor_and_leaves_nothing(tmp_path):
    path = taut.compress({"big": np.array([1e5, 1], np.float32)}, tmp_path / "f").path
    with pytest.raises(ArgumentError, match=r'"big": its largest value, 100000, .*bfloat16'):
        export_file(TautFile(path), tmp_path / "m.safetensors", dtype="float16")
    assert [one.name for one in tmp_path.iterdir()] == ["f"]
    export_file(TautFile(path), tmp_path / "m.safetensors", dtype="bfloat16")


def test_every_tensor_is_aligned_for_its_dtype(tmp_path, file):
    export_file(file, tmp_path / "m.safetensors")
    for tensor in read_header(tmp_path / "m.safetensors").tensors:
        assert tensor.start % SAFETENSORS_DTYPES[tensor.dtype].itemsize == 0


def test_a_folder_has_the_config_with_the_new_dtype_and_the_other_files(tmp_path, file, folder):
    done = export_folder(file, tmp_path / "out", HubFolder(folder, dtype="bfloat16"))
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == {
        "torch_dtype": "bfloat16",
        "é": 1,
    }
    assert (tmp_path / "out" / "sub" / "tokens.txt").read_text() == "a\nb\n"
    assert {path.relative_to(tmp_path / "out").as_posix() for path in done.files} == {
        "config.json",
        "model.safetensors",
        "sub/tokens.txt",
    }
    assert done.size == sum(path.stat().st_size for path in done.files)


def test_a_large_model_is_cut_into_shards_that_open_as_one(tmp_path, arrays, file, folder):
    done = export_folder(file, tmp_path / "out", HubFolder(folder, limit=500))
    names = [path.name for path in done.files if "model" in path.name]
    assert names[0] == "model-00001-of-00003.safetensors"
    assert names[-1] == "model.safetensors.index.json"
    source = open_source(tmp_path / "out")
    assert {info.name for info in source.infos} == set(arrays)
    assert np.array_equal(source.load("w"), arrays["w"])


def test_tied_tensors_are_repeated_in_a_file_and_left_out_of_a_folder(tmp_path, folder):
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 4, bias=False))
    net[1].weight = net[0].weight
    file = TautFile(taut.compress(net, tmp_path / "f").path)
    export_file(file, tmp_path / "m.safetensors")
    assert set(load_file(tmp_path / "m.safetensors")) == {"0.weight", "1.weight"}
    done = export_folder(file, tmp_path / "out", HubFolder(folder))
    assert set(load_file(tmp_path / "out" / "model.safetensors")) == {"0.weight"}
    assert "left out: 1 of tied" in done.notes[-1]


def test_what_reads_back_otherwise_is_no_export(tmp_path, file, monkeypatch):
    write = room.write_tensors

    def spoilt(path, *args, **kwargs):
        write(path, *args, **kwargs)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1  # the last byte of the last tensor
        path.write_bytes(data)

    monkeypatch.setattr(room, "write_tensors", spoilt)
    with pytest.raises(VerifyError, match="not what was written"):
        export_file(file, tmp_path / "m.safetensors")
    assert [one.name for one in tmp_path.iterdir()] == ["f.taut.safetensors"]


def test_a_full_disk_leaves_nothing_and_what_was_there(tmp_path, file, folder, monkeypatch):
    (tmp_path / "m.safetensors").write_bytes(b"old")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "no room left")

    monkeypatch.setattr(os, "fsync", full)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(TautError, match=r"\(no room left\).*untouched"):
        export_file(file, tmp_path / "m.safetensors", force=True)
    with pytest.raises(TautError, match="no room left"):
        export_folder(file, tmp_path / "out", HubFolder(folder))
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "m.safetensors").read_bytes() == b"old"


def test_a_folder_with_weights_of_another_name_is_not_filled(tmp_path, file, folder):
    out = tmp_path / "out"
    export_folder(file, out, HubFolder(folder))
    with pytest.raises(ArgumentError, match="exists; give -f"):
        export_folder(file, out, HubFolder(folder))
    export_folder(file, out, HubFolder(folder), force=True)
    with pytest.raises(ArgumentError, match=r"model.safetensors: holds weights that are not"):
        export_folder(file, out, HubFolder(folder, limit=500), force=True)
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json",
        "model.safetensors",
        "sub",
    ]
