"""Uniform levels whose step is learnt beside the weights (LSQ, Esser et al. 2020)."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

from taut.training.alive import to_wake
from taut.training.fake_quant import USUAL_SIZE, FakeQuant, grouped, joined

_PULLS: Final = 1.5  # steps: from there on a weight's bits draw the step up
_FEW: Final = 256  # magnitudes that weights on a grid may have
_HIGHEST: Final = 1 << 15  # steps: multiples beyond it are no grid
_START: Final = 0.5  # of the weights' root mean square: the first step of `rd`


class LearntSteps(FakeQuant):
    """Uniform levels at a learnt step: unbounded for `rd`, else within -most .. most.

    The step is one for the tensor (`rd`, or `whole`), or one for each row and group of `group`
    columns. Weights that are multiples of a step already, as those of a network that was trained so
    before, keep it. Where all weights are zero, and so tell nothing of a step, `size` does: the
    root mean square that they may be thought to get.
    """

    def __init__(
        self,
        weight: Tensor,
        most: int | None = None,
        group: int | None = None,
        *,
        whole: bool = False,
        size: float = USUAL_SIZE,
    ) -> None:
        super().__init__()
        self.most, self.group, self.whole = most, group, whole or most is None
        with torch.no_grad():
            parts = weight.reshape(1, 1, -1) if self.whole else grouped(weight, group)
            found = parts.square().mean(-1).sqrt()
            if most is not None and most > 1:
                found = torch.minimum(parts.abs().amax(-1), 4 * found) / most / _START
                size = 4 * size / most / _START
            some = found[found > 0]
            start = torch.where(found > 0, found, some.mean() if some.numel() else size) * _START
            start = start.clamp(min=1e-12)
            grid = grid_of(weight) if most is None else None
            if grid is not None:
                start = torch.full_like(start, grid)
        self.on_grid = grid is not None
        self.log_step = nn.Parameter(start.log().squeeze() if self.whole else start.log())
        self._weight = 1 / math.sqrt(max(1, weight.numel()) * (most or 4))

    def quantised(self, weight: Tensor) -> Tensor:
        """Rounded to the nearest level."""
        step = self.log_step.exp()
        if self.whole:
            weight = self._awake(weight, step)
            every: Tensor = Rounding.apply(weight, step, self.most, self._weight)  # type: ignore[no-untyped-call]
            return every
        parts = grouped(weight, self.group)
        rounded = Rounding.apply(parts, step[..., None], self.most, self._weight)  # type: ignore[no-untyped-call]
        return joined(rounded, weight)

    def ratio(self, weight: Tensor) -> Tensor:
        """The masked weight in steps, with gradients to it, and to the step from large weights.

        A weight near zero or at the first level would draw the step up only to become zero, along
        with all others: which weights are zero is for the weights themselves to settle.
        """
        step = self.log_step.exp()
        if self.whole:
            kept = self._awake(self.kept(weight), step)
            small = kept.detach().abs() < _PULLS * step.detach()
            return kept / torch.where(small, step.detach(), step)
        parts, step = grouped(self.kept(weight), self.group), step[..., None]
        small = parts.detach().abs() < _PULLS * step.detach()
        return joined(parts / torch.where(small, step.detach(), step), weight)

    def _awake(self, weight: Tensor, step: Tensor) -> Tensor:
        """The weight with one step where a slice would be zero; gradients pass all the same."""
        if self.norm_axis is None:
            return weight
        wake = to_wake((weight.detach() / step).round(), weight.detach().abs(), self.norm_axis)
        least = torch.where(weight < 0, -step, step)
        return weight + torch.where(wake, least - weight, 0.0).detach()

    @torch.no_grad()
    def index(self, weight: Tensor) -> Tensor:
        """The nearest levels' numbers."""
        index = self.ratio(weight).round()
        return index if self.most is None else index.clamp(-self.most, self.most)

    @torch.no_grad()
    def scales(self, weight: Tensor) -> Tensor:
        """The steps."""
        return self.log_step.exp()


class Rounding(torch.autograd.Function):
    """step * clamp(round(weight / step)); LSQ's gradients, the step's in its logarithm."""

    @staticmethod
    def forward(ctx, weight: Tensor, step: Tensor, most: int | None, share: float) -> Tensor:  # type: ignore[no-untyped-def]
        ratio = weight / step
        index = ratio.round()
        if most is not None:
            index.clamp_(-most, most)
        ctx.save_for_backward(ratio, index, step)
        ctx.most, ctx.share = most, share
        return index * step

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        ratio, index, step = ctx.saved_tensors
        if ctx.most is None:
            slope = (index - ratio) * gradient
        else:
            inside = ratio.abs() <= ctx.most
            slope = torch.where(inside, index - ratio, index) * gradient
            gradient = gradient * inside
        whole = slope.sum() if step.ndim == 0 else slope.sum(-1, keepdim=True)
        return gradient, (whole * ctx.share).reshape(step.shape), None, None


@torch.no_grad()
def grid_of(weight: Tensor) -> float | None:
    """The step that all weights are multiples of, where they have few values; else None.

    >>> round(grid_of(torch.tensor([0.5, -1.0, 0.0, 0.25])), 3), grid_of(torch.tensor([0.5, 0.7]))
    (0.25, None)
    """
    sizes = torch.unique(weight.detach().abs().double())
    sizes = sizes[sizes > 0]
    if not 0 < sizes.numel() <= _FEW or sizes.numel() >= weight.numel():
        return None
    ratios = sizes / sizes[0]
    off = (ratios - ratios.round()).abs() > (1e-4 * ratios).clamp(max=0.01)
    return None if bool(off.any()) or float(ratios[-1]) > _HIGHEST else float(sizes[0])
