"""Which parameters of a network are the same memory: by where they lie, not by name or value.

Two layers of equal values are two layers; one module under two names is one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taut.io.pytorch import memory_of

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Holder:
    """Where a module holds a tensor: the module itself, its attribute, and the name of both."""

    owner: torch.nn.Module
    attribute: str
    name: str


@dataclass(frozen=True)
class SharedParameter:
    """One parameter, and all its places; a module under two names is one place under each."""

    parameter: torch.nn.Parameter
    places: tuple[Holder, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Its names in the network, in the network's order."""
        return tuple(place.name for place in self.places)


def held_parameters(module: torch.nn.Module) -> list[SharedParameter]:
    """The parameters of a module, each once, in its order; those of the same memory are one.

    >>> import torch
    >>> layer = torch.nn.Linear(2, 2)
    >>> [one.names for one in held_parameters(torch.nn.Sequential(layer, layer))]
    [('0.weight', '1.weight'), ('0.bias', '1.bias')]
    """
    found: dict[Hashable, tuple[torch.nn.Parameter, list[Holder]]] = {}
    for place, tensor in _parameters(module):
        memory = memory_of(tensor)
        key = id(tensor) if memory is None else memory
        found.setdefault(key, (tensor, []))[1].append(place)
    return [SharedParameter(parameter, tuple(places)) for parameter, places in found.values()]


def overlapping(module: torch.nn.Module) -> dict[str, str]:
    """Parameters that share a part of their memory with another one, and that other's name.

    Such as a transposed view of a weight, or rows of it. What is the same memory as a whole is not
    among them.
    """
    by_storage: dict[int, list[SharedParameter]] = {}
    for held in held_parameters(module):
        start = held.parameter.untyped_storage().data_ptr()
        if start and held.parameter.numel():
            by_storage.setdefault(start, []).append(held)
    found: dict[str, str] = {}
    for group in by_storage.values():
        for one in group:
            other = next((o for o in group if o is not one and _meet(one, o)), None)
            if other is not None:
                found |= dict.fromkeys(one.names, other.names[0])
    return found


def of_several_layers(module: torch.nn.Module) -> set[str]:
    """Names of the parameters that several layers hold; a layer has a matrix of its own.

    One layer under two names is one; so are a layer and a module that only lists its bias.

    >>> import torch
    >>> one, two = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    >>> two.bias = one.bias
    >>> sorted(of_several_layers(torch.nn.Sequential(one, two)))
    ['0.bias', '1.bias']
    """
    found: set[str] = set()
    for held in held_parameters(module):
        owners = {id(place.owner): place.owner for place in held.places}
        if sum(_has_matrix(owner) for owner in owners.values()) > 1:
            found |= set(held.names)
    return found


def _has_matrix(owner: torch.nn.Module) -> bool:
    held = [*owner.parameters(recurse=False)]
    made = owner._modules.get("parametrizations")
    held += [] if made is None else made.parameters()
    return any(one.ndim > 1 for one in held)


def _parameters(module: torch.nn.Module) -> Iterator[tuple[Holder, torch.nn.Parameter]]:
    for path, owner in module.named_modules(remove_duplicate=False):
        for attribute, parameter in owner.named_parameters(recurse=False, remove_duplicate=False):
            yield Holder(owner, attribute, f"{path}.{attribute}" if path else attribute), parameter


def _meet(one: SharedParameter, other: SharedParameter) -> bool:
    """Whether two tensors of one storage have bytes in common."""
    import torch

    first, second = one.parameter, other.parameter
    size = first.untyped_storage().nbytes()
    used = torch.zeros(size, dtype=torch.bool)
    _bytes_of(used, first).fill_(True)
    return bool(_bytes_of(used, second).any())


def _bytes_of(storage: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """The part of a storage's bytes that a tensor reads; the last axis counts an element's."""
    width = tensor.element_size()
    return storage.as_strided(
        (*tensor.shape, width),
        (*(width * step for step in tensor.stride()), 1),
        width * tensor.storage_offset(),
    )
