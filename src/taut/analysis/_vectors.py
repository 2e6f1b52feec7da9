"""The input vectors of embeddings and convolutions, with the gradients at their positions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from taut.analysis._conv import Geometry, channels_last, patch_values, patches
from taut.analysis._gram import BLOCK
from taut.analysis._layer_calls import LayerCall

if TYPE_CHECKING:
    import torch

Pair: TypeAlias = "tuple[torch.Tensor | None, torch.Tensor]"  # inputs if wanted, gradients


def vectors_of(
    call: LayerCall, x: torch.Tensor, g: torch.Tensor, *, inputs: bool
) -> Iterator[Pair]:
    """Blocks of input vectors (N, inputs) with the gradients (N, outputs) at their positions."""
    if call.geometry is None:
        return _by_position(call, x, g, inputs=inputs)
    if x.ndim == len(call.geometry.kernel) + 1:
        x, g = x[None], g[None]
    if call.kind == "conv_transpose":
        return _by_spread(call.geometry, x, g, inputs=inputs)
    return _by_patch(call.geometry, x, g, inputs=inputs)


def _by_position(
    call: LayerCall, x: torch.Tensor, g: torch.Tensor, *, inputs: bool
) -> Iterator[Pair]:
    slopes = g.reshape(-1, g.shape[-1])
    flat = x.reshape(-1, x.shape[-1]) if call.kind != "embedding" else _numbers(call, x)
    many = max(1, BLOCK // max(1, slopes.shape[1], 1 if flat.ndim == 1 else flat.shape[1]))
    for begin in range(0, len(slopes), many):
        part = slice(begin, begin + many)
        yield (flat[part] if inputs else None), slopes[part]


def _by_patch(shape: Geometry, x: torch.Tensor, g: torch.Tensor, *, inputs: bool) -> Iterator[Pair]:
    many = max(1, BLOCK // patch_values(x, shape))
    for begin in range(0, len(x), many):
        some, slope = x[begin : begin + many], g[begin : begin + many]
        yield (_flat(patches(some, shape)) if inputs else None), _flat(channels_last(slope))


def _by_spread(
    shape: Geometry, x: torch.Tensor, g: torch.Tensor, *, inputs: bool
) -> Iterator[Pair]:
    """Of a transposed convolution: the patch of output gradients that an input spreads over."""
    many = max(1, BLOCK // patch_values(g, shape))
    # output_padding may leave room for windows that belong to no input.
    space = tuple(slice(0, size) for size in x.shape[2:])
    for begin in range(0, len(x), many):
        some, slope = x[begin : begin + many], g[begin : begin + many]
        windows = patches(slope, shape)[(slice(None), *space)]
        yield (_flat(channels_last(some)) if inputs else None), _flat(windows)


def _numbers(call: LayerCall, x: torch.Tensor) -> torch.Tensor:
    """Numbers of rows; those below zero count from the end."""
    return x.reshape(-1) % len(call.weight)


def _flat(vectors: torch.Tensor) -> torch.Tensor:
    return vectors.reshape(-1, vectors.shape[-1])
