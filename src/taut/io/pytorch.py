"""PyTorch's modules and state dicts, as a lazy source of numpy views.

Surprises first. torch is imported inside functions only. numpy has no bfloat16 of torch's, so such
tensors pass as integers of the same width: no copy, no change of a bit.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Final, TypeGuard

import numpy as np

from taut.errors import ArgumentError
from taut.io.dtypes import DTYPE_BITS, SAFETENSORS_DTYPES, tensor_nbytes
from taut.io.in_memory import Entry, MemorySource, memory_source, numpy_entry
from taut.io.tensor_info import TensorInfo
from taut.io.wrappers import inner, plain_name, refuse_programs, wrapped

if TYPE_CHECKING:
    import torch

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
    plain = tensor.is_contiguous() and not (tensor.is_conj() or tensor.is_neg())
    as_it_lies = plain and tensor.device.type == "cpu"
    return Entry(
        info,
        memory_of(tensor),
        lambda: to_numpy(tensor),
        (lambda begin, end: to_numpy(tensor).reshape(-1)[begin:end]) if as_it_lies else None,
    )


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

    What wraps a network (torch.compile, DataParallel) has no part in the names.

    Raises:
        ArgumentError: a tensor cannot be stored (see `torch_entry`), there is none, or the module
            is a scripted or traced program.
    """
    refuse_programs(module)
    wrappers = wrapped(module)
    identity = f"module {type(inner(module)).__name__}"
    try:
        state = module.state_dict()
    except Exception as error:  # a class of the caller's may do anything in it
        what = f"{type(error).__name__}: {error}"
        raise ArgumentError(f"{identity}: its state_dict() failed: {what}") from error
    named = {plain_name(name, wrappers): value for name, value in state.items()}
    return memory_source(state_entries(named, identity), identity)


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


def part_entry(name: str, value: object) -> Entry:
    """An entry of a tensor, or of an array of numpy.

    Raises:
        ArgumentError: it is neither, or cannot be stored.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        return numpy_entry(name, value)
    if is_tensor(value):
        return torch_entry(name, value)
    raise ArgumentError(_not_a_tensor(name, value))


def memory_of(tensor: torch.Tensor) -> Hashable:
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
