"""What a network gives beside its main output, and how much of each counts.

A loss of the main output alone says nothing of a second head: its weights would be rounded to
nothing. So every output of floats counts, each by its own kind, and alike: in units of what it
costs to lose it altogether, zeros in its place.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from taut.networks.outputs import KeptOutput, Maker, find_target, float_parts, told_output

if TYPE_CHECKING:
    import torch

_LEAST: Final = 0.01  # of the most that logits can tell, log C: what they count that tell nothing


def kept_outputs(output: object, kind: str, maker: Maker) -> list[KeptOutput]:
    """The output of `find_target`, and then all others that hold floats and are computed.

    Complex numbers are pairs of reals. What an output has twice counts once. In an output of
    transformers what the main one is computed from (the encoder's states beside the decoder's
    logits) does not count by itself.

    Raises:
        ArgumentError: the output holds no tensor of floats.

    >>> import torch
    >>> z = torch.ones(2, 3, requires_grad=True)
    >>> output = {"logits": 2 * z, "box": 3 * z, "told": torch.ones(2)}
    >>> [(one.place, one.logits) for one in kept_outputs(output, "auto", lambda tensor: None)]
    [('logits', True), ('box', False)]
    """
    main = find_target(output, kind, maker)
    parts = float_parts(output)
    own = next((place for place, one in parts.items() if _is_same(one, main.tensor)), "")
    inner = _computed_from(main.tensor) if _of_transformers(output) else set()
    others = [
        _beside(place, tensor, kind, maker)
        for place, tensor in _each_once(parts, {id(main.tensor), id(parts.get(own))})
        if tensor.requires_grad and tensor.numel() and tensor.grad_fn not in inner
    ]
    return [replace(main, place=own), *others]


def _each_once(
    parts: dict[str, torch.Tensor], seen: set[int]
) -> Iterator[tuple[str, torch.Tensor]]:
    """The parts by place, each tensor at its first; without those that were seen."""
    for place, tensor in parts.items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            yield place, tensor


def _beside(place: str, tensor: torch.Tensor, kind: str, maker: Maker) -> KeptOutput:
    """An output that is not the main one."""
    import torch

    real = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    told = told_output(real, maker, named=place.rpartition(".")[2] == "logits")
    return replace(told, logits=told.logits and kind != "features", place=place)


def cost_of_loss(kept: KeptOutput, mask: torch.Tensor | None) -> float:
    """What zeros in an output's place cost, summed over its positions, as curvature measures it.

    Of features half the sum of squares; of logits the divergence from no opinion, log C - H nats.
    """
    import torch

    z = kept.tensor.detach().float()
    z = z.masked_fill(~z.isfinite(), -1e4 if kept.logits else 0.0)
    if not kept.logits:
        each = z.square() / 2
        return float((each if mask is None else each * mask).sum())
    logs = torch.log_softmax(z, kept.axis)
    classes = z.shape[kept.axis]
    told = math.log(classes) + (logs.exp() * logs).sum(kept.axis, keepdim=True)
    told = told.clamp(min=_LEAST * math.log(classes))
    return float((told if mask is None else told * mask).sum())


def _is_same(part: torch.Tensor, main: torch.Tensor) -> bool:
    """Whether a part is the main output, or the complex numbers that it is the pairs of."""
    if part is main:
        return True
    return part.is_complex() and part.data_ptr() == main.data_ptr() and part.numel() > 0


def _of_transformers(output: object) -> bool:
    generic = sys.modules.get("transformers.utils.generic")
    kind = getattr(generic, "ModelOutput", None)
    return kind is not None and isinstance(output, kind)


def _computed_from(tensor: torch.Tensor) -> set[object]:
    """The steps of the graph that a tensor was computed by, but for its own."""
    found: set[object] = set()
    left = [tensor.grad_fn]
    while left:
        step = left.pop()
        for before, _ in step.next_functions if step is not None else ():
            if before is not None and before not in found:
                found.add(before)
                left.append(before)
    return found - {tensor.grad_fn}
