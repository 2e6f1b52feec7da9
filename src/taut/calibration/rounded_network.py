"""The network with the values that the file will hold, for whoever wants to run it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from taut.networks import LoadedModel
from taut.networks.copies import copy_module, unexpanded

if TYPE_CHECKING:
    import torch


class RoundedNetwork:
    """A copy of a model's network; `load` gives it other values, by the tensors' names.

    `loaded` are the names of all tensors that were given so far.
    """

    def __init__(self, model: LoadedModel) -> None:
        self.module: torch.nn.Module = copy_module(model.module)
        self.loaded: frozenset[str] = frozenset()
        self._names = model.names
        self._own = {
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

    def parameters_of(self, tensors: list[str]) -> dict[str, str]:
        """Of these tensors the network's float parameters: parameter name to tensor."""
        known = dict(self.module.named_parameters(remove_duplicate=False))
        floats = {name for name, one in known.items() if one.is_floating_point()}
        return {self._names[t]: t for t in tensors if self._names.get(t) in floats}
