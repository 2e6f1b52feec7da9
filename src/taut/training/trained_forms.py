"""What weights may become by training: each scheme's fake quantisation.

Beside levels at a learnt step these are two learnt magnitudes (TTQ, Zhu et al. 2017), the learnt
entries of a codebook, the sign times the row's mean magnitude (XNOR-Net, Rastegari et al. 2016),
and float8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from taut.errors import ArgumentError
from taut.scheme import Scheme
from taut.training.alive import to_wake
from taut.training.fake_quant import USUAL_SIZE, FakeQuant, grouped, joined
from taut.training.learnt_steps import LearntSteps

_INTEGERS: Final = {"int8": 127, "int4": 7, "int3": 3, "int2": 1}
_FP8_LARGEST: Final = 448.0  # of float8_e4m3fn
_TERNARY: Final = 0.7  # of the mean magnitude: below it a ternary weight is zero (TWN)


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
        parts = grouped(weight, None)
        value = grouped(self.index(weight), None) * scale[..., None]
        inside = (parts.abs() <= 3 * scale[..., None]).detach()
        passed = torch.where(inside, parts - parts.detach(), 0.0)
        return joined(value + passed, weight)

    @torch.no_grad()
    def index(self, weight: Tensor) -> Tensor:
        """-1 or 1; under a mask 0."""
        signs = torch.where(weight < 0, -1.0, 1.0)
        return signs if self.mask is None else signs * self.mask

    @torch.no_grad()
    def scales(self, weight: Tensor) -> Tensor:
        """The rows' mean magnitudes, shape (rows, 1)."""
        sums = grouped(self.kept(weight), None).abs()
        if self.mask is None:
            return sums.mean(-1)
        return sums.sum(-1) / grouped(self.mask, None).sum(-1).clamp(min=1)


class Codebook(FakeQuant):
    """One of a few learnt values each."""

    def __init__(self, weight: Tensor, entries: int, size: float = USUAL_SIZE) -> None:
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
        parts = grouped(weight.detach(), None) / scale
        value = parts.to(torch.float8_e4m3fn).float() * scale
        return joined(value, weight) + (weight - weight.detach())

    @torch.no_grad()
    def scales(self, weight: Tensor) -> Tensor:
        """Shape (rows, 1)."""
        largest = grouped(self.kept(weight), None).abs().amax(-1)
        _, exponents = torch.frexp(largest / _FP8_LARGEST)
        scales = torch.ldexp(torch.ones_like(largest), exponents.clamp(-120, 120))
        return torch.where(largest > 0, scales, 1.0)


def fake_quant(scheme: Scheme, weight: Tensor, name: str, size: float = USUAL_SIZE) -> FakeQuant:
    """What trains a weight towards `scheme`; `size` is its root mean square if it is all zeros.

    Raises:
        ArgumentError: the scheme has no form that trains, or its group does not divide the columns.
    """
    _check_group(scheme.group, weight, name)
    if scheme.kind in ("nvfp4", "mxfp4"):
        raise ArgumentError(
            f'tensor "{name}": {scheme} is not trained; round it with calibration data'
        )
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
