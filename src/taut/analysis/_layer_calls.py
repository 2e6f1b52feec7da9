"""Which calls of torch apply a weight to inputs, and to which of their arguments.

A weight is recognised by the function that uses it and not by the module that holds it: a tied
head, a functional layer and a subclass are all seen, and nothing is hooked onto the module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

from taut.analysis._conv import Geometry, geometry_of

if TYPE_CHECKING:
    import torch

Function: TypeAlias = Callable[..., object]
Reader: TypeAlias = Callable[[Mapping[str, object]], "LayerCall | None"]

_LINEAR: Final = ("input", "weight", "bias")
_CONV: Final = (*_LINEAR, "stride", "padding", "dilation", "groups")
_BACK: Final = (*_LINEAR, "stride", "padding", "output_padding", "groups", "dilation")


@dataclass(frozen=True)
class LayerCall:
    """A weight applied to inputs.

    `swapped`: the weight's first axis takes the inputs, as in `x @ weight`. `geometry` is that of
    a convolution. `writes`: the call would change the weight.
    """

    kind: str
    inputs: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None = None
    swapped: bool = False
    geometry: Geometry | None = None
    writes: bool = False


def recognise(
    function: Function, args: Sequence[object], kwargs: Mapping[str, object]
) -> LayerCall | None:
    """The call, if it is one that applies a weight (which may be no parameter)."""
    import torch

    found = _readers().get(function)
    if found is None:
        return None
    names, reader = found
    call = reader({**dict(zip(names, args, strict=False)), **kwargs})
    if call is None or not isinstance(call.inputs, torch.Tensor):
        return None
    if call.inputs.layout != torch.strided:
        return None  # sparse: the weight's own gradient is dense
    return call if isinstance(call.weight, torch.Tensor) else None


@cache
def _readers() -> dict[Function, tuple[tuple[str, ...], Reader]]:
    import torch
    from torch import Tensor
    from torch.nn import functional

    table: dict[Function, tuple[tuple[str, ...], Reader]] = {
        functional.linear: (_LINEAR, _linear),
        functional.embedding: (("input", "weight", "padding_idx", "max_norm"), _embedding),
        Tensor.__getitem__: (("weight", "index"), _lookup),
    }
    adds: tuple[Function, ...] = (torch.addmm, Tensor.addmm)
    table |= dict.fromkeys(adds, (("input", "mat1", "mat2"), _addmm))
    products: tuple[Function, ...] = (torch.matmul, torch.mm, Tensor.matmul, Tensor.mm)
    table |= dict.fromkeys((*products, Tensor.__matmul__), (("input", "other"), _matmul))
    for axes in (1, 2, 3):
        table[getattr(functional, f"conv{axes}d")] = (_CONV, _conv)
        table[getattr(functional, f"conv_transpose{axes}d")] = (_BACK, _conv_transpose)
    return table


# mypy cannot know what a call's arguments are: `recognise` looks at the two that matter.
def _linear(given: Mapping[str, object]) -> LayerCall | None:
    return LayerCall("linear", given.get("input"), given.get("weight"), given.get("bias"))  # type: ignore[arg-type]


def _embedding(given: Mapping[str, object]) -> LayerCall | None:
    writes = given.get("max_norm") is not None
    return LayerCall("embedding", given.get("input"), given.get("weight"), writes=writes)  # type: ignore[arg-type]


def _lookup(given: Mapping[str, object]) -> LayerCall | None:
    """`table[ids]`; any other index is none of ours."""
    import torch

    index, table = given.get("index"), given.get("weight")
    whole = isinstance(index, torch.Tensor) and index.dtype in (torch.int64, torch.int32)
    if not whole or not isinstance(table, torch.Tensor) or table.ndim != 2:
        return None
    return LayerCall("embedding", index, table)  # type: ignore[arg-type]


def _addmm(given: Mapping[str, object]) -> LayerCall | None:
    """`bias + x @ weight`, the way of GPT-2's layers."""
    if given.get("beta", 1) != 1 or given.get("alpha", 1) != 1:
        return None
    bias = given.get("input")
    return LayerCall("linear", given.get("mat1"), given.get("mat2"), bias, swapped=True)  # type: ignore[arg-type]


def _matmul(given: Mapping[str, object]) -> LayerCall | None:
    weight = given.get("other")
    if getattr(weight, "ndim", 0) != 2:
        return None
    return LayerCall("linear", given.get("input"), weight, swapped=True)  # type: ignore[arg-type]


def _conv(given: Mapping[str, object]) -> LayerCall | None:
    inputs, weight, bias = (given.get(name) for name in _LINEAR)
    shape = geometry_of(weight, given)
    return LayerCall("conv", inputs, weight, bias, geometry=shape)  # type: ignore[arg-type]


def _conv_transpose(given: Mapping[str, object]) -> LayerCall | None:
    inputs, weight = given.get("input"), given.get("weight")
    shape = geometry_of(weight, given)
    return LayerCall("conv_transpose", inputs, weight, swapped=True, geometry=shape)  # type: ignore[arg-type]
