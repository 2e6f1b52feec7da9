"""Which weights of a module can be absent until a layer runs, and which stay loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import nn

from taut.io.tensor_info import TensorInfo

LEAST = 1 << 16  # bytes of a weight worth decoding each time
_LEAVES = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Embedding,
    nn.EmbeddingBag,
)
# These read the weights of layers inside them, in one operation while nothing hooks in: it is
# given their weights when it runs.
_FUSED = (nn.MultiheadAttention, nn.TransformerEncoderLayer)

Owner = tuple[nn.Module, str]


@dataclass(frozen=True)
class Choice:
    """A weight that is decoded on demand: its tensor, all that hold it, and the layers to hook."""

    info: TensorInfo
    owners: tuple[Owner, ...]
    layers: tuple[nn.Module, ...]
    requires_grad: bool


def choose(module: nn.Module, infos: Mapping[str, TensorInfo]) -> list[Choice]:
    """The weights of at least 64 KiB that only layers of known kinds hold, in the module's order.

    A layer is known when its forward is the one of `_LEAVES` (a subclass with a forward of its own,
    an RNN or a module that owns bare parameters is not), or when it lies in one of `_FUSED`.
    """
    fused = set(_inside(module))
    chosen = []
    for held in _held(module).values():
        found = next(filter(None, map(infos.get, held.names)), None)
        if found is None or found.nbytes < LEAST:
            continue
        alone = [(owner, key) for owner, key in held.owners if owner not in fused]
        if all(_known(owner, key) for owner, key in alone):
            layers = tuple(owner for owner, _ in alone)
            gradients = held.parameter.requires_grad
            chosen.append(Choice(found, tuple(held.owners), layers, gradients))
    return chosen


@dataclass
class _Held:
    """A parameter and all places that hold it: the names it has there, and the owners."""

    parameter: nn.Parameter
    names: list[str] = field(default_factory=list)
    owners: list[Owner] = field(default_factory=list)


def _held(module: nn.Module) -> dict[int, _Held]:
    """The parameters of a module by id, in the module's order."""
    found: dict[int, _Held] = {}
    for prefix, owner in module.named_modules():
        for key, tensor in owner._parameters.items():
            if tensor is not None:
                held = found.setdefault(id(tensor), _Held(tensor))
                held.names.append(f"{prefix}.{key}" if prefix else key)
                held.owners.append((owner, key))
    return found


def _inside(module: nn.Module) -> Iterator[nn.Module]:
    for part in module.modules():
        if isinstance(part, _FUSED):
            yield from part.modules()


def _known(layer: nn.Module, key: str) -> bool:
    if key != "weight" or "forward" in vars(layer):
        return False
    if getattr(layer, "max_norm", None) is not None:
        return False  # an embedding that changes its weight when it runs
    leaves: tuple[type[nn.Module], ...] = (*_LEAVES, *_of_transformers())
    return any(type(layer).forward is leaf.forward for leaf in leaves)


def _of_transformers() -> tuple[type[nn.Module], ...]:
    """The layer of GPT-2 and its like, where transformers is imported: no module is one before."""
    library = sys.modules.get("transformers.pytorch_utils")
    return () if library is None else (library.Conv1D,)
