"""PyTorch's modules, state dicts and checkpoint files, as a lazy source of numpy views.

Surprises first. torch is imported inside functions only. numpy has no bfloat16 of torch's, so such
tensors pass as integers of the same width: no copy, no change of a bit. A checkpoint file is a
pickle: it is read by torch's restricted reader (`weights_only=True`) alone, and only from torch
2.6 on, since that reader ran code before (CVE-2025-32434).
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeGuard

import numpy as np

from taut.errors import ArgumentError, FormatError
from taut.io.dtypes import DTYPE_BITS, SAFETENSORS_DTYPES, tensor_nbytes
from taut.io.memory import Entry, MemorySource, memory_source
from taut.io.names import as_text
from taut.io.safetensors import check_complete, check_shard, read_index
from taut.io.stamp import Stamp, copied, stamp_of
from taut.io.tensor import TensorInfo

if TYPE_CHECKING:
    import torch

CHECKPOINT_SUFFIXES: Final = (".bin", ".pt", ".pth", ".ckpt")

# torch's names of dtypes, "torch." left off; float4 packs two values in a byte.
_NAMES: Final = {
    "bool": "BOOL",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2": "F8_E5M2",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
    "float4_e2m1fn_x2": "F4",
}

_REFUSED: Final = (
    "it is damaged, or holds more than plain tensors, which only a reader that runs code could "
    "load. If you trust the file, load it yourself and pass model.state_dict()"
)


def is_module(value: object) -> TypeGuard[torch.nn.Module]:
    """Whether `value` is an nn.Module; never imports torch (then nothing can be one)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def is_tensor(value: object) -> TypeGuard[torch.Tensor]:
    """Whether `value` is a torch tensor; never imports torch (then nothing can be one)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def torch_entry(name: str, tensor: torch.Tensor) -> Entry:
    """An entry of a torch tensor on any device, of any layout that is dense.

    Raises:
        ArgumentError: it has no dense data of a storable dtype; the message says what to do.
    """
    _check_dense(name, tensor)
    word = str(tensor.dtype).removeprefix("torch.")
    dtype = _NAMES.get(word)
    if dtype is None:
        raise ArgumentError(
            f'tensor "{name}" is {word}, which cannot be stored; '
            f"{_remedy(word)}; storable: {', '.join(_NAMES)}"
        )
    shape = tuple(tensor.shape)
    if dtype == "F4":
        if not shape:
            raise ArgumentError(f'tensor "{name}" is a 0-d {word}; reshape it to (1,)')
        shape = (*shape[:-1], 2 * shape[-1])
    info = TensorInfo(name, dtype, shape, tensor_nbytes(dtype, shape))
    return Entry(info, _memory(tensor), lambda: to_numpy(tensor))


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's bits as a C-contiguous array; a view where it is on the CPU and contiguous.

    dtype is the ml_dtypes one where numpy has none; float4 gives its bytes, 1-D.
    """
    import torch

    dense = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    dtype = _NAMES[str(dense.dtype).removeprefix("torch.")]
    if dtype not in SAFETENSORS_DTYPES:
        return np.asarray(dense.view(torch.uint8).numpy().reshape(-1))
    if SAFETENSORS_DTYPES[dtype].isbuiltin == 1:
        return np.asarray(dense.numpy())
    integer = torch.int16 if DTYPE_BITS[dtype] == 16 else torch.uint8
    return np.asarray(dense.view(integer).numpy().view(SAFETENSORS_DTYPES[dtype]))


def open_module(module: torch.nn.Module) -> MemorySource:
    """The parameters and persistent buffers of a module; it is not changed.

    Raises:
        ArgumentError: a tensor cannot be stored (see `torch_entry`), or there is none.
    """
    identity = f"module {type(module).__name__}"
    return memory_source(state_entries(module.state_dict(), identity), identity)


def state_entries(state: Mapping[str, object], identity: str) -> list[Entry]:
    """An entry for each item of a torch state dict.

    Raises:
        ArgumentError: an item is no tensor: nothing is left out silently.
    """
    entries = []
    for name, value in state.items():
        if not isinstance(name, str) or not is_tensor(value):
            raise ArgumentError(f"{identity}: {_not_a_tensor(name, value)}")
        entries.append(torch_entry(name, value))
    return entries


def open_checkpoint(path: Path, companions: tuple[Path, ...] = ()) -> MemorySource:
    """The state dict in a `.bin`, `.pt` or `.pth` file, mapped where torch can.

    Raises:
        FormatError: the restricted reader refuses the file: damaged, or it wants to run code.
        ArgumentError: no torch, no such file, or something else than a state dict is in it.
    """
    entries, stamp = _entries(path)
    nbytes = stamp.nbytes
    return memory_source(entries, str(path), nbytes=nbytes, companions=companions, stamps=(stamp,))


