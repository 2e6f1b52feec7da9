"""Weights that are what the file will hold while they are trained: fake quantisation.

Each is a parametrisation (torch.nn.utils.parametrize) of one tensor. Gradients pass the rounding as
if it were not there (the straight-through estimator, Bengio et al. 2013). What is learnt beside the
weights: the step (LSQ, Esser et al. 2020), the two magnitudes of a ternary tensor (TTQ, Zhu et al.
2017), the entries of a codebook. Binary tensors are sign times the row's mean magnitude
(XNOR-Net, Rastegari et al. 2016).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from taut.errors import ArgumentError
from taut.scheme import Scheme
from taut.training.alive import to_wake

_INTEGERS: Final = {"int8": 127, "int4": 7, "int3": 3, "int2": 1}
_FP8_LARGEST: Final = 448.0  # of float8_e4m3fn
_TERNARY: Final = 0.7  # of the mean magnitude: below it a ternary weight is zero (TWN)
_PULLS: Final = 1.5  # steps: from there on a weight's bits draw the step up
_FEW: Final = 256  # magnitudes that weights on a grid may have
_SIZE: Final = 0.1  # the root mean square of weights that nothing is known of
_HIGHEST: Final = 1 << 15  # steps: multiples beyond it are no grid
_START: Final = 0.5  # of the weights' root mean square: the first step of `rd`


class FakeQuant(nn.Module):
    """Passes a weight on as it will be decoded; `mask`, where there is one, zeroes before that.

    `reached` holds of every part whether a gradient of the task ever came to it, other than zeros.
    Parts are equal runs of the tensor's numbers: rows of an embedding, or the one whole. Where
    there is a `norm_axis`, no slice along it becomes zero as a whole (-1: nor the tensor).
    """

    mask: Tensor | None
    reached: Tensor
    norm_axis: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", None)
        self.register_buffer("reached", torch.zeros(1, dtype=torch.bool))
        self._any = self._all = False  # once known: looking at a tensor may wait for a device

    def forward(self, weight: Tensor) -> Tensor:
        """The weight as it will be decoded, with gradients to it and to what is learnt beside."""
        value = self.quantised(self.kept(weight))
        watched: Tensor = _Watched.apply(value, self)  # type: ignore[no-untyped-call]
        return watched

    @property
    def taught(self) -> bool:
        """Whether a gradient of the task ever came to any part."""
        self._any = self._any or bool(self.reached.any())
        return self._any

    @property
    def all_taught(self) -> bool:
        """Whether one came to all parts."""
        self._all = self._all or bool(self.reached.all())
        return self._all

    def watch(self, parts: int) -> None:
        """Begin to watch for gradients, of so many parts."""
        self.reached = self.reached.new_zeros(parts)
        self._any = self._all = False

    def note(self, gradient: Tensor) -> None:
        """Take note of a gradient of the task, of the weight's shape."""
        if not self.all_taught:
            self.reached |= (gradient.reshape(len(self.reached), -1) != 0).any(1)

    def drawn(self, values: Tensor) -> Tensor:
        """`values` of the weight's shape, with gradients for parts that were reached alone."""
        if self.all_taught:
            return values
        parts = values.reshape(len(self.reached), -1)
        return torch.where(self.reached[:, None], parts, parts.detach()).reshape(values.shape)

    def kept(self, weight: Tensor) -> Tensor:
        """The weight with its mask applied; gradients pass to the masked ones too.

        They tell which of these to bring back; whether they move is for who holds the masks.
        """
        if self.mask is None:
            return weight
        return weight - (weight * ~self.mask).detach()

    def quantised(self, weight: Tensor) -> Tensor:
        """As `forward`, of a weight already masked."""
        return weight

    def index(self, weight: Tensor) -> Tensor | None:
        """The integers that are coded, of the weight's shape; None where floats are."""
        return None

    def ratio(self, weight: Tensor) -> Tensor | None:
        """The masked weight in steps, with its gradient; None where bits have no gradient."""
        return None

    def levels(self) -> tuple[Tensor, int] | None:
        """The values of indices low, low + 1, .. as (table, low); None where index x step is it."""
        return None

    def scales(self, weight: Tensor) -> Tensor | None:
        """What indices are multiplied by: a scalar, or shape (rows, groups)."""
        return None


