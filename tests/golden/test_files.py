"""Every file once written decodes for ever: the golden files of all versions."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import taut

from .make_files import checkpoint

FILES = Path(__file__).parent / "files"
PAIRS = [
    ("exact", "model"),
    ("lossy", "lossy"),
    ("exact2", "model2"),
    ("lossy2", "lossy2"),
    ("basis2", "basis2"),
]
DELTAS = Path(__file__).parent / "deltas"
LOW_BIT = ("low_bit2", "low_bit2")  # FP8 among it, which safetensors' numpy does not load


@pytest.mark.parametrize(("coded", "meant"), [*PAIRS, LOW_BIT])
def test_a_golden_file_decompresses_byte_for_byte(coded, meant, tmp_path):
    out = tmp_path / "out.safetensors"
    taut.decompress(FILES / f"{coded}.taut.safetensors", out)
    assert out.read_bytes() == (FILES / f"{meant}.safetensors").read_bytes()


@pytest.mark.parametrize(("coded", "meant"), PAIRS)
def test_a_golden_file_loads_every_tensor(coded, meant):
    expected = load_file(FILES / f"{meant}.safetensors")
    loaded = taut.load(FILES / f"{coded}.taut.safetensors")
    assert set(loaded) == set(expected)
    for name, values in expected.items():
        assert loaded[name].dtype == values.dtype
        assert loaded[name].tobytes() == values.tobytes(), name


@pytest.mark.parametrize("name", ["exact", "lossy"])
def test_a_golden_delta_gives_its_model_back(name, tmp_path):
    path, out = DELTAS / f"{name}.taut.safetensors", tmp_path / "out.safetensors"
    taut.decompress(path, out, base=DELTAS / "base.safetensors")
    assert out.read_bytes() == (DELTAS / f"{name}.safetensors").read_bytes()
    taut.verify(path)  # finds the base beside it
    stores = {record.store for record in taut.load(path).index.records}
    assert stores == {"base", "packed", "solid"}


@pytest.mark.parametrize(("coded", "version"), [("exact", 1), ("lossy", 1), ("exact2", 2)])
def test_there_is_a_file_of_each_version(coded, version):
    data = (FILES / f"{coded}.taut.safetensors").read_bytes()
    assert data[8:].startswith(b'{"__metadata__":{"taut":"%d",' % version)


def test_low_bit_weights_are_the_same_floats_for_ever():
    expected = load_file(FILES / "low_bit2.floats.safetensors")
    loaded = taut.load(FILES / "low_bit2.taut.safetensors", dequantize=True)
    assert set(loaded) == set(expected) == {"up.weight", "down.weight", "norm.weight"}
    for name, values in expected.items():
        assert loaded[name].dtype == values.dtype
        assert loaded[name].tobytes() == values.tobytes(), name


def test_modules_are_given_back():
    file = taut.load(FILES / "modules2.taut.safetensors")
    assert file.modules == {"conv1": {"out_channels": 6}, "": {"width": -(2**40)}}
    assert file["conv1.bias"].tolist() == [0, 1, 2, 3, 4, 5]


def test_the_lossy_one_lost_something_but_little():
    report = taut.info(FILES / "lossy.taut.safetensors")
    lossy = {tensor.name: tensor.rel_mse for tensor in report.tensors if tensor.rel_mse > 0}
    assert set(lossy) == {"layer.weight", "layer.copy", "layer.half"}
    assert max(lossy.values()) < 0.02


def test_a_golden_gguf_comes_back(tmp_path):
    out = tmp_path / "out.gguf"
    taut.decompress(FILES / "gguf2.taut.safetensors", out)
    assert out.read_bytes() == (FILES / "gguf2.gguf").read_bytes()
    taut.verify(FILES / "gguf2.taut.safetensors")


def test_a_golden_checkpoint_is_the_same_nest_for_ever():
    torch = pytest.importorskip("torch")
    found, meant = (
        taut.load(FILES / "checkpoint2.taut.safetensors", nested=True),
        checkpoint(),
    )
    assert list(found) == list(meant) and str(found) == str(meant)  # types, orders, all digits
    assert torch.equal(found["model"]["w"], meant["model"]["w"])
    moments = found["optimizer"]["state"][0]["exp_avg"]
    assert torch.equal(moments, meant["optimizer"]["state"][0]["exp_avg"])
    assert type(found["key", 2.5][0]) is np.float32


def test_a_golden_folder_of_several_models(tmp_path):
    from .make_tree import models

    file = taut.load(FILES / "tree")
    wanted = {
        f"{prefix}{name}": values
        for (_, tensors), prefix in zip(
            models().items(), ("text/", "vae/a/", "vae/b/"), strict=True
        )
        for name, values in tensors.items()
    }
    assert set(file) == set(wanted)
    for name, values in wanted.items():
        assert file[name].dtype == values.dtype
        assert file[name].tobytes() == values.tobytes(), name
    assert taut.verify(FILES / "tree").tensors == 4
    taut.decompress(FILES / "tree", tmp_path / "back")
    restored = {p.relative_to(tmp_path / "back").as_posix() for p in (tmp_path / "back").rglob("*")}
    assert set(models()) <= restored
