"""A Taut file becomes a PyTorch file under the names of PyTorch's, and no other file under them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import taut
from taut.errors import ArgumentError
from taut.io.suffixes import CHECKPOINT_SUFFIXES

torch = pytest.importorskip("torch")


def state() -> dict[str, torch.Tensor]:
    """Tensors of all kinds, two of them tied."""
    torch.manual_seed(0)
    tied = torch.randn(40, 50)
    words = ("bfloat16", "float16", "float64", "float8_e4m3fn", "float8_e5m2", "complex64", "int8")
    return {
        "a": tied,
        "again": tied,
        **{word: torch.randn(6, 4).to(getattr(torch, word)) for word in words},
        "uint16": torch.arange(4).to(torch.uint16),
        "yes": torch.tensor([True, False]),
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
        "packed": torch.zeros(3, 2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
    }


def bits(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.detach().reshape(-1).view(torch.uint8).numpy()) if tensor.numel() else b""


@pytest.mark.parametrize("suffix", [*CHECKPOINT_SUFFIXES, ".pth.tar", ".PT"])
def test_a_checkpoint_comes_back_for_the_restricted_reader(suffix: str, tmp_path: Path) -> None:
    given, packed, back = state(), tmp_path / "x.taut.safetensors", tmp_path / f"back{suffix}"
    torch.save(given, tmp_path / "x.pt")
    taut.compress(tmp_path / "x.pt", packed)
    restored = taut.decompress(packed, back)
    assert restored.bytes == back.stat().st_size
    found = torch.load(back, weights_only=True)
    assert list(found) == list(given)
    for name, tensor in given.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert bits(found[name]) == bits(tensor)
    assert found["a"].data_ptr() == found["again"].data_ptr()
    with pytest.raises(ArgumentError, match="exists"):
        taut.decompress(packed, back)


def test_what_torch_has_not_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tmp_path / "x.taut.safetensors"
    taut.compress({"w": np.ones(3)}, packed)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ArgumentError, match=r"y\.pt: .*taut\[torch\]"):
        taut.decompress(packed, tmp_path / "y.pt")
    assert not (tmp_path / "y.pt").exists()


def test_several_files_are_no_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    taut.compress({"w": np.ones(3)}, tmp_path / "w.taut.safetensors")
    taut.decompress(tmp_path / "w.taut.safetensors", folder / "model.safetensors")
    taut.compress(folder, tmp_path / "packed")
    with pytest.raises(ArgumentError, match="name a folder"):
        taut.decompress(tmp_path / "packed", tmp_path / "y.pt")


@pytest.mark.parametrize("name", ["y.npz", "y.h5", "y.zip", "y.json", "y.py"])
def test_no_file_is_written_under_the_name_of_another_format(name: str, tmp_path: Path) -> None:
    packed = tmp_path / "x.taut.safetensors"
    taut.compress({"w": np.ones(3)}, packed)
    with pytest.raises(
        ArgumentError, match=rf"{name}: \{Path(name).suffix} is the name of another"
    ):
        taut.decompress(packed, tmp_path / name)
    for other in (name, "y.pt", "y.onnx"):
        with pytest.raises(ArgumentError, match=rf"{other}: .*name it y.taut.safetensors"):
            taut.compress({"w": np.ones(3)}, tmp_path / other)
        with pytest.raises(ArgumentError, match=other):
            taut.export(packed, tmp_path / other, to="safetensors")
