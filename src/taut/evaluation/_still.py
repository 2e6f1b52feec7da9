"""Models that are looked at and stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
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
    tables = [
        (part.weight, part.weight.detach().clone())
        for part in parts
        if isinstance(part, (torch.nn.Embedding, torch.nn.EmbeddingBag))
        and part.max_norm is not None
    ]
    devices = sorted({p.device.index or 0 for m in modules for p in m.parameters() if p.is_cuda})
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        try:
            for module in modules:
                module.eval()
            yield
        finally:
            for part, training in modes:
                part.training = training
            for weight, value in tables:
                weight.copy_(value)
