"""Models that are looked at and stay as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@contextmanager
def still(*modules: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, random numbers of its own; all is as before afterwards.

    So are embeddings with a `max_norm`, the only layers that change their weights when used.
    """
    import torch

    parts = [part for module in modules for part in module.modules()]
    modes = [(part, part.training) for part in parts]
    tables = [(weight, weight.detach().clone()) for weight in _changed_by_use(parts)]
    with torch.random.fork_rng(devices=_gpus(modules)), torch.no_grad():
        try:
            for module in modules:
                module.eval()
            yield
        finally:
            for part, training in modes:
                part.training = training
            for weight, value in tables:
                weight.copy_(value)


def _changed_by_use(parts: Iterable[torch.nn.Module]) -> list[torch.Tensor]:
    """Weights of embeddings that are cut to their `max_norm` when rows are looked up."""
    import torch

    kinds = (torch.nn.Embedding, torch.nn.EmbeddingBag)
    return [p.weight for p in parts if isinstance(p, kinds) and p.max_norm is not None]


def _gpus(modules: Iterable[torch.nn.Module]) -> list[int]:
    """The GPUs that hold parameters, whose random numbers are to be kept too."""
    return sorted({p.device.index or 0 for m in modules for p in m.parameters() if p.is_cuda})
