"""Gives a model back: as arrays, as torch tensors, or into a module."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar, overload

import numpy as np

from taut.container import BaseSpec, TautFile, open_taut
from taut.container.find import as_path
from taut.container.through_stores import through_stores
from taut.errors import ArgumentError
from taut.io.file_objects import BinaryFile
from taut.io.names import nearest
from taut.loading.arrays import ArrayFile, TorchFile
from taut.loading.float_file import FloatFile, need_floats, with_floats
from taut.loading.gguf_tensors import GgufTensors
from taut.loading.modules import load_into
from taut.loading.nests import load_nest
from taut.loading.restore_gguf import is_gguf
from taut.machine import checked_threads
from taut.planning.target import parse_bytes

if TYPE_CHECKING:
    import torch

    Module = TypeVar("Module", bound=torch.nn.Module)

FileSpec: TypeAlias = "str | Path | BinaryFile | bytes"
"""A Taut file or model folder, an open binary file, or the bytes of one."""
ArraysOf: TypeAlias = "Literal['numpy', 'np']"
TensorsOf: TypeAlias = "Literal['torch', 'pt']"
DeviceSpec: TypeAlias = "str | int | torch.device"

_NARROW: Final = ("bfloat16", "int8")
_NUMPY: Final = ("numpy", "np")
_TORCH: Final = ("torch", "pt", "pytorch")
_OTHERS: Final = ("tf", "tensorflow", "jax", "flax", "mlx", "paddle")


@overload
def load(
    file: FileSpec,
    *,
    into: None = None,
    framework: ArraysOf | None = None,
    device: None = None,
    dtype: str | np.dtype | type | None = None,
    on_demand: Literal[False] = False,
    cache: None = None,
    dequantize: bool | None = None,
    threads: int | None = None,
    base: BaseSpec | None = None,
) -> TautFile | GgufTensors | ArrayFile: ...


@overload
def load(
    file: FileSpec,
    *,
    nested: Literal[True],
    threads: int | None = None,
    base: BaseSpec | None = None,
) -> object: ...


@overload
def load(
    file: FileSpec,
    *,
    into: None = None,
    framework: TensorsOf,
    device: DeviceSpec | None = None,
    dtype: str | torch.dtype | None = None,
    on_demand: Literal[False] = False,
    cache: None = None,
    dequantize: bool | None = None,
    threads: int | None = None,
    base: BaseSpec | None = None,
) -> TorchFile: ...


@overload
def load(
    file: FileSpec,
    *,
    into: None = None,
    framework: TensorsOf | None = None,
    device: DeviceSpec,
    dtype: str | torch.dtype | None = None,
    on_demand: Literal[False] = False,
    cache: None = None,
    dequantize: bool | None = None,
    threads: int | None = None,
    base: BaseSpec | None = None,
) -> TorchFile: ...


@overload
def load(
    file: FileSpec,
    *,
    into: Module,
    framework: ArraysOf | TensorsOf | None = None,
    device: None = None,
    dtype: None = None,
    on_demand: bool = False,
    cache: str | int | None = None,
    cache_dtype: Literal["bfloat16", "int8"] | None = None,
    dequantize: bool | None = None,
    threads: int | None = None,
    base: BaseSpec | None = None,
) -> Module: ...


@through_stores("file", keep=True, glance=lambda given: given.get("into") is None)
def load(
    file: FileSpec,
    *,
    into: torch.nn.Module | None = None,
    framework: str | None = None,
    device: DeviceSpec | None = None,
    dtype: object = None,
    on_demand: bool = False,
    cache: str | int | None = None,
    cache_dtype: Literal["bfloat16", "int8"] | None = None,
    dequantize: bool | None = None,
    nested: bool = False,
    threads: int | None = None,
    base: BaseSpec | None = None,
) -> object:
    """Open a Taut file, or the one in a model folder, as a lazy mapping of name to tensor.

    `with load(path) as file:` closes it; `get_slice(name)[:10]` decodes a part, and the other words
    of `safetensors.safe_open` work too. `framework` is "numpy" or "pt"; torch's tensors come on
    `device`, and floats of either in `dtype`. A GGUF model gives its numbers, and its blocks with
    `blocks(name)`.

    With `into` all tensors go into that module, in place, which is given back; names, shapes and
    dtypes must be its own (layers of a pruned model are made as small as the file's first). With
    `on_demand` its large weights stay compressed, and each is decoded for the layer that runs, on
    the CPU; `module.taut` tells what it holds, and ends it (docs/loading.md). `cache` ("256MB", or
    bytes) is how much of the decoded weights is kept from one pass to the next; wider ones are kept
    rounded to `cache_dtype` ("bfloat16", "int8"), which changes what the module gives.

    With `dequantize` low-bit weights (FP8, NVFP4, MXFP4, packed integers, NF4) are given as the
    floats that they stand for; a module that has the one or the other decides for itself. With
    `nested` a checkpoint of PyTorch that was compressed as a whole is given as `torch.load` would.
    A delta is decoded with its `base`: a path, a mapping, or several in a list; if none is given,
    it is looked for beside the file.

    Raises:
        FormatError, VerifyError: the file is damaged, or the base is another one; a module is then
            as it was. On demand, damage to a large weight is found when its layer runs.
        ArgumentError: no such file, or it does not fit the module; the message lists what differs.
            Or `cache` is no size in bytes.
    """
    kind = _check_call(framework, into, on_demand, device, dtype)
    kept = _checked_cache(cache, on_demand)
    _check_cache_dtype(cache_dtype, kept)
    opened = open_taut(as_path(file), threads=checked_threads(threads), base=base)
    if nested:
        _check_nested(kind, into, dequantize)
        return load_nest(opened)
    if dequantize or (dequantize is None and into is not None and _lacks(into, opened)):
        opened = _floats(opened, on_demand)
    if into is not None:
        return load_into(
            TorchFile(opened), into, on_demand=on_demand, cache=kept, cache_dtype=cache_dtype
        )
    return _in_form(opened, kind, device, dtype)


def _in_form(
    opened: TautFile, kind: Literal["numpy", "torch"], device: object, dtype: object
) -> TautFile | GgufTensors | ArrayFile | TorchFile:
    """The tensors of a file as they are asked for."""
    numbers = GgufTensors(opened) if is_gguf(opened) else None
    if kind == "torch":
        return TorchFile(opened, numbers, device=device, dtype=dtype)
    if dtype is not None:
        return ArrayFile(opened, numbers, dtype=dtype)
    return opened if numbers is None else numbers


def _check_call(
    framework: object, into: object, on_demand: bool, device: object, dtype: object
) -> Literal["numpy", "torch"]:
    """The framework that is meant; raises `ArgumentError` for what does not go together."""
    if on_demand and into is None:
        raise ArgumentError(
            "on_demand needs a module: taut.load(file, into=module, on_demand=True)"
        )
    own = {"device": device, "dtype": dtype}
    if into is not None and (said := [name for name, one in own.items() if one is not None]):
        raise ArgumentError(
            f"{said[0]}: a module has its own; move it before or after: module.to({said[0]}=...)"
        )
    return framework_of(framework, device, dtype)


def _checked_cache(cache: str | int | None, on_demand: bool) -> int:
    if cache is None:
        return 0
    if not on_demand:
        raise ArgumentError("cache is for on_demand=True: loaded weights are all kept anyway")
    return parse_bytes(cache, "cache")


def _check_cache_dtype(cache_dtype: object, kept: int) -> None:
    """Raise `ArgumentError` for a dtype that weights are not kept in, or without a cache."""
    if cache_dtype is None:
        return
    if cache_dtype not in _NARROW:
        near = nearest(cache_dtype, _NARROW) if isinstance(cache_dtype, str) else ""
        raise ArgumentError(f'cache_dtype: {cache_dtype!r} is none of "bfloat16", "int8"{near}')
    if not kept:
        raise ArgumentError('cache_dtype is of what is kept: give cache="256MB" as well')


def framework_of(framework: object, device: object, dtype: object) -> Literal["numpy", "torch"]:
    """The framework that a call means: torch where it names a device or dtype of torch's.

    Raises:
        ArgumentError: it is unknown, or has no devices.
    """
    if framework is None:
        is_torch = device is not None or type(dtype).__module__ == "torch"
        return "torch" if is_torch else "numpy"
    name = framework.lower() if isinstance(framework, str) else ""
    if name in _TORCH:
        return "torch"
    if name not in _NUMPY:
        raise ArgumentError(f'framework {framework!r} is unknown; "numpy" or "pt"{_hint(name)}')
    if device is not None:
        raise ArgumentError('device: is for torch\'s tensors; give framework="pt"')
    return "numpy"


def _check_nested(kind: str, into: torch.nn.Module | None, dequantize: bool | None) -> None:
    """Raise `ArgumentError` for what does not go with a checkpoint as it was."""
    asked = {"framework": kind == "torch", "into": into is not None, "dequantize": dequantize}
    for name in (name for name, given in asked.items() if given):
        raise ArgumentError(f"nested: gives a checkpoint as it was; leave {name} out")


def _hint(framework: str) -> str:
    """What may serve somebody who names another framework."""
    if framework in _OTHERS:
        return "; arrays of numpy go into any other"
    return nearest(framework, [*_NUMPY, *_TORCH]) if framework else ""


def _floats(file: TautFile, on_demand: bool) -> TautFile:
    """The file with its low-bit weights as floats, all of them at once."""
    if on_demand:
        raise ArgumentError(
            "on_demand: is for weights as the file has them, and these are low-bit, to be given as "
            "floats; leave it out"
        )
    return need_floats(file)


def _lacks(module: torch.nn.Module, file: TautFile) -> bool:
    """Whether a module has none of the tensors that low-bit weights in a file are made of.

    Weights that keep their names have another dtype in it.
    """
    if not file.index.origin.quantization or not hasattr(module, "state_dict"):
        return False
    state = module.state_dict(keep_vars=True)
    floats = with_floats(file)
    if not isinstance(floats, FloatFile):
        return False
    for weight in floats.weights.values():
        beside = [part for part in weight.parts if part != weight.info.name]
        if any(part in state for part in beside):
            return False
    return True
