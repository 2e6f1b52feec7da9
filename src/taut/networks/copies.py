"""Copies of a network, so that nothing done to one is done to the caller's.

Surprise: torch refuses to copy a tensor that a graph hangs on, and networks keep such tensors (an
attention map, the weight that a pruning mask or an old weight norm gives). Their values are copied,
without the graph: the next forward makes them anew.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from taut.errors import ArgumentError, TautError
from taut.io.wrappers import inner, scripted_parts
from taut.networks.calls import own_line, told
from taut.networks.own_classes import own_classes
from taut.networks.scripted import plain_twin
from taut.networks.sharing import share_alike
from taut.networks.torch_calls import Function, handing_over

if TYPE_CHECKING:
    import torch

    Module = TypeVar("Module", bound=torch.nn.Module)


def copy_module(module: Module) -> Module:
    """A copy of the module that shares no memory with it; the module is left as it is.

    What wraps it, or a part of it (torch.compile, DataParallel), is left out of the copy. What is
    scripted or traced becomes a network of plain modules that runs the same graph.

    Raises:
        ArgumentError: something in it cannot be copied; the message names the attribute.

    >>> import torch
    >>> layer = torch.nn.Linear(2, 2)
    >>> layer.seen = layer(torch.ones(1, 2))  # a tensor with a graph
    >>> copy_module(layer).seen.requires_grad, layer.seen.requires_grad
    (False, True)
    """
    try:
        with _without_graphs():
            return _copied(module)
    except (TautError, MemoryError):
        raise
    except Exception as error:  # a module may hold anything
        raise ArgumentError(
            f"module {type(module).__name__} cannot be copied ({told(error)}{own_line(error)})"
            f"{_where(module)}; "
            "keep what cannot be copied, as open files, out of it"
        ) from error


def unexpanded(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself, with memory for each value: one that `expand` made has one for many.

    >>> import torch
    >>> unexpanded(torch.ones(2, 1).expand(2, 3)).stride()
    (3, 1)
    """
    if any(not step and size > 1 for step, size in zip(tensor.stride(), tensor.shape, strict=True)):
        tensor.data = tensor.detach().contiguous()
    return tensor


def _copied(module: Module) -> Module:
    memo: dict[int, object] = {}
    for program in scripted_parts(module):
        plain_twin(program, memo)
    for part in reversed([*module.modules()]):  # those inside come first
        if (held := inner(part)) is not part:
            memo[id(part)] = copy.deepcopy(held, memo)
    found = copy.deepcopy(module, memo)
    share_alike(module, memo)
    _keep_hooks(module, memo)
    return own_classes(found)


def _keep_hooks(module: torch.nn.Module, memo: Mapping[int, object]) -> None:
    """Let gradients of the copies pass the hooks that those of the parameters pass.

    Such a hook may hold still what is not to be trained. Hooks that run once a gradient is there
    are left out: they step optimisers, which are the caller's.
    """
    for parameter in module.parameters():
        copied = memo.get(id(parameter))
        if parameter.requires_grad and copied is not None:
            for hook in (parameter._backward_hooks or {}).values():
                copied.register_hook(hook)  # type: ignore[attr-defined]


def _without_graphs() -> AbstractContextManager[object]:
    """Within it a deep copy takes a tensor's values and leaves the graph behind."""
    import torch

    def values(_: object, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        if func is torch.Tensor.__deepcopy__ and not args[0].is_leaf:
            return copy.deepcopy(args[0].detach(), *args[1:])
        return func(*args, **kwargs)

    return handing_over(values)


def _where(module: torch.nn.Module) -> str:
    """`: attribute "file" of "encoder.0"`, the first that cannot be copied by itself."""
    for name, part in module.named_modules():
        for attribute, value in _held(part):
            try:
                with _without_graphs():
                    copy.deepcopy(value, {id(part): part})
            except Exception:  # the one that was told above
                return f': its attribute "{f"{name}.{attribute}" if name else attribute}"'
    return ""


def _held(part: torch.nn.Module) -> Iterator[tuple[str, object]]:
    """What a module holds itself: attributes, tensors and hooks; not the modules in it."""
    for name, value in vars(part).items():
        if name == "_modules":
            continue
        if name in ("_parameters", "_buffers") and isinstance(value, Mapping):
            yield from value.items()
        else:
            yield name, value
