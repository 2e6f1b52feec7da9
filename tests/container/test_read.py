"""Lazy reading, all at once, into given memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import taut
from taut.container import Origin, TautFile, Writer
from taut.container.fetch import Fetcher
from taut.errors import ArgumentError, FormatError
from taut.io import TensorInfo
from taut.io.arena import allocate

from .conftest import same


def test_every_tensor_comes_back_to_the_bit(file, arrays):
    opened = TautFile(file)
    assert list(opened) == list(arrays) == [info.name for info in opened.infos]
    assert len(opened) == len(arrays)
    whole = opened.load_all()
    assert list(whole) == list(arrays)
    for name, array in arrays.items():
        assert same(opened[name], array), name
        assert same(whole[name], array), name


@pytest.mark.parametrize(
    ("begins", "what"),
    [
        (b"\x08\x08\x12\x01x" + b"\x3a\x02\x12\x00", "an ONNX model"),
        (b"\x80\x02}q\x00." + bytes(20), "a PyTorch checkpoint"),
    ],
)
def test_a_model_of_another_format_is_named(tmp_path, begins, what):
    (tmp_path / "net").write_bytes(begins)
    with pytest.raises(FormatError, match=f"is {what}, not a Taut file; compress"):
        TautFile(tmp_path / "net")


def test_the_stores_are_the_ones_meant(file):
    stores = {record.name: record.store for record in TautFile(file).index.records}
    assert stores == {
        "coded": "coded",
        "half": "packed",
        "noise": "kept",
        "copy": "alias",
        "bias": "solid",
        "scalar": "solid",
        "steps": "solid",
        "mask": "solid",
        "empty": "kept",
    }


def test_arrays_are_the_callers_own(file, arrays):
    opened = TautFile(file)
    for name in arrays:
        first = opened[name]
        first.fill(1)
        assert same(opened[name], arrays[name]), name
    whole = opened.load_all()
    whole["copy"].fill(5)  # equal by chance, not tied: no shared memory
    assert same(whole["coded"], arrays["coded"])


def test_one_tensor_is_decoded_when_one_is_asked_for(file, monkeypatch):
    opened = TautFile(file)
    decoded = []
    real = Fetcher.decode
    monkeypatch.setattr(
        Fetcher,
        "decode",
        lambda self, pairs, threads: (
            decoded.extend(checked.place.name for checked, _ in pairs),
            real(self, pairs, threads),
        ),
    )
    assert "nothing" not in opened
    assert "half" in opened
    assert next(opened.tensors())[0] == "coded"
    assert decoded == ["coded"]
    assert opened["bias"].shape == (5,)
    assert opened["scalar"].shape == ()  # of the same group: not decoded again
    assert decoded == ["coded", "taut.solid.F32"]


def test_out_is_written_in_place(file, arrays):
    out = {name: np.full_like(arrays[name], 1) for name in ("coded", "noise", "bias", "copy")}
    whole = TautFile(file).load_all(out=out)
    for name, array in arrays.items():
        assert same(whole[name], array), name
    for name, array in out.items():
        assert whole[name] is array or np.shares_memory(whole[name], array), name
        assert same(array, arrays[name]), name


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ({"codec": np.empty(1)}, 'no tensor "codec"; nearest: coded'),
        ({"coded": np.empty((96, 128))}, "is float64"),
        ({"coded": np.empty((128, 96), np.float32)}, r"\[128, 96\]"),
        ({"coded": np.empty((128, 96), np.float32).T}, "not C-contiguous"),
    ],
)
def test_an_out_that_does_not_fit_is_refused(file, out, message):
    with pytest.raises(ArgumentError, match=message):
        TautFile(file).load_all(out=out)


def test_one_tensor_is_decoded_into_the_array_given(file, arrays):
    opened = TautFile(file)
    for name, array in arrays.items():
        out = np.ones_like(array)
        opened.read_into(name, out)
        assert same(out, array), name
    with pytest.raises(ArgumentError, match=r'out: "coded" is'):
        opened.read_into("coded", np.empty(3, np.float32))
    with pytest.raises(ArgumentError, match="nearest: coded"):
        opened.read_into("code", np.empty(3, np.float32))


def test_an_unknown_name_gets_the_nearest(file):
    with pytest.raises(ArgumentError, match='no tensor "scalr"; nearest: scalar'):
        TautFile(file)["scalr"]
    with pytest.raises(KeyError):
        TautFile(file)["scalr"]
    assert TautFile(file).get("scalr") is None


def test_tied_tensors_share_memory_and_are_stored_once(tmp_path):
    torch = pytest.importorskip("torch")
    embedding = torch.nn.Embedding(3000, 16)
    head = torch.nn.Linear(16, 3000, bias=False)
    head.weight = embedding.weight
    net = torch.nn.ModuleDict({"embedding": embedding, "head": head})
    result = taut.compress(net, tmp_path / "t.taut.safetensors")
    assert result.parameters == 48_000
    assert result.original_size == 192_000
    assert result.tensors[1].bytes == 0
    whole = taut.load(result.path).load_all()
    assert whole["head.weight"] is whole["embedding.weight"]


def test_sub_byte_tensors_travel_as_their_bytes(tmp_path, rng):
    data = rng.integers(0, 256, 24, dtype=np.uint8)
    info = TensorInfo("f6", "F6_E2M3", (4, 8), 24)
    with Writer(tmp_path / "x", Origin(24), [info]) as writer:
        writer.layout.add_small(info, "lossless", data)
        writer.finish()
    opened = TautFile(tmp_path / "x")
    assert opened.infos == (info,)
    assert np.array_equal(opened["f6"], data)


def test_memory_is_aligned_writable_and_as_asked():
    for sizes in ([], [0], [1, 0, 65, 3], [3 << 20, 5]):
        blocks = allocate(sizes)
        assert [block.nbytes for block in blocks] == sizes
        for block in blocks:
            assert block.size == 0 or block.ctypes.data % 64 == 0
            block.fill(7)
        assert sum(int(block.sum()) for block in blocks) == 7 * sum(sizes)
    with pytest.raises(taut.errors.TautError, match="cannot be had"):
        allocate([1 << 61])


def test_a_plain_safetensors_file_is_not_taut(tmp_path):
    from safetensors.numpy import save_file

    save_file({"w": np.ones(4)}, tmp_path / "p.safetensors")
    with pytest.raises(FormatError, match=r"p\.safetensors: header: not a Taut file"):
        TautFile(tmp_path / "p.safetensors")
    with pytest.raises(ArgumentError, match="no such file"):
        taut.load(tmp_path / "missing.taut.safetensors")


def test_reading_names_the_path_as_given(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    Path(file.name).write_bytes(data)
    with pytest.raises(taut.errors.VerifyError, match=f"^{file.name}: index"):
        TautFile(file.name)
