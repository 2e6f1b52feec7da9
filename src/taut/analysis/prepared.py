"""The caller's module, ready for gradients and put back as it was."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from taut.analysis._tracked import Tracked
from taut.errors import ArgumentError
from taut.io.names import nearest
from taut.networks.calls import evaluating
from taut.networks.straight import straight

if TYPE_CHECKING:
    import torch


def matrices(module: torch.nn.Module, names: Collection[str] | None) -> list[Tracked]:
    """The float and complex parameters of two axes or more, tied ones once; all, or those named.

    Raises:
        ArgumentError: a name is none of a parameter's, or a parameter has no data yet.
    """
    known = dict(module.named_parameters(remove_duplicate=False))
    _check(known, names or ())
    found: dict[int, tuple[torch.Tensor, list[str]]] = {}
    for name, parameter in known.items():
        if parameter.ndim >= 2 and _is_real_or_complex(parameter) and parameter.numel():
            found.setdefault(id(parameter), (parameter, []))[1].append(name)
    wanted = None if names is None else set(names)
    return [
        Tracked(tuple(called), parameter)
        for parameter, called in found.values()
        if wanted is None or wanted & set(called)
    ]


def _is_real_or_complex(parameter: torch.Tensor) -> bool:
    return parameter.is_floating_point() or parameter.is_complex()


def _check(known: Mapping[str, torch.nn.Parameter], names: Collection[str]) -> None:
    """Refuse names of no parameter, and parameters that have no data yet."""
    import torch

    for name in names:
        if name not in known:
            raise ArgumentError(f'no parameter is called "{name}"{nearest(name, known)}')
    for name, parameter in known.items():
        if torch.nn.parameter.is_lazy(parameter):
            raise ArgumentError(
                f'parameter "{name}" is not initialised yet; run one batch through the model'
            )


@contextmanager
def prepared(module: torch.nn.Module, tracked: Collection[Tracked], seed: int) -> Iterator[None]:
    """Evaluation mode, gradients for the tracked weights alone, torch's random numbers seeded.

    Nothing is checkpointed or compiled.

    Modes, gradients and the state of the random numbers are as before afterwards.
    """
    import torch

    parameters = list(module.parameters())
    wanted = {id(one.weight) for one in tracked}
    devices = sorted({p.device.index or 0 for p in parameters if p.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices), torch.enable_grad(), straight():
        torch.manual_seed(seed)
        with evaluating(module), _gradients_for(wanted, parameters):
            yield


@contextmanager
def _gradients_for(wanted: set[int], parameters: list[torch.nn.Parameter]) -> Iterator[None]:
    """No gradients yet, and only the wanted parameters (by id) get some; put back afterwards."""
    state = [(p, p.requires_grad, p.grad) for p in parameters]
    try:
        for parameter in parameters:
            parameter.grad = None
            if _is_real_or_complex(parameter):
                parameter.requires_grad_(id(parameter) in wanted)
        yield
    finally:
        for parameter, required, gradient in state:
            parameter.requires_grad_(required)
            parameter.grad = gradient
