"""A checkpoint that was compressed as a whole comes back with its mappings, lists and values."""

from __future__ import annotations

import copy
import json
import zlib
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import taut
from taut.container import open_taut
from taut.errors import ArgumentError, FormatError, TautError
from taut.io import open_source
from taut.io.checkpoint_parts import ALL
from taut.io.model_file import ModelFile
from taut.io.source import notes_of
from taut.loading.nests import nest_of

torch = pytest.importorskip("torch")


def training() -> dict[str, Any]:
    """A checkpoint of a training of AdamW, with all sorts of plain values."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(48, 40), torch.nn.Linear(40, 4))
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    net(torch.randn(8, 48)).square().mean().backward()
    optimizer.step()
    return {
        "model": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": 3,
        "rates": [1e-3, float("inf"), -0.0, (2, None, True)],
        "kinds": {"dtype": torch.bfloat16, "at": torch.device("cuda:1"), "shape": torch.Size([2])},
        "odd": {1 << 70: b"\0x", (0, "a"): "é\ud800", 2.5: {1, 2}, "a.b": 1, "a": {"b": 2}},
        "numpy": {"best": np.float64(0.5), "history": np.arange(6, dtype=">f4").reshape(2, 3)},
        "learnt": torch.nn.Parameter(torch.ones(3)),
        "seed": torch.get_rng_state()[:64],
    }


def same(one: object, other: object) -> None:
    """Assert that two nests are alike: types, orders, bits."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.detach().numpy().tobytes() == other.detach().numpy().tobytes()
    elif isinstance(one, dict):
        assert list(one) == list(other)
        assert getattr(one, "__dict__", None) == getattr(other, "__dict__", None)
        for key, value in one.items():
            same(value, other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            same(*pair)
    else:
        assert np.array_equal(one, other) and str(one) == str(other)


def test_all_of_a_checkpoint_comes_back_as_it_was_alone_and_on_the_one_before(
    tmp_path: Path,
) -> None:
    first = training()
    second = copy.deepcopy(first)
    second["epoch"] = 4
    for state in second["optimizer"]["state"].values():
        state["exp_avg"] *= 1.0001
        state["step"] += 1
    for name, checkpoint in (("first", first), ("second", second)):
        torch.save(checkpoint, tmp_path / f"{name}.pt")
    alone = taut.compress(tmp_path / "second.pt", tmp_path / "a.taut.safetensors", key=ALL)
    base = tmp_path / "first.pt"
    delta = taut.compress(
        tmp_path / "second.pt", tmp_path / "d.taut.safetensors", key=ALL, base=base
    )
    assert delta.size < 0.6 * alone.size
    expected = copy.deepcopy(second)
    expected["numpy"]["history"] = second["numpy"]["history"].astype("=f4")
    for found in (alone, delta):
        taut.verify(found.path)
        same(taut.load(found.path, nested=True), expected)
        taut.decompress(found.path, tmp_path / "again.pt", force=True)
        same(torch.load(tmp_path / "again.pt", weights_only=False), expected)
    in_memory = taut.compress(second, tmp_path / "m.taut.safetensors", key=ALL, base=first)
    same(taut.load(in_memory.path, nested=True, base=first), expected)


def test_what_an_optimizer_keeps_is_taken_without_being_asked_for(tmp_path: Path) -> None:
    state = training()["optimizer"]
    torch.save(state, tmp_path / "adam.pt")
    found = taut.compress(tmp_path / "adam.pt", tmp_path / "a.taut.safetensors")
    assert "state.0.exp_avg" in taut.load(found.path)
    same(taut.load(found.path, nested=True), state)
    with pytest.raises(TautError, match="no float matrix"):
        taut.compress(tmp_path / "adam.pt", tmp_path / "b.taut.safetensors", bits=2)


def test_of_a_whole_checkpoint_weights_alone_are_rounded(tmp_path: Path) -> None:
    checkpoint = training()
    taut.compress(checkpoint, tmp_path / "a.taut.safetensors", key=ALL, bits=24)
    found: Any = taut.load(tmp_path / "a.taut.safetensors", nested=True)
    same(found["optimizer"], checkpoint["optimizer"])
    assert not torch.equal(found["model"]["0.weight"], checkpoint["model"]["0.weight"])


def test_tied_tensors_share_their_memory_again(tmp_path: Path) -> None:
    one = torch.randn(6, 7)
    taut.compress({"a": {"w": one}, "b": [one]}, tmp_path / "a.taut.safetensors", key=ALL)
    found: Any = taut.load(tmp_path / "a.taut.safetensors", nested=True)
    assert found["a"]["w"].data_ptr() == found["b"][0].data_ptr()


def test_what_is_not_plain_is_told_with_its_place(tmp_path: Path) -> None:
    torch.save({"m": {"w": torch.ones(2)}, "args": [Namespace(a=1)]}, tmp_path / "x.pt")
    source = open_source(tmp_path / "x.pt")
    assert 'key "*" (--key) takes all' in " ".join(notes_of(source))
    with pytest.raises(ArgumentError, match=r'x\.pt: holds a Namespace at "args\.0"'):
        open_source(ModelFile(tmp_path / "x.pt", ALL))
    deep: object = torch.ones(1)
    for _ in range(80):
        deep = [deep]
    with pytest.raises(ArgumentError, match="nested more than 64"):
        taut.compress({"deep": deep}, tmp_path / "a.taut.safetensors", key=ALL)
    taut.compress({"w": np.ones(3)}, tmp_path / "w.taut.safetensors")
    with pytest.raises(ArgumentError, match="leave framework out"):
        taut.load(tmp_path / "w.taut.safetensors", nested=True, framework="torch")  # type: ignore[call-overload]
    with pytest.raises(ArgumentError, match="no whole checkpoint"):
        taut.load(tmp_path / "w.taut.safetensors", nested=True)
    assert not (tmp_path / "a.taut.safetensors").exists()


HOSTILE = [
    [],
    1.5,
    {},
    {"call": "os.system"},
    {"tensor": "absent"},
    {"tensor": ["w"]},
    {"tensor": "w", "parameter": 1},
    {"dict": [["a"]]},
    {"dict": "ab"},
    {"dict": [[{"list": []}, 1]]},
    {"ordered": [["a", 1]], "beside": {"dict": [[1, 2]]}},
    {"set": [{"list": []}]},
    {"size": ["a"]},
    {"int": "x"},
    {"float": "1e5x"},
    {"bytes": "é"},
    {"scalar": ["O", "00"]},
    {"scalar": ["<f8", "00"]},
    {"dtype": "load"},
    {"device": "no such"},
    {"array": "torch.nest"},
    {"list": "w"},
    {"list": [{"tensor": "w"}, {"tensor": "w", "more": 1}]},
    {"list": []},
]


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nested")
    torch.save([{"w": torch.ones(4)}], folder / "x.pt")
    return taut.compress(folder / "x.pt", folder / "x.taut.safetensors").path


@pytest.mark.parametrize("node", HOSTILE, ids=str)
def test_a_nest_of_a_stranger_is_refused(node: object, nested: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("taut.loading.nests.unpack_nest", lambda *_: node)
    with pytest.raises(FormatError, match="nest"):
        nest_of(open_taut(nested), {"0.w": torch.ones(4), "w": torch.ones(2)})


def _deflated(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-15)
    return coder.compress(data) + coder.flush()


PACKED = {
    "no stream": b"\xff\xff",
    "cut": _deflated(b'{"list":[]}')[:-2],
    "more": _deflated(b"1") + b"x",
    "no JSON": _deflated(b"{"),
    "deep": _deflated(b"[" * 200_000),
    "large": _deflated(bytes(1 << 27)),
    "deep lists": _deflated(json.dumps(None).encode().join([b'{"list":[' * 70, b"]}" * 70])),
}


@pytest.mark.parametrize("name", PACKED)
def test_a_damaged_nest_is_refused(name: str, tmp_path: Path) -> None:
    from taut.io.nest import unpack_nest

    packed = np.frombuffer(PACKED[name], np.uint8)
    if name != "deep lists":
        with pytest.raises(FormatError, match="here: is"):
            unpack_nest(packed, "here")
        return
    source = {"w": np.ones(2, np.float32), "torch.nest": packed}
    found = taut.compress(source, tmp_path / "x.taut.safetensors")
    file = open_taut(found.path)
    object.__setattr__(file.index.origin, "metadata", {"taut.nest": "torch.nest"})
    with pytest.raises(FormatError, match="64 deep"):
        nest_of(file, {"w": torch.ones(2)})


def test_the_order_and_the_notes_of_an_ordered_dict_stay(tmp_path: Path) -> None:
    state: OrderedDict[str, object] = OrderedDict(b={"x": torch.ones(1)}, a=1)
    state.__dict__["_metadata"] = OrderedDict(version=2)
    taut.compress(state, tmp_path / "a.taut.safetensors", key=ALL)
    same(taut.load(tmp_path / "a.taut.safetensors", nested=True), state)
