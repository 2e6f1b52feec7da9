"""How near two tensors are, summed up over batches in float64."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from taut.networks.output_vectors import Kind, logs_of
from taut.networks.outputs import as_real, class_axis, token_mask

if TYPE_CHECKING:
    import torch

_ROOM: Final = 1 << 17  # values at once: 1 MiB in float64, which a core's cache holds


@dataclass
class Near:
    """Sums over rows a of an original and b of what is held against it.

    The cosine of two rows of zeros is 1, of one row of zeros 0.
    """

    rows: int = 0
    cosines: float = 0.0
    error: float = 0.0  # |a - b|^2
    power: float = 0.0  # |a|^2
    largest: float = 0.0  # |a - b|

    def add(self, old: torch.Tensor, new: torch.Tensor) -> None:
        """Add rows (n, width) of both."""
        import torch

        for a, b in _doubles(old, new):
            aa, bb, ab = (a * a).sum(1), (b * b).sum(1), (a * b).sum(1)
            both = (aa * bb).sqrt()
            empty = ((aa == 0) & (bb == 0)).to(a.dtype)
            self.cosines += float(torch.where(both > 0, ab / both, empty).sum())
            difference = (a - b).abs_()
            if difference.numel():
                # not max(): a NaN must show
                self.largest = float(difference.max().clamp(min=self.largest))
            self.error += float(difference.square_().sum())
            self.power += float(aa.sum())
            self.rows += len(a)

    @property
    def cosine(self) -> float:
        """Mean over the rows."""
        return self.cosines / self.rows if self.rows else math.nan

    @property
    def rel_mse(self) -> float:
        """The squared error over the original's squares."""
        if self.power:
            return self.error / self.power
        return 0.0 if self.error == 0 else math.inf


@dataclass
class Divergence:
    """The sum of KL(p || q) in nats, p and q the softmax of an original's and of new logits."""

    rows: int = 0
    nats: float = 0.0

    def add(self, old: torch.Tensor, new: torch.Tensor) -> None:
        """Add rows (n, classes) of both."""
        import torch

        for a, b in _doubles(old, new):
            a, b = a.log_softmax(1), b.log_softmax(1)
            p = a.exp()
            # A class that cannot be, at minus infinity, adds nothing.
            self.nats += float(torch.where(p > 0, p * (a - b), 0.0).sum())
            self.rows += len(a)

    @property
    def mean(self) -> float:
        """Over the rows; never below zero, which rounding could bring about."""
        return max(0.0, self.nats / self.rows) if self.rows else math.nan


@dataclass
class NearOutput:
    """How near one output of two models is; `kind` says what it holds, None that it is unknown."""

    kind: Kind | None = None
    near: Near = field(default_factory=Near)
    divergence: Divergence = field(default_factory=Divergence)

    def add(self, old: torch.Tensor, new: torch.Tensor, batch: object) -> None:
        """Add what both gave for a batch; complex numbers are pairs of reals."""
        old, new = as_real(old), as_real(new)
        whole = old.ndim >= 4
        self.near.add(vectors(old, batch, whole=whole), vectors(new, batch, whole=whole))
        if self.kind in (None, "features"):
            return
        a, b = (choices(z, batch, last=self.kind == "last") for z in (old, new))
        if self.kind == "probabilities":
            a, b = logs_of(a), logs_of(b)
        if a.shape[1] > 1:
            self.divergence.add(a, b)

    @property
    def kl(self) -> float | None:
        """The mean KL divergence in nats; None of what is no choice between classes."""
        return self.divergence.mean if self.divergence.rows else None


def vectors(z: torch.Tensor, batch: object, *, whole: bool = False) -> torch.Tensor:
    """Rows that are compared: the last axis, of tokens that are no padding; `whole`: samples.

    A batch's `attention_mask` tells which tokens are padding, where `z` is (samples, tokens, n).
    """
    if z.ndim < 2:
        return z.reshape(-1, 1)
    if whole:
        return z.flatten(1)
    mask = token_mask(unwrapped(batch), z)
    return z.reshape(-1, z.shape[-1]) if mask is None else z[mask[..., 0].bool()]


def choices(z: torch.Tensor, batch: object, *, last: bool = False) -> torch.Tensor:
    """Rows of logits (n, classes): of samples, of tokens that are no padding, of pixels.

    With `last` the classes are on the last axis, whatever the shape.
    """
    axis = -1 if last or z.ndim < 4 else class_axis(z)
    return vectors(z.movedim(axis, -1), batch)


def unwrapped(batch: object) -> object:
    """The dict that is a batch's only argument, as of sentence encoders; else the batch."""
    if isinstance(batch, (tuple, list)) and len(batch) == 1 and isinstance(batch[0], Mapping):
        return batch[0]
    return batch


def _doubles(old: torch.Tensor, new: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Both in float64 where the first one lies, some rows at a time."""
    size = max(1, _ROOM // max(1, old.shape[1]))
    for start in range(0, len(old), size):
        a, b = old[start : start + size], new[start : start + size]
        yield a.double(), b.to(a.device).double()
