"""A parametrised layer has a class of its own making, which its copies share: each gets its own.

Surprise: torch keeps a parametrised tensor as a property of the layer's class, which it makes for
that one layer. A deep copy has the same class, so that a parametrisation added to the copy, or
taken away from it, changes the original for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

    Copied = TypeVar("Copied", bound=torch.nn.Module)


def own_classes(module: Copied) -> Copied:
    """The module itself, a fresh copy, whose parametrised layers no longer share their classes.

    >>> import copy, torch
    >>> from torch.nn.utils.parametrizations import weight_norm
    >>> layer = weight_norm(torch.nn.Linear(2, 2))
    >>> twin = own_classes(copy.deepcopy(layer))
    >>> type(twin) is type(layer), isinstance(twin, torch.nn.Linear)
    (False, True)
    """
    from torch.nn.utils import parametrize

    for part in module.modules():
        if parametrize.is_parametrized(part):
            kind = type(part)
            part.__class__ = type(kind.__name__, kind.__bases__, _body(kind))
    return module


def _body(kind: type) -> dict[str, object]:
    """What stands in a class; not what each class gets for itself."""
    return {k: v for k, v in vars(kind).items() if k not in ("__dict__", "__weakref__")}
