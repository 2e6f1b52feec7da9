"""What a model takes to be run is told before the work, whole, and without importing it."""

import sys

import numpy as np
import pytest

import taut
from taut.errors import ArgumentError
from taut.networks import load_callable
from taut.networks.needed import need_to_run

MISSING = ("torch", "transformers", "onnx", "gguf")
TOLD = {
    "net.onnx": "PyTorch and onnx: pip install 'taut[onnx]'",
    "model.gguf": "PyTorch and transformers and gguf: pip install 'taut[hf,gguf]'",
    "folder": "PyTorch and transformers: pip install 'taut[hf]'",
    "hf://org/name": "PyTorch and transformers: pip install 'taut[hf]'",
    "net.py:model": "PyTorch: pip install 'taut[torch]'",
}


@pytest.fixture
def bare(monkeypatch):
    for name in MISSING:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("model", TOLD)
def test_all_that_is_missing_is_told_at_once(model, bare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("net.onnx", "model.gguf", "folder", "net.py"):
        (tmp_path / name).touch()
    with pytest.raises(ArgumentError) as caught:
        need_to_run(model)
    assert str(caught.value) == f"{model}: to run it takes {TOLD[model]}"


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("nett.onnx", "nett.onnx: no such file or folder; nearest: net.onnx"),
        ("netw.py:model", "netw.py: no such file; nearest: net.py"),
    ],
)
def test_what_is_not_there_is_told_first(model, told, bare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.onnx").touch()
    (tmp_path / "net.py").touch()
    with pytest.raises(ArgumentError) as caught:
        need_to_run(model)
    assert str(caught.value).startswith(told)


def test_an_adapter_alone_is_refused_before_the_work(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(ArgumentError, match=r"is an adapter \(LoRA\).*merge_and_unload"):
        need_to_run(tmp_path)
    (tmp_path / "config.json").write_text("{}")  # merged beside it, as some publish them
    need_to_run(tmp_path)


def test_compress_with_data_says_so_too(bare, tmp_path, monkeypatch):
    """Where frameworks are imported deep below, and by a decorator."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.onnx").write_bytes(b"\x08\x08")
    np.save("x.npy", np.zeros((4, 3), np.float32))
    with pytest.raises(ArgumentError, match=r"net.onnx: to run it takes PyTorch and onnx"):
        taut.compress("net.onnx", "net.taut.safetensors", calib="x.npy", bits=3)
    assert not (tmp_path / "net.taut.safetensors").exists()


def test_a_file_of_code_that_imports_in_vain_is_told_what_brings_it(bare, tmp_path):
    (tmp_path / "build.py").write_text("import torch\n")
    with pytest.raises(ArgumentError, match=r"pip install 'taut\[torch\]'"):
        load_callable(f"{tmp_path}/build.py:score")
