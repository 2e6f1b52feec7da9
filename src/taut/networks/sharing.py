"""Which parameters of a network are the same memory: by where they lie, not by name or value.

Two layers of equal values are two layers; one module under two names is one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taut.io.pytorch import memory_of

if TYPE_CHECKING:
    import torch

_ALIGNED: Final = 16  # bytes: a multiple of every element's


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
    shared = held_parameters(module)
    held = {id(one.parameter): one for one in shared}
    found: dict[str, str] = {}
    for group in _touching([one.parameter for one in shared]):
        for one in group:
            other = next((o for o in group if o is not one and _meet(one, o)), None)
            if other is not None:
                found |= dict.fromkeys(held[id(one)].names, held[id(other)].names[0])
    return found


def share_alike(module: torch.nn.Module, copies: Mapping[int, object]) -> None:
    """Let the copies of a module's tensors share memory as they do; `copies` are by their ids.

    A deep copy of a parameter clones its values, so that parameters of one memory get two.
    """
    import torch

    named = [*module.parameters(), *module.buffers()]
    for group in _touching([one for one in named if id(one) in copies]):
        low = min(_extent(one)[0] for one in group) // _ALIGNED * _ALIGNED
        high = max(_extent(one)[1] for one in group)
        memory = _bytes(group[0])[low:high].clone().untyped_storage()
        for one in group:
            held = copies[id(one)]
            assert isinstance(held, torch.Tensor)
            offset = one.storage_offset() - low // one.element_size()
            plain = torch.empty(0, dtype=one.dtype, device=one.device)
            held.data = plain.set_(memory, offset, one.shape, one.stride())


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


def _touching(tensors: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Groups of tensors of one storage whose bytes, first to last, reach into one another's."""
    for held in _by_storage(tensors):
        groups: list[list[torch.Tensor]] = []
        end = 0
        for tensor in sorted(held, key=_extent):
            low, high = _extent(tensor)
            if low >= end:
                groups.append([])
            groups[-1].append(tensor)
            end = max(end, high)
        yield from (group for group in groups if len(group) > 1)


def _by_storage(tensors: Iterable[torch.Tensor]) -> list[list[torch.Tensor]]:
    """The dense tensors, each once, by the storage that they lie in."""
    import torch

    found: dict[int, dict[int, torch.Tensor]] = {}
    for tensor in tensors:
        if torch.nn.parameter.is_lazy(tensor) or tensor.layout != torch.strided:
            continue
        start = tensor.untyped_storage().data_ptr()
        if start and tensor.numel():
            found.setdefault(start, {})[id(tensor)] = tensor
    return [[*held.values()] for held in found.values()]


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    """A tensor's first byte in its storage, and that behind its last."""
    last = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    low, width = int(tensor.storage_offset()), tensor.element_size()
    return low * width, (low + int(last) + 1) * width


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    """The bytes of a tensor's whole storage, which they share."""
    import torch

    return torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())


def _meet(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two tensors of one storage have bytes in common."""
    import torch

    low = min(_extent(first)[0], _extent(second)[0])
    high = max(_extent(first)[1], _extent(second)[1])
    used = torch.zeros(high - low, dtype=torch.bool)
    _part(used, first, low).fill_(True)
    return bool(_part(used, second, low).any())


def _part(memory: torch.Tensor, tensor: torch.Tensor, low: int) -> torch.Tensor:
    """What a tensor reads of bytes that begin at `low`; the last axis counts an element's."""
    width = tensor.element_size()
    steps = [width * step for step in tensor.stride()]
    begin = width * tensor.storage_offset() - low
    return memory.as_strided((*tensor.shape, width), (*steps, 1), begin)
