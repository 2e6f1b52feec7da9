"""All that lies beside the encoded weights travels along, or is told."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import taut
from taut.errors import ArgumentError
from taut.io import open_source
from taut.io.folder_files import read_folder
from taut.io.hub import find_weights

ALONG = [
    ".config/x.yaml", ".gitattributes", "1_Pooling/config.json", "2_Dense/model.safetensors",
    "LICENSE", "README.md", "adapter_model.safetensors", "assets/deep/er/table", "config.json",
    "lib/native.so", "mel_filters.npz", "modeling_x.py", "other/pytorch_model.bin", "spiece.model",
    "speech/model-00001-of-00001.safetensors", "speech/model.safetensors.index.json",
    "tokenizer.json", "training_args.bin", "vocab.bin", "voices/a.pt", "voices/b.pt", "x.pkl",
]  # fmt: skip
LEFT = {
    "weights in another form": [
        "2_Dense/pytorch_model.bin", "consolidated.safetensors", "flax_model.msgpack",
        "model-00001-of-00002.safetensors", "model.gguf", "model.safetensors.index.json",
        "old.taut.safetensors", "onnx/model.onnx", "onnx/model.onnx_data", "optimizer.pt",
        "original/consolidated.00.pth", "pytorch_model.bin", "pytorch_model.bin.index.json",
        "tf_model.h5",
    ],
    "version control and caches": [".cache", ".git", "src/__pycache__"],
}  # fmt: skip
TEMPORARY = "model.taut.safetensors.0123456789abcdef.tmp"


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def links() -> None:
    if os.name == "nt":
        pytest.skip("links want a right there")


def names(folder: Path, paths: tuple[Path, ...]) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder with all sorts of files."""
    found = tmp_path / "model"
    touch(found, *ALONG, *LEFT["weights in another form"], TEMPORARY)
    touch(found, ".cache/hub/x.json", ".git/config", "src/__pycache__/x.pyc")
    save_file({"w": np.arange(4096.0)}, found / "model.safetensors")
    return found


def test_everything_travels_but_the_weights_and_what_stays_is_told(folder: Path) -> None:
    found = read_folder(folder, find_weights(folder))
    assert names(folder, found.companions) == sorted(ALONG)
    assert {why: list(told) for why, told in found.left.items()} == LEFT
    (note,) = found.notes
    assert ".git" in note and "2_Dense/pytorch_model.bin" in note and "and 10 more" in note


def test_shards_stay_by_their_index_whatever_they_are_called(tmp_path: Path) -> None:
    touch(tmp_path, "part-a.safetensors", "part-b.safetensors", "voice.safetensors")
    index = tmp_path / "m.safetensors.index.json"
    index.write_text('{"weight_map": {"x": "part-a.safetensors", "y": "part-b.safetensors"}}')
    found = read_folder(tmp_path, index)
    assert names(tmp_path, found.companions) == ["voice.safetensors"]
    assert not found.left


def test_links_are_followed_within_the_folder_alone(tmp_path: Path) -> None:
    links()
    folder, outside = tmp_path / "model", tmp_path / "outside"
    touch(folder, "parts/a.bin", "config.json")
    touch(outside, "secret.txt")
    (folder / "again").symlink_to("parts")
    (folder / "b.bin").symlink_to("parts/a.bin")
    (folder / "parts" / "up").symlink_to(folder)
    (folder / "secret.txt").symlink_to(outside / "secret.txt")
    (folder / "far").symlink_to(outside)
    (folder / "gone.txt").symlink_to("nothing")
    os.mkfifo(folder / "pipe")
    found = read_folder(folder, None)
    assert names(folder, found.companions) == [
        "again/a.bin", "b.bin", "config.json", "parts/a.bin",
    ]  # fmt: skip
    assert {name for told in found.left.values() for name in told} == {
        "again/up", "far", "gone.txt", "parts/up", "pipe", "secret.txt",
    }  # fmt: skip


def test_a_snapshot_in_a_hubs_cache_is_a_model_folder(tmp_path: Path) -> None:
    links()
    folder = tmp_path / "models--x" / "snapshots" / "rev"
    folder.mkdir(parents=True)
    touch(tmp_path / "models--x" / "blobs", "0c")
    save_file({"w": np.arange(3)}, tmp_path / "models--x" / "blobs" / "ab")
    (folder / "model.safetensors").symlink_to("../../blobs/ab")
    (folder / "config.json").symlink_to("../../blobs/0c")
    source = open_source(folder)
    assert source.files[0].name == "model.safetensors"
    assert [path.name for path in source.companions] == ["config.json"]
    assert not source.notes  # type: ignore[attr-defined]


def test_a_folder_comes_back_as_it_was(folder: Path, tmp_path: Path) -> None:
    packed, back = tmp_path / "packed", tmp_path / "back"
    result = taut.compress(folder, packed)
    assert any("pytorch_model.bin" in note for note in result.notes)
    taut.decompress(packed, back)
    for name in (*ALONG, "model.safetensors"):
        assert (back / name).read_bytes() == (folder / name).read_bytes()
    assert len([one for one in back.rglob("*") if one.is_file()]) == len(ALONG) + 1


def test_an_output_within_the_folder_is_not_taken_into_itself(folder: Path) -> None:
    for _ in range(2):
        taut.compress(folder, folder / "packed", force=True)
    assert (folder / "packed" / "vocab.bin").is_file()
    assert not (folder / "packed" / "packed").exists()
    for _ in range(2):
        taut.decompress(folder / "packed", folder / "packed" / "back", force=True)
    assert not (folder / "packed" / "back" / "back").exists()


def test_a_file_of_the_folder_is_never_the_output(folder: Path) -> None:
    for name in ("model.safetensors", "adapter_model.safetensors", "2_Dense/model.safetensors"):
        before = (folder / name).read_bytes()
        with pytest.raises(ArgumentError, match=name):
            taut.compress(folder, folder / name, force=True)
        assert (folder / name).read_bytes() == before


def test_a_file_alone_says_what_it_does_not_take_along(folder: Path, tmp_path: Path) -> None:
    result = taut.compress(folder, tmp_path / "x.taut.safetensors")
    assert any(f"{len(ALONG)} other files" in note for note in result.notes)


def test_a_large_companion_is_copied_whole(tmp_path: Path) -> None:
    folder, packed = tmp_path / "model", tmp_path / "packed"
    folder.mkdir()
    save_file({"w": np.arange(3)}, folder / "model.safetensors")
    data = bytes(range(256)) * 70_000 + b"end"
    (folder / "data.json").write_bytes(data)
    taut.compress(folder, packed)
    assert (packed / "data.json").read_bytes() == data


def test_the_real_folder_keeps_what_sentence_transformers_needs(minilm: Path) -> None:
    source = open_source(minilm)
    names = {path.relative_to(minilm).as_posix() for path in source.companions}
    assert {"config.json", "modules.json", "tokenizer.json", "1_Pooling/config.json"} <= names
    assert source.nbytes == (minilm / "model.safetensors").stat().st_size
