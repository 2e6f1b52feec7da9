"""The coder's bits as a function that has a gradient, for the loss of a training.

The coder knows how often rows and columns hold zeros, and how magnitudes fall; so does this
estimate, which is refreshed from the indices every few steps. Between two integers the bits are
interpolated, so that a weight feels what it would save by moving one step towards zero:

    |v| < 1:   (1 - |v|) log2 1/(1 - p_ij) + |v| (log2 1/p_ij + 1 + m_1)
    |v| >= k:  log2 1/p_ij + 1 + m_k + (|v| - k) (m_(k+1) - m_k)

where v = weight / step, m_k = log2 1/P(|q| = k | q != 0), 1 is the sign's bit, and p_ij, how likely
an index is not zero, joins its row's and its column's share of nonzeros as independent evidence:
logit p_ij = logit r_i + logit c_j - logit p. So what is alone in its row and column costs most, and
rows and columns die as a whole (docs/method.md).
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

_LARGEST: Final = 15  # magnitudes with a probability of their own
_PRIOR: Final = 2.0  # observations that the whole matrix' share counts as in a row's
_SURE: Final = 11.0  # nats: no zero, nor any other index, is taken for likelier than that
_LN2: Final = math.log(2.0)


class BitEstimate:
    """Bits of one matrix of indices, shape (rows, columns), under tables taken from itself."""

    def __init__(self, index: Tensor) -> None:
        self.refresh(index)

    @torch.no_grad()
    def refresh(self, index: Tensor) -> None:
        """Take the tables from the indices as they are now; sets `bits`, what these cost."""
        index = _matrix(index)
        live = index != 0
        self.logit = _logits(live)
        self.prices = _prices(index, live)  # of magnitudes 0 (none), 1 .. _LARGEST + 1, with sign
        zero, one = _softplus2(self.logit), _softplus2(-self.logit)
        self.bits = float(torch.where(live, one, zero).sum()) + self._magnitudes(index)
        self.zero, self.one = zero, one
        self.rise = (one - zero + self.prices[1]).clamp_(min=0.0)
        self.steepness = (self.prices[1:] - self.prices[:-1]).clamp(min=0.0)
        self.steepness[0] = 0.0  # that of |v| < 1 depends on row and column

    @torch.no_grad()
    def each(self, index: Tensor) -> Tensor:
        """The bits of every index by the tables as they are, of the same shape."""
        flat = _matrix(index)
        size = flat.abs()
        beyond = (size - _LARGEST).clamp(min=0) * (self.prices[-1] - self.prices[-2])
        live = self.one + self.prices[size.clamp(max=_LARGEST).long()] + beyond
        return torch.where(flat != 0, live, self.zero).reshape(index.shape)

    def _magnitudes(self, index: Tensor) -> float:
        size = index.abs()
        beyond = (size - _LARGEST).clamp(min=0).sum() * (self.prices[-1] - self.prices[-2])
        return float(self.prices[size.clamp(max=_LARGEST).long()].sum() + beyond)

    def __call__(self, ratio: Tensor) -> Tensor:
        """Bits of weights over step, with their gradient; a scalar."""
        bits: Tensor = _Interpolated.apply(ratio, self)  # type: ignore[no-untyped-call]
        return bits


class _Interpolated(torch.autograd.Function):
    """The sum of the interpolated bits; the slopes are worked out together with it."""

    @staticmethod
    def forward(ctx, ratio: Tensor, tables: BitEstimate) -> Tensor:  # type: ignore[no-untyped-def]
        flat = _matrix(ratio)
        size = flat.abs()
        base = size.clamp(max=_LARGEST).floor_().long()
        slope = torch.where(base == 0, tables.rise, tables.steepness[base])
        start = torch.where(base == 0, tables.zero, tables.one + tables.prices[base])
        ctx.save_for_backward(slope.mul(flat.sign()).reshape(ratio.shape))
        return (start + slope * (size - base)).sum()

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        (slope,) = ctx.saved_tensors
        return gradient * slope, None


def _matrix(values: Tensor) -> Tensor:
    """Rows of the first axis; a vector is one row."""
    return values.reshape(values.shape[0], -1) if values.ndim > 1 else values.reshape(1, -1)


def _logits(live: Tensor) -> Tensor:
    rows, columns = live.shape
    mean = (float(live.sum()) + 0.5) / (live.numel() + 1)
    whole = math.log(mean / (1 - mean))
    row = (live.sum(1, keepdim=True) + _PRIOR * mean) / (columns + _PRIOR)
    column = (live.sum(0, keepdim=True) + _PRIOR * mean) / (rows + _PRIOR)
    logit = torch.logit(row) - whole
    logit = logit + torch.logit(column) if rows > 1 else torch.full_like(column, whole)
    return logit.clamp_(-_SURE, _SURE)


def _prices(index: Tensor, live: Tensor) -> Tensor:
    """Bits of a nonzero's sign and magnitude; counts are smoothed by a geometric fall."""
    size = index[live].abs().clamp(max=_LARGEST).long()
    counts = torch.bincount(size, minlength=_LARGEST + 1)[1:].float().cpu()
    mean = float((counts * torch.arange(1, _LARGEST + 1)).sum() / counts.sum().clamp(min=1.0))
    fall = 1 - 1 / max(mean, 1.05)
    prior = fall ** torch.arange(_LARGEST, dtype=torch.float32)
    counts += 2.0 * prior / prior.sum()
    prices = 1 - torch.log2(counts / counts.sum())
    last = prices[-1:] - math.log2(fall)
    return torch.cat([torch.zeros(1), prices, last]).to(index.device)


def _softplus2(x: Tensor) -> Tensor:
    """log2(1 + e^x)."""
    return torch.nn.functional.softplus(x) / _LN2
