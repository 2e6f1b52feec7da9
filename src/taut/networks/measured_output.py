"""What values of an output are, told by the values: classes by their chances or logits, or numbers.

Chances add up to 1. Logits have no such mark, but what trains them leaves two. A softmax does not
feel what is added to all classes, so that training moves logits against each other and leaves their
sum nearly where it began; numbers that are no logits have sums that vary as they do. And a class
that is right stands out from the many others, so that logits lean to the right. Beside that they
have to tell something: which class is likely changes from sample to sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    import torch

Meaning: TypeAlias = Literal["logits", "probabilities", "features"]

LEAST: Final = 16  # positions from which values tell
ENOUGH: Final = 64
_NEAR: Final = 2e-3
_SUM: Final = (
    0.25  # of the variance of a direction: that of the sum of logits; numbers have .5 to 3
)
_MANY: Final = 16  # classes, from which the skew tells too
_SKEW: Final = 0.12
_LEAN: Final = 0.05  # a skew without which so many are no classes: a layer norm has sums of 0, too
_TOLD: Final = 0.1  # of all that could be told of the class
_SPREAD: Final = 2.0  # of a direction's variance, that of a sum of logits of many classes


@dataclass(frozen=True)
class Told:
    """What an output holds, and why it is taken for that, in words."""

    meaning: Meaning
    why: str


def told_by_values(vectors: torch.Tensor, vocabularies: frozenset[int] = frozenset()) -> Told:
    """What vectors (positions, width) of an output are; at least LEAST of them tell.

    `vocabularies` are the numbers of tokens that the network reads.

    >>> import torch
    >>> z = torch.randn(64, 10, generator=torch.Generator().manual_seed(0)) * 4
    >>> told_by_values(z.softmax(1)).meaning, told_by_values(z - z.mean(1, keepdim=True)).meaning
    ('probabilities', 'logits')
    >>> told_by_values(z).why
    'the sum over its values varies as much as they do'
    """
    import torch

    if bool((vectors == -torch.inf).any()):
        return Told("logits", "minus infinity forbids some classes")
    z = torch.nan_to_num(vectors.detach().double(), 0.0, 1e4, -1e4)
    width = z.shape[1]
    if width == 1:
        return Told("features", "it is one number")
    if bool((z >= 0).all()) and bool(((z.sum(1) - 1).abs() < _NEAR).all()):
        return Told("probabilities", "its values add up to 1")
    if bool((z.logsumexp(1).abs() < _NEAR).all()):
        return Told("logits", "its values are logarithms of what adds up to 1")
    if width in vocabularies:
        return Told("logits", "it is as wide as the vocabulary that is read")
    lengths = z.norm(dim=1)
    if float(lengths.std()) < _NEAR * float(lengths.mean()):
        return Told("features", "all vectors are of one length")
    return _by_spread(z)


def _by_spread(z: torch.Tensor) -> Told:
    """By what their sums do, and how much they tell of a class."""
    if _information(z) < _TOLD:
        return Told("features", "as logits they would tell next to nothing")
    apart = z - z.mean(0)
    total = float(apart.square().mean())
    sums = float(apart.sum(1).square().mean()) / z.shape[1] / max(total, 1e-300)
    many = z.shape[1] >= _MANY
    skew = _skew(apart) if many else math.inf
    if sums < _SUM and skew > _LEAN:
        return Told("logits", "its values move against each other, as those of a softmax do")
    if many and sums < _SPREAD and skew > _SKEW and float(z.min()) < 0:
        return Told("logits", "single values stand out, as those of likely classes do")
    if sums < _SUM:
        return Told("features", "its values lean to neither side, as no classes' do")
    return Told("features", "the sum over its values varies as much as they do")


def _information(z: torch.Tensor) -> float:
    """What logits tell of the class, as a share of what so many positions and classes could."""
    logs = z.log_softmax(1)
    each = -(logs.exp() * logs).sum(1).mean()
    mean = logs.exp().mean(0)
    every = -(mean * mean.clamp_min(1e-300).log()).sum()
    return float(every - each) / math.log(min(z.shape))


def _skew(apart: torch.Tensor) -> float:
    """The mean skewness over the values of a position, each beside its own mean."""
    apart = apart - apart.mean(1, keepdim=True)
    power = (apart**2).mean(1).clamp_min(1e-300)
    return float(((apart**3).mean(1) / power**1.5).mean())
