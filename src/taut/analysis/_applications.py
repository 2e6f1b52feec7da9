"""A call that applies a tracked weight: how, to what, and which matrices of the weight it uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from taut.analysis._block import Block, Piece
from taut.analysis._contractions import Contraction, contraction_of
from taut.analysis._layer_calls import LayerCall, recognise
from taut.analysis._matrix_use import MatrixUse, matrix_use
from taut.analysis._tracked import Sight, Tracked, TrackedWeights, ordinary
from taut.analysis._vectors import vectors_of

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Application:
    """A tracked weight applied to inputs; `weight` is the argument that has its values.

    `pieces` tells from inputs and the output's gradient what each matrix was given, without the
    inputs if they are not wanted and take work; inputs to embeddings are numbers of rows. `routed`
    means that several matrices have inputs of their own.
    """

    kind: str
    owner: Tracked
    weight: torch.Tensor
    inputs: torch.Tensor
    bias: torch.Tensor | None
    swapped: bool
    width: int
    pieces: Callable[[torch.Tensor, torch.Tensor, bool], Iterator[Piece]]
    groups: int = 1
    routed: bool = False
    writes: bool = False


def application_of(
    function: Callable[..., object],
    args: Sequence[object],
    kwargs: Mapping[str, object],
    weights: TrackedWeights,
    widest: int,
) -> Application | None:
    """How a call applies a tracked weight; None if it does not, or in no way that is followed."""
    product = contraction_of(function, args, kwargs)
    if product is not None:
        return _of_operands(product, weights, widest)
    call = recognise(function, args, kwargs)
    if call is None or call.kind == "linear" or not ordinary(call.inputs):
        return None
    found = weights.find(call.weight)
    return None if found is None else _of_call(call, found)


def _of_operands(product: Contraction, weights: TrackedWeights, widest: int) -> Application | None:
    sights = weights.find(product.first), weights.find(product.second)
    second = sights[0] is None
    sight = sights[second]
    if sight is None or sights[not second] is not None:  # none, or a product of two weights
        return None
    if not ordinary(product.first if second else product.second):
        return None
    use = matrix_use(product, sight, second=second, widest=widest)
    return None if use is None else _of_product(use, product, second=second)


def _of_product(use: MatrixUse, product: Contraction, *, second: bool) -> Application:
    return Application(
        kind="linear",
        owner=use.of.sight.owner,
        weight=product.second if second else product.first,
        inputs=use.of.inputs,
        bias=product.bias if second else None,
        swapped=use.swapped,
        width=use.width,
        pieces=lambda inputs, gradient, _: use.pieces(inputs, gradient),
        routed=use.routed,
    )


def _of_call(call: LayerCall, sight: Sight) -> Application | None:
    """An embedding or a convolution, whose weight is whole rows of the tracked one."""
    owner, height = sight.owner, sight.shape[0] if sight.shape else 1
    width = prod(sight.shape[1:])
    groups = call.geometry.groups if call.geometry else 1
    whole = height * width == owner.weight.numel()
    if not sight.in_order or sight.offset % width or owner.width not in (None, width):
        return None
    if groups > 1 and not whole:
        return None
    first = sight.offset // width
    block = Block(None if whole else np.arange(first, first + height))

    def pieces(inputs: torch.Tensor, gradient: torch.Tensor, wanted: bool) -> Iterator[Piece]:
        return ((block, x, g) for x, g in vectors_of(call, inputs, gradient, inputs=wanted))

    return Application(
        kind=call.kind,
        owner=owner,
        weight=call.weight,
        inputs=call.inputs,
        bias=call.bias,
        swapped=call.swapped,
        width=width,
        pieces=pieces,
        groups=groups,
        writes=call.writes,
    )
