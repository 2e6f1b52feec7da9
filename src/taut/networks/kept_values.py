"""What a network keeps of a batch until gradients have gone back, and what these take."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Final

from taut.errors import ArgumentError
from taut.networks.calls import evaluating, run, samples_of
from taut.networks.cuts import first_sample
from taut.networks.find_chain import find_chain

if TYPE_CHECKING:
    import torch


_SINGLE: Final = 4  # bytes of a float32
_GRADIENTS: Final = 3  # of the largest values: what comes back to them, and what it is made of
_PATCHES: Final = 1 << 25  # bytes of patches that are made at a time, as analysis/_gram.py has them


def backward_bytes(module: torch.nn.Module, batch: object, times: float = 1.0) -> int:
    """Bytes that a backward pass takes of a batch, or of one that is so many `times` as large.

    They are what is kept, the gradients of the largest values, and of a convolution the patches
    that its weights see. Runs of a sample and of two tell; 0 where it cannot be told. The network's
    own weights do not count.

    >>> import torch
    >>> layers = torch.nn.Linear(4, 8, bias=False), torch.nn.ReLU(), torch.nn.Linear(8, 2)
    >>> backward_bytes(torch.nn.Sequential(*layers), torch.ones(5, 4))  # 5 x (4 + 8 + 3 x 8) x 4
    720
    """
    samples = samples_of(batch)
    try:
        single = _kept(module, first_sample(batch))
        double = single if samples < 2 else _kept(module, first_sample(batch, 2))
    except ArgumentError:  # it takes no sample alone
        return 0
    more = samples * times - 1
    kept, largest = (  # what grows with the samples, and what does not, as a cell's own buffers
        one + more * (max(0, two - one) if samples > 1 else one)
        for one, two in zip(single, double, strict=True)
    )
    kernel = max((prod(one.shape[2:]) for one in module.parameters()), default=1)
    patches = 2 * min(_PATCHES, kernel * largest) if kernel > 1 else 0
    return int(kept + _GRADIENTS * largest + patches)


def entering_bytes(module: torch.nn.Module, batch: object) -> tuple[int, int]:
    """Bytes that enter the blocks of a network for one sample of a batch: in all, and one at most.

    Both are 0 of a network that has none.
    """
    import torch

    chain = find_chain(module, batch)
    if chain is None:
        return 0, 0
    found = []
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(module):
            entered = chain.enter(first_sample(batch))
            hidden = entered.hidden
            for index in range(len(chain)):
                found.append(hidden.numel() * _SINGLE)
                hidden = chain.run(index, entered, hidden)
    except ArgumentError:  # it takes no sample alone
        return 0, 0
    return sum(found), max(found, default=0)


def _kept(module: torch.nn.Module, batch: object) -> tuple[int, int]:
    """Bytes that are kept of a batch, and those of the largest values among them.

    Raises:
        ArgumentError: the network does not take it.
    """
    import torch
    from torch.autograd.graph import saved_tensors_hooks

    own = {one.untyped_storage().data_ptr() for one in module.parameters()}
    found: dict[int, torch.UntypedStorage] = {}  # held, so that no other one takes its place

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.layout == torch.strided:
            storage = tensor.untyped_storage()
            found.setdefault(storage.data_ptr(), storage)
        return tensor

    with (
        torch.random.fork_rng(devices=[]),
        torch.enable_grad(),
        evaluating(module),
        saved_tensors_hooks(note, lambda tensor: tensor),
    ):
        run(module, batch, "a sample")
    kept = [one.nbytes() for place, one in found.items() if place not in own]
    return sum(kept), max(kept, default=0)
