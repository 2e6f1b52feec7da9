"""Calls of the caller's module: a batch as its arguments, on its device, in its precision."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

from taut.errors import ArgumentError

if TYPE_CHECKING:
    import torch


def in_single(module: torch.nn.Module) -> torch.nn.Module:
    """The module, or a float32 copy of one with half-precision weights.

    One that cannot be copied is run as it is.
    """
    import torch

    narrow = (torch.float16, torch.bfloat16)
    if not any(parameter.dtype in narrow for parameter in module.parameters()):
        return module
    try:
        return copy.deepcopy(module).float()
    except Exception:  # a module may hold anything
        return module


def run(module: torch.nn.Module, batch: object, where: str) -> object:
    """The module's output for a batch: a dict, arguments in order, or the one argument.

    Raises:
        ArgumentError: the module raised.
    """
    try:
        return applied(module, batch)
    except (ArgumentError, MemoryError):
        raise
    except Exception as error:  # a model may raise anything
        said = f"{type(error).__name__}: {error}"
        raise ArgumentError(f"{where}: the model rejects it: {said}") from error


def applied(module: torch.nn.Module, batch: object) -> object:
    """Give a dict as keywords, a tuple or list as arguments in order, else the one argument."""
    batch = fitted(batch, module)
    if isinstance(batch, Mapping):
        return module(**batch)
    if isinstance(batch, (tuple, list)):
        return module(*batch)
    return module(batch)


def fitted(batch: object, module: torch.nn.Module) -> object:
    """The batch on the module's device, its half-precision floats as the module's."""
    import torch

    one = next(module.parameters(), None)
    if one is None:
        return batch

    def fit(value: object) -> object:
        if isinstance(value, torch.Tensor):
            narrow = value.dtype in (torch.float16, torch.bfloat16)
            return value.to(one.device, one.dtype if narrow else value.dtype)
        if isinstance(value, Mapping):
            return {name: fit(part) for name, part in value.items()}
        if type(value) is tuple:
            return tuple(fit(part) for part in value)
        if type(value) is list:
            return [fit(part) for part in value]
        return value

    return fit(batch)


def samples_of(batch: object) -> int:
    """The first axis of the first tensor; a batch without one is one sample."""
    parts = tuple(batch.values()) if isinstance(batch, Mapping) else batch
    for part in parts if isinstance(parts, (tuple, list)) else (parts,):
        shape = tuple(getattr(part, "shape", ()))
        if shape:
            return int(shape[0])
    return 1
