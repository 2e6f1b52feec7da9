"""A network that has other values for a while: no copy of it is made.

Surprise: what is exchanged is the memory that a parameter stands for. A graph for gradients holds
the parameter itself, so that it must be gone through before the network has its own values again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


@contextmanager
def wearing(
    tensors: Mapping[str, torch.Tensor], values: Iterable[tuple[str, np.ndarray]]
) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Within it some parameters and buffers have other values, by name; their own again after it.

    Gives each of them with its own values. Their memory is not written to.

    >>> import torch
    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> own = layer.weight.tolist()
    >>> with wearing(dict(layer.named_parameters()), [("weight", np.ones((1, 2)))]):
    ...     layer.weight.tolist()
    [[1.0, 1.0]]
    >>> layer.weight.tolist() == own
    True
    """
    import torch

    before: list[tuple[torch.Tensor, torch.Tensor]] = []
    try:
        for name, array in values:
            one = tensors[name]
            given = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
            before.append((one, one.data))
            pairs = one.is_complex()
            given = given.reshape((*one.shape, 2) if pairs else one.shape)
            given = torch.view_as_complex(given) if pairs else given
            one.data = given.to(one.device, one.dtype)
        yield before
    finally:
        _restore(before)


@contextmanager
def without(worn: list[tuple[torch.Tensor, torch.Tensor]]) -> Iterator[None]:
    """Within it parameters that wear other values have their own again."""
    now = [(one, one.data) for one, _ in worn]
    try:
        _restore(worn)
        yield
    finally:
        for one, data in now:
            one.data = data


def _restore(before: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """In reverse: what was exchanged twice has the first values again."""
    for one, data in reversed(before):
        one.data = data
