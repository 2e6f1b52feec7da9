"""A model folder: the right weights, its texts and nothing else."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from taut.errors import ArgumentError
from taut.io import open_source, read_header
from taut.io.hub import find_companions, find_weights, shard_index


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"{}")


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["pytorch_model.bin", "model.safetensors"], "model.safetensors"),
        (["model.safetensors", "model.safetensors.index.json"], "model.safetensors"),
        (
            ["model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"],
            "model.safetensors.index.json",
        ),
        (["x-1.safetensors", "x-2.safetensors", "x.safetensors.index.json"],
         "x.safetensors.index.json"),
        (["adapter_model.safetensors", "training_args.bin"], "adapter_model.safetensors"),
        (["net.safetensors", "net.taut.safetensors"], "net.safetensors"),
        (["model.taut.safetensors"], "model.taut.safetensors"),
        (["pytorch_model.bin", "tf_model.h5"], "pytorch_model.bin"),
        (["pytorch_model-1.bin", "pytorch_model.bin.index.json"], "pytorch_model.bin.index.json"),
    ],
)  # fmt: skip
def test_the_weights_are_chosen_as_transformers_does(
    names: list[str], chosen: str, tmp_path: Path
) -> None:
    touch(tmp_path, *names)
    assert find_weights(tmp_path).name == chosen


def test_a_choice_that_could_be_wrong_is_not_made(tmp_path: Path) -> None:
    touch(tmp_path, "a.safetensors", "b.safetensors")
    with pytest.raises(ArgumentError, match=r"several .*: a.safetensors, b.safetensors; name one"):
        open_source(tmp_path)


def test_a_folder_without_weights_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"no weights; .*model.safetensors.*this one is empty"):
        open_source(tmp_path)
    touch(tmp_path, "config.json", "training_args.bin")
    with pytest.raises(ArgumentError, match=r"this one has config.json, training_args.bin"):
        open_source(tmp_path)


def test_texts_travel_along_and_weights_do_not(tmp_path: Path) -> None:
    along = [
        "1_Pooling/config.json", "LICENSE", "README.md", "chat_template.jinja", "config.json",
        "merges.txt", "modeling_x.py", "spiece.model", "tokenizer.json",
    ]  # fmt: skip
    touch(tmp_path, *along)
    touch(
        tmp_path, "model-1.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
        "pytorch_model.bin.index.json", "tf_model.h5", "onnx/model.onnx", "model.gguf", "x.pkl",
        "flax_model.msgpack", ".gitattributes", ".cache/huggingface/x.json", ".git/config.json",
    )  # fmt: skip
    found = [path.relative_to(tmp_path).as_posix() for path in find_companions(tmp_path)]
    assert found == sorted(along)


def test_the_second_network_of_a_sentence_transformer_travels_along(tmp_path: Path) -> None:
    touch(tmp_path, "model.safetensors", "2_Dense/config.json", "2_Dense/model.safetensors")
    touch(tmp_path, "2_Dense/pytorch_model.bin", "other/model.safetensors", "other/config.json")
    modules = '[{"path": ""}, {"path": "2_Dense"}, {"path": ".."}, {"path": "/etc"}]'
    (tmp_path / "modules.json").write_text(modules)
    found = [path.relative_to(tmp_path).as_posix() for path in find_companions(tmp_path)]
    assert found == [
        "2_Dense/config.json", "2_Dense/model.safetensors", "modules.json", "other/config.json",
    ]  # fmt: skip
    for damaged in ("[1]", "{", "1", '[{"path": []}]', "[" * 100_000):
        (tmp_path / "modules.json").write_text(damaged)
        assert len(find_companions(tmp_path)) == 3


def test_a_text_too_big_to_be_one_stays(tmp_path: Path) -> None:
    touch(tmp_path, "config.json")
    with (tmp_path / "data.json").open("wb") as file:
        file.truncate(65_000_000)
    assert [path.name for path in find_companions(tmp_path)] == ["config.json"]


def test_a_folder_of_links_into_a_cache_is_a_model_folder(tmp_path: Path) -> None:
    blobs, folder = tmp_path / "blobs", tmp_path / "snapshot"
    folder.mkdir()
    touch(blobs, "0c")
    save_file({"w": np.arange(3)}, blobs / "ab")
    try:
        (folder / "model.safetensors").symlink_to(blobs / "ab")
        (folder / "config.json").symlink_to(blobs / "0c")
    except OSError:
        pytest.skip("no links here")
    source = open_source(folder)
    assert source.files[0].name == "model.safetensors"
    assert [path.name for path in source.companions] == ["config.json"]


def test_the_real_folder_keeps_what_sentence_transformers_needs(minilm: Path) -> None:
    source = open_source(minilm)
    names = {path.relative_to(minilm).as_posix() for path in source.companions}
    assert {"config.json", "modules.json", "tokenizer.json", "1_Pooling/config.json"} <= names
    assert source.nbytes == (minilm / "model.safetensors").stat().st_size


def test_an_index_made_from_shards_opens_them(tmp_path: Path) -> None:
    save_file({"b": np.arange(3), "a": np.ones(2)}, tmp_path / "model-1.safetensors")
    save_file({"c": np.zeros((2, 2))}, tmp_path / "model-2.safetensors")
    shards = sorted(tmp_path.glob("*.safetensors"))
    text = shard_index({path.name: read_header(path) for path in shards})
    assert '"total_size": 72' in text
    (tmp_path / "model.safetensors.index.json").write_text(text)
    source = open_source(tmp_path)
    assert sorted(info.name for info in source.infos) == ["a", "b", "c"]
