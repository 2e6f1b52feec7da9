"""Weights that `torch.nn.utils.prune` makes anew from a stored one and a mask, at each forward.

What the network computes with is their product: that is what is worth rounding, and what a network
without the mask is filled with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from taut.networks.copies import copy_module

if TYPE_CHECKING:
    import torch


def pruned_weights(module: torch.nn.Module) -> dict[str, tuple[torch.nn.Module, str]]:
    """By name the weights that a pruning hook makes: the module that has the hook, and its word.

    >>> import torch
    >>> from torch.nn.utils import prune
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2))
    >>> _ = prune.identity(net[0], "weight")
    >>> {name: word for name, (_, word) in pruned_weights(net).items()}
    {'0.weight': 'weight'}
    """
    from torch.nn.utils.prune import BasePruningMethod

    found = {}
    for name, part in module.named_modules(remove_duplicate=False):
        for hook in part._forward_pre_hooks.values():
            if isinstance(hook, BasePruningMethod):
                word = cast(str, getattr(hook, "_tensor_name"))  # noqa: B009  # torch has no types
                found[f"{name}.{word}" if name else word] = part, word
    return found


def effective(module: torch.nn.Module) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """The module, or a copy with the products in the place of what they are made from.

    Of a copy a note names them.
    """
    from torch.nn.utils import prune

    names = [*pruned_weights(module)]
    if not names:
        return module, ()
    copy = copy_module(module)
    while found := pruned_weights(copy):  # one at a time: a module may have several names
        part, word = next(iter(found.values()))
        prune.remove(part, word)  # type: ignore[no-untyped-call]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return copy, (f"{', '.join(names[:3])}{more}: stored as the mask of the pruning leaves it",)
