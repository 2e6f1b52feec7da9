"""What a model gives for a batch, as vectors, and how far those of two models lie apart.

A vector is what the model says at one position: a token, a pixel, or a sample as a whole. Those
of padding are left out, where a mask tells which these are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from taut.networks.outputs import Loss, as_real, find_target

__all__ = ["Distance", "Kind", "Loss", "Span", "vectors"]

if TYPE_CHECKING:
    import torch

Kind: TypeAlias = Literal["logits", "last", "probabilities", "features"]
"""Logits; logits whose classes are on the last axis in images too; their softmax; features.

Vectors of probabilities are their logarithms, which are logits.
"""


_FAINTEST: Final = 1e-70  # whose root float32 holds
_SLICE: Final = 1 << 22  # values of vectors whose distance is told, and differentiated, at once


@dataclass(frozen=True)
class Span:
    """Some of the `count` positions of a batch: from `begin` up to `end`."""

    begin: int
    end: int
    count: int

    def of(self, mask: torch.Tensor) -> torch.Tensor:
        """The mask (samples, positions) of these; one of other positions as it is."""
        return mask[:, self.begin : self.end] if mask.shape[1] == self.count else mask


def vectors(output: object, batch: object, kind: Kind, span: Span | None = None) -> torch.Tensor:
    """Return the output's vectors, float32 (live positions, width).

    `span`: the output is that of some positions of the batch.

    Raises:
        ArgumentError: the output holds no tensor of floats.
    """
    name = "features" if kind == "features" else "logits"
    return vectors_of(find_target(output, name, lambda _: None).tensor, batch, kind, span)


def vectors_of(
    tensor: torch.Tensor, batch: object, kind: Kind, span: Span | None = None
) -> torch.Tensor:
    """Return the vectors of one tensor of an output, as `vectors`; complex ones as pairs."""
    found = as_real(tensor).float()
    if found.ndim < 2:
        found = found.reshape(-1, 1)
    mask = _mask(batch)
    if mask is not None and span is not None:
        mask = span.of(mask)
    if kind == "probabilities":
        found = logs_of(found)
    if (
        kind in ("logits", "probabilities") and found.ndim > 3
    ):  # classes are the second axis, as in cross_entropy
        found = found.movedim(1, -1)
    if mask is not None and found.ndim == 3 and mask.shape == found.shape[:2]:
        return found[mask.to(found.device) != 0]
    return found.reshape(-1, found.shape[-1])


def logs_of(chances: torch.Tensor) -> torch.Tensor:
    """The logarithms of probabilities, which are logits of the same; of 0 that of 1e-30."""
    return chances.clamp_min(1e-30).log()


@dataclass(frozen=True)
class Distance:
    """How far vectors lie from the original's, summed over positions and divided by `unit`.

    Logits: the divergence KL(original || changed) in nats. Features: the squared distance, as a
    rule over the mean square of the original's length; its half where all lengths are 1, which is
    then 1 - cosine.
    """

    kind: Kind
    unit: float = 1.0

    def __call__(self, changed: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
        """Sum over positions; a scalar that gradients flow through.

        Where there are more or fewer vectors than the original has, as of objects that were found,
        it is that from the original to zeros.
        """
        import torch

        if changed.shape != original.shape:
            changed = torch.zeros_like(original)
        if len(changed) < 2 or changed.numel() <= _SLICE:
            return self._of(changed, original)
        many = max(1, _SLICE // max(1, changed.shape[-1]))
        return _in_slices()(self._of, changed, original, many)

    def _of(self, changed: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import kl_div, log_softmax

        if self.kind == "features":
            # What is huge or tiny must not be squared as it is.
            return ((changed - original) / math.sqrt(self.unit)).square().sum()
        # Logits of -inf, which forbid a class, must not become inf - inf.
        p, q = (log_softmax(of_two_classes(z), dim=-1).clamp_min(-1e4) for z in (original, changed))
        return kl_div(q, p, reduction="sum", log_target=True) / self.unit

    @classmethod
    def beside(cls, kind: Kind, originals: Iterable[torch.Tensor]) -> Distance:
        """Choose the unit by vectors of the original."""
        if kind != "features":
            return cls(kind)
        count, power, unequal = 0, 0.0, 0.0
        for original in originals:
            squares = original.double().square().sum(-1)
            count, power = count + len(squares), power + float(squares.sum())
            unequal = max(unequal, float((squares - 1).abs().max())) if len(squares) else unequal
        if unequal < 1e-3:  # all of length 1, up to rounding
            return cls(kind, 2.0)
        return cls(kind, as_unit(power / max(1, count)))


def as_unit(power: float) -> float:
    """A mean square as what distances are told in; of outputs that are all zero it is 1."""
    return max(power, _FAINTEST) if power else 1.0


@cache
def _in_slices() -> Callable[..., torch.Tensor]:
    """A distance summed over slices of vectors; of each its gradient is all that is kept.

    A divergence of logits and its gradient take some seven times what the logits do.
    """
    import torch

    class SlicedDistance(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any,
            distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
            changed: torch.Tensor,
            original: torch.Tensor,
            many: int,
        ) -> torch.Tensor:
            wanted = ctx.needs_input_grad[1]
            slope = torch.empty_like(changed) if wanted else changed.new_empty(0)
            total = changed.new_zeros(())
            for begin in range(0, len(changed), many):
                part = changed[begin : begin + many].detach().requires_grad_(wanted)
                with torch.set_grad_enabled(wanted):
                    one = distance(part, original[begin : begin + many])
                if wanted:
                    (slope[begin : begin + many],) = torch.autograd.grad(one, part)
                total += one.detach()
            ctx.save_for_backward(slope)
            return total

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            (slope,) = ctx.saved_tensors
            return None, slope * gradient, None, None

    return SlicedDistance.apply


def of_two_classes(logits: torch.Tensor) -> torch.Tensor:
    """Logits of two classes or more: a single one is that of a class beside a class of logit 0."""
    import torch

    if logits.shape[-1] > 1:
        return logits
    return torch.cat([torch.zeros_like(logits), logits], dim=-1)


def _mask(batch: object) -> torch.Tensor | None:
    """The mask of the positions that the output has: the decoder's, where there is one."""
    import torch

    if not isinstance(batch, Mapping):
        return None
    decodes = any(str(name).startswith("decoder_") for name in batch)
    mask = batch.get("decoder_attention_mask" if decodes else "attention_mask")
    return mask if isinstance(mask, torch.Tensor) and mask.ndim == 2 else None
