"""A model folder: the right weights."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from taut.errors import ArgumentError
from taut.io import open_source, read_header
from taut.io.hub import find_weights, shard_index


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


def test_a_pipeline_of_pickles_names_the_folders_that_have_weights(tmp_path: Path) -> None:
    for part in ("unet", "vae"):
        (tmp_path / part).mkdir()
        touch(tmp_path / part, "pytorch_model.bin")
    with pytest.raises(ArgumentError, match=r"no weights here; name a folder.*/unet, .*/vae"):
        open_source(tmp_path)


def test_an_index_made_from_shards_opens_them(tmp_path: Path) -> None:
    save_file({"b": np.arange(3), "a": np.ones(2)}, tmp_path / "model-1.safetensors")
    save_file({"c": np.zeros((2, 2))}, tmp_path / "model-2.safetensors")
    shards = sorted(tmp_path.glob("*.safetensors"))
    text = shard_index({path.name: read_header(path) for path in shards})
    assert '"total_size": 72' in text
    (tmp_path / "model.safetensors.index.json").write_text(text)
    source = open_source(tmp_path)
    assert sorted(info.name for info in source.infos) == ["a", "b", "c"]
