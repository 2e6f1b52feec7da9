"""The network with the values that the file will hold, for whoever wants to run it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from taut.networks import LoadedModel
from taut.networks.copies import copy_module, unexpanded

if TYPE_CHECKING:
    import torch


class RoundedNetwork:
    """A copy of a model's network, made when it is first wanted; `load` gives it other values.

    By the tensors' names: `loaded` are the names of all tensors that were given so far.
    """

    def __init__(self, model: LoadedModel) -> None:
        self.loaded: frozenset[str] = frozenset()
        self._names, self._original = model.names, model.module

    @cached_property
    def module(self) -> torch.nn.Module:
        """The copy."""
        return copy_module(self._original)

    @cached_property
    def _own(self) -> dict[str, torch.Tensor]:
        return {
            **dict(self.module.named_parameters(remove_duplicate=False)),
            **dict(self.module.named_buffers(remove_duplicate=False)),
        }

    def load(self, values: Mapping[str, np.ndarray]) -> None:
        """Overwrite these tensors; those that the network does not have are left out."""
        import torch

        self.loaded |= values.keys()
        with torch.no_grad():
            for name, array in values.items():
                if name in self._names:
                    held = unexpanded(self._own[self._names[name]])
                    held = torch.view_as_real(held) if held.is_complex() else held
                    given = torch.from_numpy(np.array(array, dtype=np.float32))
                    held.copy_(given.reshape(held.shape))
