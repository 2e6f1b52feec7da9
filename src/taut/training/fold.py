"""Batch normalisation in evaluation is a scale and a shift: four vectors are worth two.

With s = weight / sqrt(var + eps), weight' = s sqrt(1 + eps) and bias' = bias - mean s, the
statistics become 0 and 1, and the layer gives what it gave. Two constant vectors cost nothing in
a file, and on a small network the other two are a twentieth of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_VECTORS = ("weight", "bias", "running_mean", "running_var")


@torch.no_grad()
def folded_statistics(module: nn.Module) -> dict[str, Tensor]:
    """What weights, biases and statistics are once folded, by name; the module stays as it is.

    A layer that shares one of them with another layer is left out (what is folded for one would be
    wrong for the other), and so is one that computes in a way of its own.

    >>> norm = nn.BatchNorm1d(1)
    >>> _ = norm.running_mean.fill_(3.0)
    >>> {name: round(value.item(), 4) for name, value in folded_statistics(norm).items()}
    {'weight': 1.0, 'bias': -3.0, 'running_mean': 0.0, 'running_var': 1.0}
    """
    found: dict[str, Tensor] = {}
    holders = _holders(module)
    for path, layer in module.named_modules(remove_duplicate=False):
        if isinstance(layer, _KINDS) and _as_torch_has_it(layer):
            vectors = [getattr(layer, name) for name in _VECTORS]
            if all(one is not None and holders[_storage(one)] == 1 for one in vectors):
                before = f"{path}." if path else ""
                values = _folded(vectors, layer.eps)
                found |= {f"{before}{n}": v for n, v in zip(_VECTORS, values, strict=True)}
    return found


def _folded(vectors: Sequence[Tensor], eps: float) -> tuple[Tensor, ...]:
    """The four vectors of the same layer, whose statistics are 0 and 1."""
    weight, bias, mean, variance = vectors
    scale = weight.double() / (variance.double() + eps).sqrt()
    shift = bias.double() - mean.double() * scale
    scale = scale * (1 + eps) ** 0.5
    return scale.to(weight), shift.to(bias), torch.zeros_like(mean), torch.ones_like(variance)


def _as_torch_has_it(layer: nn.Module) -> bool:
    """Whether torch's own forward runs on vectors that the layer itself holds."""
    own = "forward" in vars(layer) or type(layer).forward is not _BatchNorm.forward
    return not own and not hasattr(layer, "parametrizations")


def _holders(module: nn.Module) -> Counter[int]:
    """In how many places, of modules each counted once, the tensors of a storage are held."""
    tensors = (
        tensor
        for part in module.modules()
        for tensor in (*part._parameters.values(), *part._buffers.values())
        if tensor is not None
    )
    return Counter(map(_storage, tensors))


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
