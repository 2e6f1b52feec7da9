"""Batch normalisation in evaluation is a scale and a shift: four vectors are worth two.

With s = weight / sqrt(var + eps), weight' = s sqrt(1 + eps) and bias' = bias - mean s, the
statistics become 0 and 1, and the layer gives what it gave. Two constant vectors cost nothing in
a file, and on a small network the other two are a twentieth of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@torch.no_grad()
def folded_statistics(module: nn.Module) -> dict[str, Tensor]:
    """What weights, biases and statistics are once folded, by name; the module stays as it is.

    >>> norm = nn.BatchNorm1d(1)
    >>> _ = norm.running_mean.fill_(3.0)
    >>> {name: round(value.item(), 4) for name, value in folded_statistics(norm).items()}
    {'weight': 1.0, 'bias': -3.0, 'running_mean': 0.0, 'running_var': 1.0}
    """
    found: dict[str, Tensor] = {}
    for path, layer in module.named_modules(remove_duplicate=False):
        if not isinstance(layer, _KINDS) or not layer.affine:
            continue
        mean, variance = layer.running_mean, layer.running_var
        if mean is None or variance is None or hasattr(layer, "parametrizations"):
            continue
        scale = layer.weight.double() / (variance.double() + layer.eps).sqrt()
        shift = layer.bias.double() - mean.double() * scale
        before = f"{path}." if path else ""
        found[f"{before}weight"] = (scale * (1 + layer.eps) ** 0.5).to(layer.weight)
        found[f"{before}bias"] = shift.to(layer.bias)
        found[f"{before}running_mean"] = torch.zeros_like(mean)
        found[f"{before}running_var"] = torch.ones_like(variance)
    return found
