"""What a network keeps of a batch until gradients have gone back through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taut.errors import ArgumentError
from taut.networks.calls import evaluating, run, samples_of
from taut.networks.cuts import first_sample

if TYPE_CHECKING:
    import torch


def kept_bytes(module: torch.nn.Module, batch: object) -> int:
    """Bytes for a batch, by a run of its first sample; 0 where that cannot be told.

    The network's own weights do not count.

    >>> import torch
    >>> layers = torch.nn.Linear(4, 8, bias=False), torch.nn.ReLU(), torch.nn.Linear(8, 2)
    >>> kept_bytes(torch.nn.Sequential(*layers), torch.ones(5, 4))  # what enters both, float32
    240
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

    try:
        with (
            torch.random.fork_rng(devices=[]),
            torch.enable_grad(),
            evaluating(module),
            saved_tensors_hooks(note, lambda tensor: tensor),
        ):
            run(module, first_sample(batch), "a sample")
    except ArgumentError:  # it takes no sample alone
        return 0
    kept = sum(one.nbytes() for place, one in found.items() if place not in own)
    return kept * samples_of(batch)
