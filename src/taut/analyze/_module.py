"""The caller's module, ready for gradients and put back as it was."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from taut.analyze._capture import Tracked
from taut.errors import ArgumentError
from taut.io.names import nearest

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


def matrices(module: torch.nn.Module, names: Collection[str] | None) -> list[Tracked]:
    """The float parameters of two axes or more, tied ones once; all, or those named.

    Raises:
        ArgumentError: a name is none of a parameter's, or a parameter has no data yet.
    """
    import torch

    found: dict[int, tuple[torch.Tensor, list[str]]] = {}
    known = dict(module.named_parameters(remove_duplicate=False))
    for name in names or ():
        if name not in known:
            raise ArgumentError(f'no parameter is called "{name}"{nearest(name, known)}')
    for name, parameter in known.items():
        if torch.nn.parameter.is_lazy(parameter):
            raise ArgumentError(
                f'parameter "{name}" is not initialised yet; run one batch through the model'
            )
        if parameter.ndim >= 2 and parameter.is_floating_point() and parameter.numel():
            found.setdefault(id(parameter), (parameter, []))[1].append(name)
    wanted = None if names is None else set(names)
    return [
        Tracked(tuple(called), parameter)
        for parameter, called in found.values()
        if wanted is None or wanted & set(called)
    ]


@contextmanager
def prepared(module: torch.nn.Module, tracked: Collection[Tracked], seed: int) -> Iterator[None]:
    """Evaluation mode, gradients for the tracked weights alone, torch's random numbers seeded.

    Modes, gradients and the state of the random numbers are as before afterwards.
    """
    import torch

    modes = [(part, part.training) for part in module.modules()]
    state = [(p, p.requires_grad, p.grad) for p in module.parameters()]
    wanted = {id(one.weight) for one in tracked}
    devices = sorted({p.device.index or 0 for p, _, _ in state if p.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        torch.manual_seed(seed)
        try:
            module.eval()
            for parameter, _, _ in state:
                parameter.grad = None
                if parameter.is_floating_point():
                    parameter.requires_grad_(id(parameter) in wanted)
            yield
        finally:
            for part, training in modes:
                part.training = training
            for parameter, required, gradient in state:
                parameter.requires_grad_(required)
                parameter.grad = gradient


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
