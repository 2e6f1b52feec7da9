"""A written model as a module, so that a score which takes one judges what was written."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

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

    return _answering()(written, form).eval()


@cache
def _answering() -> Callable[[WrittenModel, Any], torch.nn.Module]:
    import torch
    from torch.utils import _pytree

    class AnsweringModule(torch.nn.Module):
        def __init__(self, written: WrittenModel, form: _pytree.TreeSpec) -> None:
            super().__init__()
            self.written, self.form = written, form

        def forward(self, *args: object, **kwargs: object) -> object:
            batch: object = kwargs or (args[0] if len(args) == 1 else args)
            found = [self.written.answers(one) for one in cut_samples(batch)]
            columns = [torch.from_numpy(_joined(rows)) for rows in zip(*found, strict=True)]
            return _pytree.tree_unflatten(columns, self.form)

    return AnsweringModule


def _joined(rows: tuple[object, ...]) -> object:
    import numpy as np

    return np.concatenate([np.atleast_1d(np.asarray(row)) for row in rows])
