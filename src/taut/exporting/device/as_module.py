"""A written model as a module, so that a score which takes one judges what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taut.exporting.device.single_samples import cut_samples
from taut.exporting.held_against import WrittenModel
from taut.networks.calls import applied, evaluating

if TYPE_CHECKING:
    import torch


def answering_module(
    written: WrittenModel, like: torch.nn.Module, example: object
) -> torch.nn.Module:
    """A module that runs a written model on each sample of what it is given.

    Its answers have the form of those of `like`: a tensor, or the same dict, tuple or object.
    """
    import torch
    from torch.utils import _pytree

    with torch.no_grad(), evaluating(like):
        _, form = _pytree.tree_flatten(applied(like, example))

    class AnsweringModule(torch.nn.Module):
        def forward(self, *args: object, **kwargs: object) -> object:
            batch: object = kwargs or (args[0] if len(args) == 1 else args)
            found = [written.answers(one) for one in cut_samples(batch)]
            columns = [torch.from_numpy(_joined(rows)) for rows in zip(*found, strict=True)]
            return _pytree.tree_unflatten(columns, form)

    return AnsweringModule().eval()


def _joined(rows: tuple[object, ...]) -> object:
    import numpy as np

    return np.concatenate([np.atleast_1d(np.asarray(row)) for row in rows])