class _Watched(torch.autograd.Function):
    """The value itself; notes that its gradient came, and makes a sparse one dense."""

    @staticmethod
    def forward(ctx, value: Tensor, quant: FakeQuant) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.quant = quant
        return value.view_as(value)

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        dense = gradient.to_dense() if gradient.layout != torch.strided else gradient
        ctx.quant.note(dense.detach())
        return dense, None


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
        size: float = _SIZE,
    ) -> None:
        super().__init__()
        self.most, self.group, self.whole = most, group, whole or most is None
        with torch.no_grad():
            parts = weight.reshape(1, 1, -1) if self.whole else _grouped(weight, group)
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
        parts = _grouped(weight, self.group)
        rounded = Rounding.apply(parts, step[..., None], self.most, self._weight)  # type: ignore[no-untyped-call]
        return _joined(rounded, weight)

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
        parts, step = _grouped(self.kept(weight), self.group), step[..., None]
        small = parts.detach().abs() < _PULLS * step.detach()
        return _joined(parts / torch.where(small, step.detach(), step), weight)

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


class Ternary(FakeQuant):
    """-low, 0 and high: two learnt magnitudes, zeros below a share of the mean magnitude."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        with torch.no_grad():
            index = self.index(weight)
            high = weight[index > 0].mean() if (index > 0).any() else weight.abs().mean()
            low = -weight[index < 0].mean() if (index < 0).any() else weight.abs().mean()
        self.magnitudes = nn.Parameter(torch.stack([low, high]).clamp(min=1e-12))

    def quantised(self, weight: Tensor) -> Tensor:
        """The level of each weight's index."""
        index = self._index(weight.detach())
        value = torch.where(index > 0, self.magnitudes[1], -self.magnitudes[0]) * (index != 0)
        return value + (weight - weight.detach())

    @torch.no_grad()
    def index(self, weight: Tensor) -> Tensor:
        """-1, 0 or 1."""
        return self._index(self.kept(weight))

    def _index(self, weight: Tensor) -> Tensor:
        size = weight.abs()
        index = weight.sign() * (size > _TERNARY * size.mean())
        if self.norm_axis is None:
            return index
        wake = to_wake(index, size, self.norm_axis)
        return torch.where(wake, torch.where(weight < 0, -1.0, 1.0), index)

    @torch.no_grad()
    def levels(self) -> tuple[Tensor, int]:
        """The three values."""
        low, high = self.magnitudes
        return torch.stack([-low, torch.zeros_like(low), high]), -1


class Binary(FakeQuant):
    """The sign of each weight times the mean magnitude of its row, of what the mask leaves."""

    def quantised(self, weight: Tensor) -> Tensor:
        """Sign times scale; weights beyond 3 scales feel no more gradient than they can use."""
        scale = self.scales(weight)
        parts = _grouped(weight, None)
        value = _grouped(self.index(weight), None) * scale[..., None]
        inside = (parts.abs() <= 3 * scale[..., None]).detach()
        passed = torch.where(inside, parts - parts.detach(), 0.0)
        return _joined(value + passed, weight)

    @torch.no_grad()
    def index(self, weight: Tensor) -> Tensor:
        """-1 or 1; under a mask 0."""
        signs = torch.where(weight < 0, -1.0, 1.0)
        return signs if self.mask is None else signs * self.mask

    @torch.no_grad()
    def scales(self, weight: Tensor) -> Tensor:
        """The rows' mean magnitudes, shape (rows, 1)."""
        sums = _grouped(self.kept(weight), None).abs()
        if self.mask is None:
            return sums.mean(-1)
        return sums.sum(-1) / _grouped(self.mask, None).sum(-1).clamp(min=1)


