"""Content decides what a file is; what is no model is named for what it is."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import taut
from taut.errors import ArgumentError, FormatError
from taut.io import open_source
from taut.io.content import kind_of

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 438011953\n"
FOREIGN = {
    "pointer": (POINTER, "git lfs pull"),
    "page": (b"\xef\xbb\xbf \n<!DOCTYPE html>\n<html><title>Sign in</title>", 'page ("Sign in")'),
    "error": (b'<?xml version="1.0"?><Error><Message>Denied</Message>', 'page ("Denied")'),
    "json": (b'{"error": "You must log in"}', "You must log in"),
    "text": (b"Entry not found", "Entry not found"),
    "gzip": (gzip.compress(bytes(100)), "gzip"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(60), "HDF5"),
    "empty": (b"", "is empty"),
    "unfinished": (bytes(4096), "did not finish"),
    "npy": (b"\x93NUMPY\x01\0" + bytes(60), "numpy.load"),
}
NAMES = ("x.bin", "x.pt", "x.ckpt", "x.pth.tar", "x.onnx", "x.safetensors", "x")


@pytest.mark.parametrize("what", FOREIGN)
def test_what_a_download_left_is_named_under_every_name(what: str, tmp_path: Path) -> None:
    content, told = FOREIGN[what]
    for name in NAMES:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError) as caught:
            open_source(tmp_path / name)
        assert f"{name}: is " in str(caught.value) and told in str(caught.value)


@pytest.mark.parametrize("what", ["pointer", "page"])
def test_they_are_named_as_taut_files_and_as_an_index_and_its_shards(
    what: str, tmp_path: Path
) -> None:
    content, told = FOREIGN[what]
    packed, index = tmp_path / "x.taut.safetensors", tmp_path / "m.safetensors.index.json"
    packed.write_bytes(content)
    index.write_bytes(content)
    (tmp_path / "shard.safetensors").write_bytes(content)
    good = tmp_path / "n.safetensors.index.json"
    good.write_text('{"weight_map": {"w": "shard.safetensors"}}')
    for read, path in (
        (taut.info, packed), (taut.verify, packed), (taut.load, packed), (open_source, index),
    ):  # fmt: skip
        with pytest.raises(FormatError) as caught:
            read(path)
        assert path.name in str(caught.value) and told in str(caught.value)
    with pytest.raises(FormatError, match=r"shard\.safetensors: is a"):
        open_source(good)


def test_archives_of_other_kinds_are_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "best.pth.tar", "w") as archive:
        archive.add(__file__, "x")
    with pytest.raises(FormatError, match="tar archive"):
        open_source(tmp_path / "best.pth.tar")
    np.savez(tmp_path / "a.npz", w=np.ones(3))
    (tmp_path / "a.npz").rename(tmp_path / "a.pt")
    with pytest.raises(FormatError, match=r"numpy\.load"):
        open_source(tmp_path / "a.pt")
    for names, told in (
        (["m/data.pkl", "m/constants.pkl"], r"torch\.jit\.load"),
        (["m/models/model.json"], r"torch\.export\.load"),
        (["model.weights.h5", "config.json"], "Keras"),
        (["photo.jpg"], r"photo\.jpg"),
    ):
        with zipfile.ZipFile(tmp_path / "z.bin", "w") as archive:
            for name in names:
                archive.writestr(name, b"x")
        with pytest.raises(FormatError, match=told):
            open_source(tmp_path / "z.bin")


def test_a_file_is_read_as_what_it_is_under_any_name(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6.0)
    for name in ("4d7a", "x.safetensors", "x.pth.tar", "x.onnx"):
        for zipped in (True, False):
            torch.save({"w": tensor}, tmp_path / name, _use_new_zipfile_serialization=zipped)
            assert open_source(tmp_path / name).load("w").tolist() == tensor.tolist()
    for name in ("ab12", "pytorch_model.bin", "x.ckpt"):
        save_file({"w": tensor.numpy()}, tmp_path / name)
        assert open_source(tmp_path / name).load("w").tolist() == tensor.tolist()


def test_an_onnx_model_without_a_suffix_is_one(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    weight = onnx.numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    ends = [helper.make_tensor_value_info(name, 1, ["n", 4]) for name in "xy"]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:], [weight]))
    (tmp_path / "9c1e").write_bytes(model.SerializeToString())
    assert open_source(tmp_path / "9c1e").infos[0].name == "w"


def test_bytes_of_nothing_known_are_told_by_the_name(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(range(1, 200)))
    with pytest.raises(ArgumentError, match="neither its bytes nor the suffix"):
        open_source(tmp_path / "x")


@pytest.mark.parametrize("length", [0x280, 0x380, 0x480, 0x580, 0x10280])
def test_a_header_whose_length_looks_like_a_pickle_s_mark_is_read(
    tmp_path: Path, length: int
) -> None:
    header = b'{"w":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}'
    path = tmp_path / "net.bin"
    path.write_bytes(length.to_bytes(8, "little") + header.ljust(length) + b"abc")
    assert kind_of(path) == "safetensors"
    assert open_source(path).load("w").tobytes() == b"abc"
