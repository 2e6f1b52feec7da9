"""PyTorch's tensors come out bit for bit, tied ones once; the model is left alone; no code runs."""

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from taut.errors import ArgumentError, FormatError
from taut.io import DTYPE_BITS, SAFETENSORS_DTYPES, open_source
from taut.io.model_file import ModelFile
from taut.io.pytorch import torch_entry

torch = pytest.importorskip("torch")

DTYPES = {
    "bool": "BOOL", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64", "uint8": "U8",
    "uint16": "U16", "uint32": "U32", "uint64": "U64", "float16": "F16", "float32": "F32",
    "float64": "F64", "complex64": "C64", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3",
    "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2": "F8_E5M2", "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
}  # fmt: skip


@pytest.mark.parametrize("word", DTYPES)
def test_every_dtype_comes_out_bit_for_bit(word: str, rng: np.random.Generator) -> None:
    if not hasattr(torch, word):
        pytest.skip(f"this torch has no {word}")
    nbytes = 12 * DTYPE_BITS[DTYPES[word]] // 8
    bits = bytearray(rng.bytes(nbytes) if word != "bool" else b"\0\1\1\0" * 3)
    tensor = torch.frombuffer(bits, dtype=torch.uint8).view(getattr(torch, word)).reshape(3, 4)
    state = {"w": tensor, "t": tensor.T, "s": tensor[1, 2], "none": tensor[:0], "row": tensor[1:]}
    source = open_source(state)
    dtype = SAFETENSORS_DTYPES[DTYPES[word]]
    expected = np.frombuffer(bits, dtype).reshape(3, 4)
    views = {"w": expected, "t": expected.T, "s": expected[1, 2], "none": expected[:0]}
    for name, view in {**views, "row": expected[1:]}.items():
        loaded = source.load(name)
        assert (loaded.dtype, loaded.shape) == (dtype, view.shape)
        assert loaded.tobytes() == view.tobytes()
        assert loaded.flags.c_contiguous
        assert not loaded.flags.writeable
    assert {info.dtype for info in source.infos} == {DTYPES[word]}
    assert np.shares_memory(source.load("w"), np.frombuffer(bits, np.uint8))  # no copy
    assert source.aliases == {}


def test_float4_is_kept_as_packed_bytes() -> None:
    if not hasattr(torch, "float4_e2m1fn_x2"):
        pytest.skip("this torch has no float4")
    packed = torch.arange(6, dtype=torch.uint8).reshape(2, 3).view(torch.float4_e2m1fn_x2)
    source = open_source({"w": packed})
    assert (source.infos[0].dtype, source.infos[0].shape) == ("F4", (2, 6))
    assert source.load("w").tobytes() == bytes(range(6))


def test_lazy_conjugation_and_negation_are_carried_out() -> None:
    values = torch.tensor([1 + 2j, 3 - 4j], dtype=torch.complex64)
    source = open_source({"w": values, "c": values.conj(), "n": values.conj().imag})
    assert source.aliases == {}
    np.testing.assert_array_equal(source.load("c"), np.array([1 - 2j, 3 + 4j], np.complex64))
    np.testing.assert_array_equal(source.load("n"), np.array([-2, 4], np.float32))


def test_an_unaligned_tensor_is_loaded_aligned() -> None:
    tensor = torch.frombuffer(bytearray(range(33)), dtype=torch.float32, offset=1)
    loaded = open_source({"w": tensor}).load("w")
    assert loaded.flags.aligned
    assert loaded.tobytes() == bytes(range(1, 33))