class Codebook(FakeQuant):
    """One of a few learnt values each."""

    def __init__(self, weight: Tensor, entries: int, size: float = _SIZE) -> None:
        super().__init__()
        with torch.no_grad():
            at = (torch.arange(entries, device=weight.device) + 0.5) / entries
            flat = weight.flatten().float()
            some = flat[:: max(1, flat.numel() // 1_000_000)]
            start = torch.quantile(some, at)
            low, high = float(flat.min()), float(flat.max())
            wide = torch.linspace(low, high, entries).to(start)
            alike = low + 4 * size * (at - 0.5)  # around the one value that all have
        self.entries = nn.Parameter((start + wide) / 2 if high > low else alike)

    def quantised(self, weight: Tensor) -> Tensor:
        """The nearest entry; under a mask zero."""
        value = self.entries[self._nearest(weight.detach())]
        if self.mask is not None:
            value = value * self.mask
        return value + (weight - weight.detach())

    @torch.no_grad()
    def index(self, weight: Tensor) -> Tensor:
        """The entry's place in ascending order; under a mask that of zero, which is one more."""
        table, _ = self.levels()
        value = self.entries[self._nearest(weight)]
        if self.mask is not None:
            value = value * self.mask
        return torch.searchsorted(table, value.contiguous())

    @torch.no_grad()
    def levels(self) -> tuple[Tensor, int]:
        """The entries in ascending order, and zero where there is a mask."""
        table = self.entries.detach()
        if self.mask is not None:
            table = torch.cat([table, table.new_zeros(1)])
        return torch.unique(table), 0

    def _nearest(self, weight: Tensor) -> Tensor:
        order = self.entries.detach().argsort()
        ascending = self.entries.detach()[order]
        middles = (ascending[1:] + ascending[:-1]) / 2
        return order[torch.bucketize(weight.detach(), middles)]


class Float8(FakeQuant):
    """float8_e4m3fn times a power of two for each row, which puts its largest just below 448.

    The same as `lowbit.fp8`, which the file is made by.
    """

    def quantised(self, weight: Tensor) -> Tensor:
        """The nearest float8, scaled back."""
        scale = self.scales(weight)[..., None]
        parts = _grouped(weight.detach(), None) / scale
        value = parts.to(torch.float8_e4m3fn).float() * scale
        return _joined(value, weight) + (weight - weight.detach())

    @torch.no_grad()
    def scales(self, weight: Tensor) -> Tensor:
        """Shape (rows, 1)."""
        largest = _grouped(self.kept(weight), None).abs().amax(-1)
        _, exponents = torch.frexp(largest / _FP8_LARGEST)
        scales = torch.ldexp(torch.ones_like(largest), exponents.clamp(-120, 120))
        return torch.where(largest > 0, scales, 1.0)


def fake_quant(scheme: Scheme, weight: Tensor, name: str, size: float = _SIZE) -> FakeQuant:
    """What trains a weight towards `scheme`; `size` is its root mean square if it is all zeros.

    Raises:
        ArgumentError: the scheme has no form that trains, or its group does not divide the columns.
    """
    _check_group(scheme.group_size, weight, name)
    if scheme.asymmetric:
        raise ArgumentError(f'tensor "{name}": {scheme} is not trained; leave ",asym" out')
    if scheme.kind in _INTEGERS:
        most, group = _INTEGERS[scheme.kind], scheme.group_size
        return LearntSteps(weight, most, group, whole=scheme.per_tensor, size=size)
    forms: dict[str, Callable[[], FakeQuant]] = {
        "rd": lambda: LearntSteps(weight, size=size),
        "codebook": lambda: Codebook(weight, scheme.entries or 16, size),
        "ternary": lambda: Ternary(weight),
        "binary": Binary,
        "fp8": Float8,
    }
    return forms.get(scheme.kind, FakeQuant)()


def _check_group(group: int | None, weight: Tensor, name: str) -> None:
    """Whether groups of so many columns divide a row; raises ArgumentError if not."""
    columns = weight[0].numel() if weight.ndim > 1 else weight.numel()
    if group is not None and columns % group:
        near = max(d for d in range(1, group + 1) if columns % d == 0)
        raise ArgumentError(
            f'tensor "{name}": groups of {group} do not divide its {columns} columns; '
            f"nearest that does: g{near}"
        )


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


def _grouped(weight: Tensor, group: int | None) -> Tensor:
    """Shape (rows, groups, columns in a group); a vector is one row."""
    rows = weight.shape[0] if weight.ndim > 1 else 1
    flat = weight.reshape(rows, -1)
    return flat.reshape(rows, -1, group or max(1, flat.shape[1]))


def _joined(parts: Tensor, weight: Tensor) -> Tensor:
    return parts.reshape(weight.shape)
