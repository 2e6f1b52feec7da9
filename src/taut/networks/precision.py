"""Networks in half precision: run in float32 where that works, else as they are.

Widening changes no value, and the arithmetic is exacter and on a CPU faster. A forward that names
the narrow type itself (`x.half()`) runs only as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from taut.errors import ArgumentError
from taut.networks.calls import evaluating, run
from taut.networks.copies import copy_module

if TYPE_CHECKING:
    import torch

    Module = TypeVar("Module", bound=torch.nn.Module)

AS_IT_IS: Final = "the network runs in its own half precision: in float32 it does not run"
_MARK: Final = "_taut_widened"


@dataclass(frozen=True)
class Widened:
    """What was done to a network: the types that its tensors had, and the hook on its inputs."""

    narrow: Mapping[str, torch.dtype]
    hook: torch.utils.hooks.RemovableHandle


def widen(module: Module) -> Module:
    """Make the half-precision tensors of a module float32, in place; inputs are widened on the way.

    >>> import torch
    >>> net = widen(torch.nn.Linear(1, 1).half())
    >>> net.weight.dtype, net(torch.ones(1, dtype=torch.float16)).dtype
    (torch.float32, torch.float32)
    """
    narrow = {name: one.dtype for name, one in _tensors(module).items() if _is_narrow(one)}
    if narrow:
        module._apply(_wide)  # type: ignore[no-untyped-call]
        hook = module.register_forward_pre_hook(_wide_arguments, with_kwargs=True)
        vars(module)[_MARK] = Widened(narrow, hook)
    return module


def restore(module: torch.nn.Module) -> bool:
    """Undo `widen`, in place; no value changes. Whether there was anything to undo."""
    import torch

    done: Widened | None = vars(module).pop(_MARK, None)
    if done is None:
        return False
    done.hook.remove()
    with torch.no_grad():
        for name, one in _tensors(module).items():
            if name in done.narrow:
                one.data = one.data.to(done.narrow[name])
    return True


def widen_if_it_runs(module: torch.nn.Module, batch: object) -> bool:
    """Widen a network, in place, unless it takes the batch only in its own half precision.

    Whether it runs in float32 now, or had nothing to widen.
    """
    import torch

    if is_widened(module) or not has_narrow(module):
        return True
    try:
        with torch.no_grad(), evaluating(widen(module)):
            run(module, batch, "in float32")
    except ArgumentError:  # its forward names the narrow type itself
        return not restore(module)
    return True


def is_widened(module: torch.nn.Module) -> bool:
    """Whether `widen` changed a module."""
    return _MARK in vars(module)


def as_it_was(module: torch.nn.Module) -> torch.nn.Module | None:
    """A copy of a widened network in its own precision; None of one that was not widened."""
    if not is_widened(module):
        return None
    copy = copy_module(module)
    restore(copy)
    return copy


def in_single(module: torch.nn.Module, batches: Callable[[], Iterable[object]]) -> torch.nn.Module:
    """The module, or a float32 copy of one with half-precision weights, if that takes a batch."""
    import torch

    if not any(map(_is_narrow, module.parameters())):
        return module
    try:
        wide = widen(copy_module(module))
        with torch.no_grad(), evaluating(wide):
            for batch in islice(batches(), 1):
                run(wide, batch, "in float32")
    except ArgumentError:  # it holds what cannot be copied, or names the narrow type itself
        return module
    return wide


@contextmanager
def placed(
    tensors: Iterable[torch.Tensor], device: torch.device | None = None, *, wide: bool = True
) -> Iterator[None]:
    """Within it these tensors lie on a device, those of half precision in float32 if `wide`.

    Afterwards each is what it was, the very memory: nothing that was done to its values stays.

    >>> import torch
    >>> layer = torch.nn.Linear(1, 1).half()
    >>> with placed(layer.parameters()):
    ...     print(layer.weight.dtype)
    torch.float32
    >>> layer.weight.dtype
    torch.float16
    """
    import torch

    before: list[tuple[torch.Tensor, torch.Tensor]] = []
    try:
        for one in {id(tensor): tensor for tensor in tensors}.values():
            held = one.data
            given = held.to(
                device or held.device, torch.float32 if wide and _is_narrow(held) else held.dtype
            )
            if given is not held:
                before.append((one, held))
                one.data = given
        yield
    finally:
        for one, held in before:
            one.data = held


def held_tensors(module: torch.nn.Module) -> list[torch.Tensor]:
    """The parameters and buffers of a module."""
    return [*module.parameters(), *module.buffers()]


def has_narrow(module: torch.nn.Module) -> bool:
    """Whether some of its tensors are of half precision."""
    return any(map(_is_narrow, held_tensors(module)))


def _tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def _wide_arguments(
    module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a widened network is called with, its half-precision tensors widened too."""
    import torch
    from torch.utils._pytree import tree_map_only

    return tree_map_only(torch.Tensor, _wide, (args, kwargs))  # type: ignore[no-any-return]


def _is_narrow(tensor: torch.Tensor) -> bool:
    import torch

    return tensor.dtype in (torch.float16, torch.bfloat16)


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if _is_narrow(tensor) else tensor
