"""Which tensor of a file is which tensor of the network that was loaded from it.

The names differ by a prefix where a file was written from a larger network (`bert.encoder...`) or
is read into one (`0.model.encoder...`). A pair of names is believed only if shape and values agree:
a network can hold weights that no file gave it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from taut.io import SAFETENSORS_DTYPES, Source, TensorInfo
from taut.io.pytorch import to_numpy

if TYPE_CHECKING:
    import torch

# BERT files from before 2019 call the parts of a layer norm so; transformers renames them.
_OLD: Final = {"gamma": "weight", "beta": "bias"}


@dataclass(frozen=True)
class Names:
    """`found` maps names of the file to names in the network.

    `unmapped` are tensors of the file that the network has not, as a head that was left out;
    `missing` are parameters of the network that no tensor of the file gave their values.
    """

    found: dict[str, str]
    unmapped: tuple[str, ...]
    missing: tuple[str, ...]


def map_names(source: Source, module: torch.nn.Module) -> Names:
    """Pair the tensors of a file with those of the network, by name, or by a name's end."""
    tensors = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }
    longer = _longer(tensors)

    def pair(info: TensorInfo) -> str | None:
        for name in _spellings(info.name):
            near = [*longer.get(name, ()), *(end for end in _ends(name) if end in tensors)]
            match = _agreeing(source, info, tensors, name, near)
            if match is not None:
                return match
        return None

    pairs = ((info.name, pair(info)) for info in source.infos)
    found = {name: match for name, match in pairs if match is not None}
    used = {tensors[name].data_ptr() for name in found.values()}
    return Names(
        found,
        tuple(info.name for info in source.infos if info.name not in found),
        tuple(n for n, p in module.named_parameters() if p.numel() and p.data_ptr() not in used),
    )


def _ends(name: str) -> Iterator[str]:
    """`b.c` and `c` of `a.b.c`."""
    while "." in name:
        name = name.partition(".")[2]
        yield name


def _spellings(name: str) -> Iterator[str]:
    yield name
    stem, dot, last = name.rpartition(".")
    if last in _OLD:
        yield stem + dot + _OLD[last]


def _longer(names: Iterable[str]) -> dict[str, list[str]]:
    """The names that end in each end of a name."""
    longer: dict[str, list[str]] = {}
    for name in names:
        for end in _ends(name):
            longer.setdefault(end, []).append(name)
    return longer


def _agreeing(
    source: Source, info: TensorInfo, tensors: dict[str, torch.Tensor], name: str, near: list[str]
) -> str | None:
    """Which tensor of the network is that of the file: the one of its `name`, or the only one."""
    held = {one: tensors[one] for one in (name, *near) if one in tensors}
    equal = _equal(source, info, held)
    tied = len({tensor.data_ptr() for tensor in equal.values()}) == 1
    return next(iter(equal)) if name in equal or tied else None


def _equal(
    source: Source, info: TensorInfo, tensors: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The tensors with the shape and the values of the file's, which is loaded where one may be."""
    alike = {name: one for name, one in tensors.items() if tuple(one.shape) == info.shape}
    if not alike or info.dtype not in SAFETENSORS_DTYPES:
        return {}
    values = source.load(info.name)
    return {name: one for name, one in alike.items() if _is_same(values, one)}


def _is_same(values: np.ndarray, tensor: torch.Tensor) -> bool:
    """Whether values are equal once they have the network's dtype (float16 may be held wider)."""
    held = to_numpy(tensor)
    if values.dtype != held.dtype:
        if values.dtype.kind in "iub" and held.dtype.kind not in "iub":
            return False
        values = values.astype(held.dtype)
    return np.array_equal(values.reshape(-1).view(np.uint8), held.reshape(-1).view(np.uint8))
