"""Gives a model back: as arrays, as torch tensors, or into a module."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, overload

from taut.container import BaseSpec, TautFile, open_taut
from taut.container.through_stores import through_stores
from taut.errors import ArgumentError
from taut.loading.arrays import TorchFile
from taut.loading.float_file import FloatFile, need_floats, with_floats
from taut.loading.gguf_tensors import GgufTensors
from taut.loading.modules import load_into
from taut.loading.restore_gguf import is_gguf
from taut.machine import checked_threads
from taut.planning.target import parse_bytes

if TYPE_CHECKING:
    import torch

    Module = TypeVar("Module", bound=torch.nn.Module)


@overload
def load(
    file: str | Path,
    *,
    into: None = None,
    framework: Literal["numpy"] = "numpy",
    on_demand: Literal[False] = False,
    cache: None = None,
    dequantize: bool | None = None,
    threads: int | None = None,
    base: BaseSpec | None = None,
) -> TautFile | GgufTensors: ...


@overload
def load(
    file: str | Path,
    *,
    into: None = None,
    framework: Literal["torch"],
    on_demand: Literal[False] = False,
    cache: None = None,
    dequantize: bool | None = None,
    threads: int | None = None,
    base: BaseSpec | None = None,
) -> TorchFile: ...


@overload
def load(
    file: str | Path,
    *,
    into: Module,
    framework: Literal["numpy", "torch"] = "torch",
    on_demand: bool = False,
    cache: str | int | None = None,
    dequantize: bool | None = None,
    threads: int | None = None,
    base: BaseSpec | None = None,
) -> Module: ...


@through_stores("file", keep=True, glance=lambda given: given.get("into") is None)
def load(
    file: str | Path,
    *,
    into: torch.nn.Module | None = None,
    framework: Literal["numpy", "torch"] = "numpy",
    on_demand: bool = False,
    cache: str | int | None = None,
    dequantize: bool | None = None,
    threads: int | None = None,
    base: BaseSpec | None = None,
) -> TautFile | GgufTensors | TorchFile | torch.nn.Module:
    """Open a Taut file, or the one in a model folder, as a lazy mapping of name to tensor.

    A file of a GGUF model gives the numbers of its quantised tensors as float32, and their blocks
    with `blocks(name)` (`GgufTensors`).

    With `into`, load all tensors into that module (it is changed in place, by `load_state_dict`)
    and give it back; names, shapes and dtypes must be the module's. A file of a pruned model holds
    the shapes: its layers are made as small as the file's first, so that the module may be one of
    the class that was pruned.

    With `on_demand` the large weights of that module stay compressed: each is decoded for the layer
    that runs (the next one's meanwhile) and let go after it. Its parameters may be on the meta
    device. It is frozen and stays on the CPU; `module.taut` is its `OnDemand`, which tells what
    it holds and ends it (docs/loading.md). `cache` ("256MB", or bytes) is how much of the decoded
    weights is kept from one pass to the next, beside those that are in use.

    With `dequantize` the low-bit weights of a checkpoint (FP8, NVFP4, MXFP4, packed integers, NF4)
    are given as the floats that they stand for, under the names that a network has for them; else
    the tensors are given as they are. A module that has the one or the other decides for itself.

    A delta is decoded with its `base`: a path, a mapping of arrays, what `load` gave, or several of
    these in a list where a base is a delta itself. If none is given, it is looked for beside the
    file, under the name that it had.

    Raises:
        FormatError, VerifyError: the file is damaged, or the base is another one; a module is then
            as it was. On demand, damage to a large weight is found when its layer runs.
        ArgumentError: no such file, or it does not fit the module; the message lists what differs.
            Or `cache` is no size in bytes.
    """
    kept = _check_call(framework, into, on_demand, cache)
    opened = open_taut(file, threads=checked_threads(threads), base=base)
    if dequantize or (dequantize is None and into is not None and _lacks(into, opened)):
        opened = _floats(opened, on_demand)
    if into is not None:
        return load_into(TorchFile(opened), into, on_demand=on_demand, cache=kept)
    numbers = GgufTensors(opened) if is_gguf(opened) else None
    if framework == "torch":
        return TorchFile(opened, numbers)
    return opened if numbers is None else numbers


def _check_call(
    framework: str, into: torch.nn.Module | None, on_demand: bool, cache: str | int | None
) -> int:
    """Raise `ArgumentError` for arguments that are wrong or do not go together; gives the cache."""
    if framework not in ("numpy", "torch"):
        raise ArgumentError(f'framework {framework!r} is unknown; "numpy" or "torch"')
    if on_demand and into is None:
        raise ArgumentError(
            "on_demand needs a module: taut.load(file, into=module, on_demand=True)"
        )
    if cache is None:
        return 0
    if not on_demand:
        raise ArgumentError("cache is for on_demand=True: loaded weights are all kept anyway")
    return parse_bytes(cache, "cache")


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