def open_sharded_checkpoint(path: Path, companions: tuple[Path, ...] = ()) -> MemorySource:
    """The shards that a `pytorch_model.bin.index.json` lists; they lie beside it.

    Raises:
        FormatError, ArgumentError: as `open_checkpoint` and `taut.io.safetensors.open_sharded`.
    """
    stamps = [stamp_of(path)] if path.is_file() else []
    weight_map = read_index(path)
    entries: list[Entry] = []
    found: dict[str, str] = {}
    nbytes = 0
    for name in sorted(set(weight_map.values())):
        shard = path.parent / name
        held, stamp = _entries(shard)
        check_shard(path, weight_map, name, (entry.info.name for entry in held), found)
        entries += held
        nbytes += stamp.nbytes
        stamps.append(stamp)
    check_complete(path, weight_map, found)
    return memory_source(
        entries, str(path), nbytes=nbytes, companions=companions, stamps=tuple(stamps)
    )


def _entries(path: Path) -> tuple[list[Entry], Stamp]:
    """The tensors of a checkpoint, and what the file was when it was opened.

    Where torch maps it, each is copied when it is loaded.
    """
    if not path.is_file():
        raise ArgumentError(f"{path}: no such file")
    stamp = stamp_of(path)
    state, mapped = _load(path)
    entries = state_entries(state, str(path))
    return ([_copying(entry, stamp) for entry in entries] if mapped else entries), stamp


def _copying(entry: Entry, stamp: Stamp) -> Entry:
    def load() -> np.ndarray:
        stamp.check()
        return copied(entry.load(), str(stamp.path))

    return replace(entry, load=load)


def _load(path: Path) -> tuple[Mapping[str, object], bool]:
    """What is in a checkpoint, and whether it is mapped."""
    torch = _import_torch(path)
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"  # files from before torch 1.6 cannot be mapped
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        mapped = zipped and as_text(str(path)) == str(path)  # torch takes no other names
        with path.open("rb") as file:
            read = str(path) if mapped else file
            state = torch.load(read, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torch names no set of errors for a damaged file
        if type(error).__name__ == "UnpicklingError":  # not imported: nothing here may unpickle
            raise FormatError(f"{path}: refused: {_REFUSED} ({_first_line(error)})") from None
        raise FormatError(f"{path}: not a PyTorch checkpoint ({_first_line(error)})") from None
    if not isinstance(state, Mapping):
        raise ArgumentError(f"{path}: holds a {type(state).__name__}, not a state dict of tensors")
    return state, mapped


def _import_torch(path: Path):  # type: ignore[no-untyped-def]  # the module itself
    try:
        import torch
    except ImportError:
        raise ArgumentError(
            f"{path}: to read this file takes PyTorch: pip install 'taut[torch]'"
        ) from None
    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    if (major, minor) < (2, 6):
        raise ArgumentError(
            f"{path}: torch {torch.__version__} can run code hidden in such a file "
            "(CVE-2025-32434); pip install -U 'taut[torch]' for 2.6 or later"
        )
    return torch


def _memory(tensor: torch.Tensor) -> Hashable:
    """What two tied tensors have in common: the same bytes, read in the same way."""
    start = tensor.untyped_storage().data_ptr()
    if not start or not tensor.numel():
        return None
    layout = (tensor.storage_offset(), tuple(tensor.shape), tensor.stride())
    return (str(tensor.device), start, tensor.dtype, layout, tensor.is_conj(), tensor.is_neg())


def _check_dense(name: str, tensor: torch.Tensor) -> None:
    import torch

    problem = None
    if torch.nn.parameter.is_lazy(tensor):
        problem = "is not initialised yet; run one batch through the model"
    elif tensor.is_meta:
        problem = "is on the meta device and has no data; load the weights first"
    elif tensor.is_quantized:
        problem = "is quantized by torch; pass tensor.int_repr() and its scales, or dequantize()"
    elif tensor.is_nested or tensor.layout != torch.strided:
        problem = f"is {'nested' if tensor.is_nested else tensor.layout}; pass a dense one, e.g. "
        problem += "tensor.to_dense()"
    elif type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        problem = f"is a {type(tensor).__name__}, not a plain tensor; convert it, e.g. by "
        problem += "dequantize() or full_tensor()"
    if problem:
        raise ArgumentError(f'tensor "{name}" {problem}')


def _remedy(word: str) -> str:
    if word.startswith("complex"):
        return "pass torch.view_as_real(tensor), or convert it to complex64"
    return "convert it with tensor.to(...)"


def _not_a_tensor(name: object, value: object) -> str:
    if not isinstance(name, str):
        return f"the name {name!r} is no text; tensors are named by strings"
    kind = type(value).__name__
    if isinstance(value, Mapping):
        return (
            f'entry "{name}" is a {kind}, so this is no flat state dict; '
            f'save and pass the inner one, checkpoint["{name}"], if the weights are there'
        )
    return f'entry "{name}" is a {kind}, not a tensor; pass a dict of tensors by name alone'


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