class Tied(torch.nn.Module):
    """An embedding whose weight is the head's as well, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(4, 3)
        self.head = torch.nn.Linear(3, 4)
        self.head.weight = self.embed.weight
        self.register_buffer("steps", torch.tensor(7))
        self.register_buffer("cache", torch.zeros(9), persistent=False)


def test_a_module_gives_its_state_with_tied_tensors_once() -> None:
    model = Tied()
    source = open_source(model)
    assert [info.name for info in source.infos] == [
        "steps", "embed.weight", "head.weight", "head.bias",
    ]  # fmt: skip
    assert source.aliases == {"head.weight": "embed.weight"}
    assert source.nbytes == 8 + 48 + 16
    assert source.load("steps") == 7
    np.testing.assert_array_equal(source.load("head.weight"), model.embed.weight.detach().numpy())


def test_the_callers_model_is_not_changed() -> None:
    model = Tied().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    source = open_source(model)
    for info in source.infos:
        assert not source.load(info.name).flags.writeable
    assert model.training
    assert model.head.weight is model.embed.weight
    assert model.embed.weight.requires_grad
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())


def test_parts_of_one_storage_are_not_taken_for_tied() -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    state = {
        "whole": whole,
        "rows": whole[:2],
        "turned": whole.T,
        "flat": whole.reshape(-1),
        "bits": whole.view(torch.int32),
        "same": whole.detach(),
        "copy": whole.clone(),
    }
    source = open_source(state)
    assert source.aliases == {"same": "whole"}
    for name, tensor in state.items():
        np.testing.assert_array_equal(source.load(name), tensor.numpy(), strict=True)


def test_a_mixture_of_arrays_and_tensors_is_a_model_too() -> None:
    source = open_source({"a": np.ones(2), "b": torch.ones(2)})  # type: ignore[arg-type]
    assert [info.dtype for info in source.infos] == ["F64", "F32"]


def refused() -> dict[str, tuple[Callable[[], object], str]]:
    """Makers of tensors without dense data, and what the error says to do."""
    eye = torch.eye(2)
    return {
        "sparse": (lambda: eye.to_sparse(), r"torch.sparse_coo; .*to_dense\(\)"),
        "csr": (lambda: eye.to_sparse_csr(), r"torch.sparse_csr; .*to_dense\(\)"),
        "meta": (lambda: eye.to("meta"), "meta device and has no data; load the weights"),
        "quantized": (
            lambda: torch.quantize_per_tensor(eye, 0.1, 0, torch.qint8),
            r"quantized by torch; .*dequantize\(\)",
        ),
        "complex128": (lambda: eye.to(torch.complex128), "is complex128, .*view_as_real"),
        "lazy": (lambda: torch.nn.LazyLinear(2).weight, "not initialised yet; run one batch"),
        "nested": (lambda: torch.nested.nested_tensor([eye, eye[0:1]]), "is nested"),
        "a float": (lambda: 1.0, 'entry "w" is a float'),
        "none": (lambda: None, 'entry "w" is a NoneType'),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", refused())
def test_a_tensor_without_dense_data_is_refused_by_name(case: str) -> None:
    make, message = refused()[case]
    with pytest.raises(ArgumentError, match=f'"w" .*{message}|{message}') as caught:
        open_source({"w": make()})  # type: ignore[dict-item]
    assert '"w"' in str(caught.value)


def test_a_tensor_subclass_that_hides_its_data_is_refused() -> None:
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode() as mode:
        fake = mode.from_tensor(torch.ones(2))
    with pytest.raises(ArgumentError, match=r'tensor "w" is a FakeTensor, not a plain tensor'):
        torch_entry("w", fake)


def test_a_module_without_tensors_is_refused() -> None:
    with pytest.raises(ArgumentError, match="module ReLU: holds no tensors"):
        open_source(torch.nn.ReLU())


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_is_read_with_its_ties(suffix: str, zipped: bool, tmp_path: Path) -> None:
    model, path = Tied(), tmp_path / f"model{suffix}"
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=zipped)
    source = open_source(path)
    assert source.aliases == {"head.weight": "embed.weight"}
    assert source.nbytes == path.stat().st_size
    assert source.files == ()
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(source.load(name), tensor.numpy(), strict=True)


class Bomb:
    """What runs when a careless reader unpickles it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.target),))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_bomb_is_refused_and_does_not_go_off(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    state = {"w": torch.ones(1), "x": Bomb(tmp_path / "boom")}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(FormatError, match=r"pytorch_model.bin: refused: .*state_dict\(\)"):
        open_source(path)
    assert not (tmp_path / "boom").exists()


def test_a_plain_pickle_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "boom")))
    with pytest.raises(FormatError, match=r"model.pt: "):
        open_source(path)
    assert not (tmp_path / "boom").exists()
    path.write_bytes(pickle.dumps({"w": np.ones(3)}))
    with pytest.raises(FormatError, match=r"model.pt: refused: .*torch.save did not write"):
        open_source(path)


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(FormatError, match=r"refused: .*an object of torch.*build.py:model"):
        open_source(tmp_path / "model.pt")


@pytest.mark.parametrize("text", [b"PK\3\4", b"PK\3\4" + bytes(99), b"\x80\2.", b"\1" * 99])
def test_a_file_that_is_no_checkpoint_is_refused(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(text)
    with pytest.raises(FormatError, match=r"model.bin: (is cut short|is damaged|refused)"):
        open_source(tmp_path / "model.bin")


def test_a_cut_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    torch.save({"w": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError, match=r"model.bin: is cut short.*fetch it again"):
        open_source(path)


def test_one_tensor_without_a_name_is_refused_with_what_to_do(tmp_path: Path) -> None:
    torch.save(torch.ones(3), tmp_path / "voice.pt")
    with pytest.raises(ArgumentError, match=r"voice.pt: holds a Tensor .*\{name: tensor\}"):
        open_source(tmp_path / "voice.pt")


def test_sharded_checkpoints_are_one_model(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model-1.bin")
    torch.save({"b": torch.zeros(3)}, tmp_path / "pytorch_model-2.bin")
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text('{"weight_map":{"a":"pytorch_model-1.bin","b":"pytorch_model-2.bin"}}')
    source = open_source(tmp_path)
    assert [info.name for info in source.infos] == ["a", "b"]
    assert source.nbytes == sum(path.stat().st_size for path in tmp_path.glob("*.bin"))
    index.write_text('{"weight_map":{"a":"pytorch_model-1.bin","b":"pytorch_model-1.bin"}}')
    assert [info.name for info in open_source(tmp_path).infos] == ["a"]
    with pytest.raises(FormatError, match='tensor "b" is listed, but not in its shard'):
        open_source(ModelFile(tmp_path, strict=True))


def test_without_torch_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "model.bin")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ArgumentError, match=r"pip install 'taut\[torch\]'"):
        open_source(tmp_path / "model.bin")


def test_a_torch_whose_restricted_reader_ran_code_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "model.bin")
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(ArgumentError, match="CVE-2025-32434"):
        open_source(tmp_path / "model.bin")


@pytest.mark.parametrize("computed", [True, False])
def test_a_flipped_bit_in_a_checkpoint_is_found(computed: bool, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    option = torch.serialization.get_crc32_options()
    try:
        torch.serialization.set_crc32_options(computed)
        torch.save({"w": torch.arange(4096.0), "v": torch.ones(8)}, path)
    finally:
        torch.serialization.set_crc32_options(option)
    data = bytearray(path.read_bytes())
    at = data.index(torch.arange(4096.0).numpy().tobytes())
    data[at + 5000] ^= 4
    path.write_bytes(data)
    source = open_source(path)
    if not computed:  # torch.save wrote no checksum to compare with
        assert source.load("w").shape == (4096,)
        return
    for name in ("w", "v"):
        with pytest.raises(FormatError, match=r"m.pt: is damaged: data/0 is not what its checksum"):
            source.load(name)
