"""Weights with a pruning mask: a file of what the mask leaves, a module of both, and the reverse.

`torch.nn.utils.prune` keeps `weight_orig` and `weight_mask` where a module had `weight`, until
`prune.remove`. A rounded file holds the product, a bit-exact one holds both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from taut.io import TensorInfo
from taut.networks.pruned_weights import pruned_weights

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Masks:
    """`split` are weights that the module holds in two, `joined` those that the file does."""

    split: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()

    @classmethod
    def between(cls, module: torch.nn.Module, state: Iterable[str], stored: Iterable[str]) -> Masks:
        """What stands between a module with tensors `state` and a file of those `stored`."""
        ours, theirs = set(state), set(stored)
        split = (name for name in pruned_weights(module) if name in theirs)
        joined = (name for name in ours - theirs if {*_two(name)} <= theirs - ours)
        return cls(
            tuple(name for name in split if not {*_two(name)} & theirs), tuple(sorted(joined))
        )

    def of_state(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The module's tensors as a file of products has them."""
        names = {_two(name)[0]: name for name in self.split}
        masks = {_two(name)[1] for name in self.split}
        return {names.get(n, n): one for n, one in state.items() if n not in masks}

    def of_file(self, infos: Iterable[TensorInfo]) -> tuple[TensorInfo, ...]:
        """The file's tensors as a module without masks has them."""
        names = {_two(name)[0]: name for name in self.joined}
        masks = {_two(name)[1] for name in self.joined}
        return tuple(
            replace(info, name=names.get(info.name, info.name))
            for info in infos
            if info.name not in masks
        )

    def fill(self, tensors: Tensors, state: Mapping[str, torch.Tensor]) -> None:
        """Make of a file's tensors those of the module, in place."""
        for name in self.joined:
            whole, mask = _two(name)
            tensors[name] = tensors.pop(whole) * tensors.pop(mask)
        for name in self.split:
            whole, mask = _two(name)
            tensors[whole] = tensors.pop(name)
            tensors[mask] = (tensors[whole] != 0).to(state[mask].dtype)

    def finish(self, module: torch.nn.Module) -> None:
        """Have the module's products be of its new tensors before its next forward too."""
        for name, (part, word) in pruned_weights(module).items():
            if name in self.split:
                whole, mask = _two(word)
                setattr(part, word, getattr(part, whole) * getattr(part, mask))


def _two(name: str) -> tuple[str, str]:
    """What torch calls the weight and the mask."""
    return f"{name}_orig", f"{name}_mask"
