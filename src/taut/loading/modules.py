"""Puts the tensors of a Taut file into a module."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

from taut.errors import ArgumentError
from taut.io import SAFETENSORS_DTYPES, TensorInfo
from taut.io.names import nearest
from taut.io.pytorch import memory_of
from taut.io.wrappers import refuse_programs
from taut.loading.arrays import TORCH_TYPES, TorchFile
from taut.loading.fitted_names import fitted_file
from taut.loading.masks import Masks
from taut.loading.reshape import reshaped
from taut.networks.calls import explained
from taut.networks.copies import unexpanded

if TYPE_CHECKING:
    import torch

    Module = TypeVar("Module", bound=torch.nn.Module)

# Of batch norms; old checkpoints, and those made for inference, lack it, as torch allows.
_COUNT = "num_batches_tracked"


def load_into(
    file: TorchFile,
    module: Module,
    *,
    on_demand: bool,
    cache: int = 0,
    cache_dtype: Literal["bfloat16", "int8"] | None = None,
) -> Module:
    """Load all tensors of a file into a module of their names and shapes; gives the module.

    Raises:
        ArgumentError: it does not fit; the message lists what differs.
    """
    import torch

    refuse_programs(module, scripted="cannot load on demand" if on_demand else "")
    if not isinstance(module, torch.nn.Module):
        raise ArgumentError(f"into: a {type(module).__name__} is no torch.nn.Module")
    if hasattr(module, "taut"):
        raise ArgumentError("into: this module loads on demand: module.taut.release() first")
    fill = partial(_attach, cache=cache, cache_dtype=cache_dtype) if on_demand else _fill
    fitted, note = fitted_file(file.file, module)
    if note:
        warnings.warn(note, stacklevel=3)
    file = TorchFile(fitted)
    widths = file.file.modules
    if not widths:
        return fill(file, module)
    refuse_programs(module, scripted="cannot take the widths of pruned channels")
    shapes = {info.name: info.shape for info in file.file.infos}
    with reshaped(module, shapes, widths):
        return fill(file, module)


def _fill(file: TorchFile, module: Module) -> Module:
    import torch

    state = module.state_dict(keep_vars=True)
    masks = Masks.between(module, state, file)
    unsaved = _check_fits(file, module, masks)
    tensors = file.load_all()
    masks.fill(tensors, state)
    _check_tied(module, tensors)
    for tensor in (*state.values(), *unsaved.values()):
        unexpanded(tensor)
    with torch.no_grad():
        for name, buffer in unsaved.items():
            buffer.copy_(tensors.pop(name))
        with explained(f"into: load_state_dict() of {type(module).__name__} failed"):
            # Strictness was ours, tied names are let go.
            module.load_state_dict(tensors, strict=False)
        masks.finish(module)
    return module


def _check_tied(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise where a file has two values for what is one tensor in the module."""
    held: dict[Hashable, str] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        memory = memory_of(tensor)
        if memory is None or name not in tensors:
            continue
        first = held.setdefault(memory, name)
        one, other = tensors[first], tensors[name]
        if first != name and not _same(one, other):
            raise ArgumentError(
                f'into: "{first}" and "{name}" are one tensor in {type(module).__name__}, and two '
                "that differ in the file; untie them, by a Parameter of its own for each"
            )


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors of one shape have the same bits."""
    import torch

    return torch.equal(*(each.reshape(-1).view(torch.uint8) for each in (one, other)))


def _attach(
    file: TorchFile,
    module: Module,
    cache: int,
    cache_dtype: Literal["bfloat16", "int8"] | None,
) -> Module:
    from taut.loading.on_demand import attach

    tie = getattr(module, "tie_weights", None)  # of transformers; making it on meta undoes its ties
    if callable(tie) and any(parameter.is_meta for parameter in module.parameters()):
        with explained(f"into: tie_weights() of {type(module).__name__} failed"):
            tie()
    _check_fits(file, module, Masks(), meta=True)
    _check_places(file, module)
    attach(module, file.file, cache, cache_dtype)
    return module


def _check_places(file: TorchFile, module: torch.nn.Module) -> None:
    """All tensors are on the CPU, or on the meta device if the file has them."""
    lost = [n for n, b in module.named_buffers() if b.is_meta and n not in file]
    if lost:
        raise ArgumentError(
            f"{type(module).__name__}: the file has no buffer {', '.join(lost[:8])}, which the "
            "module made itself: build it with its buffers on the CPU (docs/loading.md)"
        )
    away = [n for n, t in module.state_dict().items() if t.device.type not in ("cpu", "meta")]
    if away:
        raise ArgumentError(f'on_demand is for the CPU; "{away[0]}" is not there')


def _check_fits(
    file: TorchFile, module: Module, masks: Masks, *, meta: bool = False
) -> dict[str, torch.Tensor]:
    """Raise unless the file has the module's tensors; gives buffers that the module never saves.

    They may still be in a file of an older version of it.
    """
    state = module.state_dict(keep_vars=True)
    unsaved = {n: b for n, b in module.named_buffers() if n not in state and n in file}
    infos = {info.name: info for info in masks.of_file(file.file.infos)}
    problems = _differences(infos, masks.of_state({**state, **unsaved}), meta=meta)
    if problems:
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise ArgumentError(
            f"{file.file.path} does not fit {type(module).__name__}: "
            f"{'; '.join(problems[:8])}{more}"
        )
    return unsaved


def _differences(
    infos: Mapping[str, TensorInfo], state: Mapping[str, torch.Tensor], *, meta: bool
) -> list[str]:
    """What keeps the tensors of a file from being those of a module, a line each."""
    missing = _missing(infos, state)
    problems = []
    for name, tensor in state.items():
        if name in infos:
            problems += _mismatch(infos[name], tensor, meta=meta)
        elif name in missing:
            problems.append(f'"{name}" is missing in the file{nearest(name, infos)}')
    extra = [name for name in infos if name not in state]
    problems += [f'"{name}" is not in the module{nearest(name, state)}' for name in extra]
    return problems


def _missing(infos: Mapping[str, TensorInfo], state: Mapping[str, torch.Tensor]) -> set[str]:
    """Tensors of a module that a file lacks; not those tied to one that it has, nor counts."""
    present = {_memory(tensor) for name, tensor in state.items() if name in infos}
    lacking = {n: t for n, t in state.items() if n not in infos and n.rpartition(".")[2] != _COUNT}
    return {n for n, t in lacking.items() if _memory(t) not in present or not t.numel()}


def _mismatch(info: TensorInfo, tensor: torch.Tensor, *, meta: bool) -> list[str]:
    if tensor.is_meta and not meta:
        return [f'"{info.name}" has no memory (meta device): module.to_empty(device="cpu") first']
    if tuple(tensor.shape) != info.shape:
        return [
            f'"{info.name}" is {list(info.shape)} in the file, {list(tensor.shape)} in the module'
        ]
    ours = TORCH_TYPES.get(info.dtype) or str(SAFETENSORS_DTYPES.get(info.dtype, info.dtype))
    theirs = str(tensor.dtype).removeprefix("torch.")
    if ours != theirs:
        return [
            f'"{info.name}" is {ours} in the file, {theirs} in the module: '
            f"module.to(torch.{ours}) first"
        ]
    return []


def _memory(tensor: torch.Tensor) -> tuple[object, ...]:
    if tensor.is_meta:
        return (id(tensor),)
    return (tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
