"""An index that lies about its shards is an error that says how, and nothing outside is read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import taut
from taut.container import open_taut, xxh3
from taut.errors import ArgumentError, FormatError, TautError, VerifyError

INDEX = "model.taut.safetensors.index.json"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards with an index, and beside them another model's."""
    rng = np.random.default_rng(3)
    model = {name: rng.standard_normal((64, 64)).astype(np.float32) for name in "ab"}
    made = tmp_path_factory.mktemp("shards")
    taut.compress(model, made / "one", shard_size=1)
    taut.compress({"a": model["b"], "b": model["a"]}, made / "other", shard_size=1)
    return made


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound / "one", tmp_path / "one"))


def forged(index: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Rewrite an index with a checksum that is right."""
    tree = json.loads(index.read_text())
    change(tree)
    tree["metadata"]["checksum"] = "0" * 16
    text = json.dumps(tree, separators=(",", ":"))
    index.write_text(text.replace("0" * 16, xxh3(text.encode()), 1))


def shard(tree: dict[str, list[dict[str, object]]], **facts: object) -> None:
    tree["shards"][0] |= facts


A, B = (f"model-0000{n}-of-00002.taut.safetensors" for n in (1, 2))
LIES = {
    "a shard above": (lambda t: shard(t, name="../" + A), "name of a file beside"),
    "an absolute shard": (lambda t: shard(t, name="/tmp/" + A), "name of a file beside"),
    "a drive": (lambda t: shard(t, name="c:" + A), "name of a file beside"),
    "the index itself": (lambda t: shard(t, name=INDEX), "name of a file beside"),
    "not a text": (lambda t: shard(t, name=7), "name"),
    "no sum": (lambda t: t["shards"][0].pop("checksum"), "checksum"),
    "a key more": (lambda t: shard(t, more=1), "unknown key"),
    "a shard twice": (lambda t: t["shards"].append(t["shards"][0]), "comes twice"),
    "an unknown shard": (lambda t: t["weight_map"].update(a="x.taut.safetensors"), "not among"),
    "a shard of nothing": (lambda t: t["weight_map"].update(a=B), "has no tensor"),
    "a tensor too many": (lambda t: t["weight_map"].update(c=B), "does not hold it"),
    "a tensor too few": (
        lambda t: (t["weight_map"].pop("a"), t["shards"].pop(0)),
        None,
    ),
    "no tensor": (lambda t: t.update(weight_map={}), "no tensor"),
    "swapped": (lambda t: t["weight_map"].update(a=B, b=A), "but listed in"),
    "negative": (lambda t: shard(t, bytes=-1), "bytes"),
    "other bytes": (lambda t: shard(t, bytes=5), "not the one"),
    "other sum": (lambda t: shard(t, checksum="0123456789abcdef"), "not the one"),
    "a file name with a way out": (
        lambda t: t["source"].update(texts=[{"name": "../x", "text": ""}]),
        "not a file name",
    ),
    "no source": (lambda t: t.pop("source"), "source"),
    "a list": (lambda t: t.update(weight_map=[1]), "not a JSON object"),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_told(folder: Path, lie: str) -> None:
    change, told = LIES[lie]
    forged(folder / INDEX, change)
    if told is None:  # a smaller model, which is a sound one
        assert list(open_taut(folder)) == ["b"]
        return
    with pytest.raises(FormatError, match=told):
        open_taut(folder)


def test_a_forged_index_is_else_sound(folder: Path) -> None:
    forged(folder / INDEX, lambda tree: None)
    assert taut.verify(folder).tensors == 2


def test_every_changed_byte_of_an_index_is_noticed(folder: Path) -> None:
    data = (folder / INDEX).read_bytes()
    for at in range(len(data)):
        (folder / INDEX).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises((FormatError, VerifyError)):
            open_taut(folder)


@pytest.mark.parametrize("text", [b"", b"{}", b"[" * 1000, b'{"metadata":{"taut":"3","checksum":"'])
def test_what_is_no_index_is_told(folder: Path, text: bytes) -> None:
    (folder / INDEX).write_bytes(text)
    with pytest.raises(FormatError, match="index of Taut files"):
        open_taut(folder)


def test_a_later_version_is_told(folder: Path) -> None:
    data = (folder / INDEX).read_bytes()
    (folder / INDEX).write_bytes(data.replace(b'"taut":"2"', b'"taut":"3"', 1))
    with pytest.raises(FormatError, match="version 3"):
        open_taut(folder)


def test_a_missing_shard_is_named_with_its_tensors(folder: Path) -> None:
    (folder / A).unlink()
    with pytest.raises(ArgumentError, match=rf'"{A}" is missing, 1 tensors'):
        taut.load(folder)


def test_a_shard_of_another_model_is_told(folder: Path, sound: Path) -> None:
    shutil.copy(sound / "other" / A, folder / A)
    with pytest.raises(FormatError, match="not the one that the index was written with"):
        taut.load(folder)


def test_a_plain_file_in_the_place_of_a_shard_is_told(folder: Path) -> None:
    (folder / A).write_bytes(b"\x08" + bytes(7) + b"{}      ")
    with pytest.raises(TautError, match=A):
        taut.load(folder)


def test_damage_in_a_shard_is_found(folder: Path) -> None:
    data = bytearray((folder / B).read_bytes())
    data[-5000] ^= 4
    (folder / B).write_bytes(data)
    with pytest.raises(VerifyError, match=B):
        taut.verify(folder)
