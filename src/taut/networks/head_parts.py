"""The head of a chain on some positions at a time, where it acts on each as if it were alone.

A language model's head gives a number for each word of its vocabulary at each position: the most
that a run ever holds, and several times that while it is differentiated. Whether a head acts so is
told by what it gives, not by its name: parts are believed only where they are the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

from taut.networks.calls import evaluating
from taut.networks.chain import Chain
from taut.networks.chain_cutting import Cutting, head_pieces
from taut.networks.output_vectors import Span

if TYPE_CHECKING:
    import torch

    Told: TypeAlias = Callable[[object, object, Span | None], Sequence[torch.Tensor]]
    Given: TypeAlias = Callable[[int, int], Sequence[torch.Tensor] | None]

AT_ONCE: Final = 3 << 20
"""Values of an output that the head makes at once."""

_CLOSE: Final = 1e-4  # of the largest value; sums in another order differ by far less
_LIGHT: Final = 0.01  # of the head's work: the front's, which runs again for each part
_FEW: Final = 8  # positions: of fewer nothing is believed


@dataclass(frozen=True)
class HeadPart:
    """Samples `given` of a batch, and where their part of its hidden state lies.

    `samples` are of the first axis; `span` are positions along `axis`, None for all.
    """

    given: object
    samples: slice
    axis: int = 1
    span: Span | None = None

    def of(self, hidden: torch.Tensor) -> torch.Tensor:
        """The part of a hidden state, or of what has its shape: a view."""
        some = hidden[self.samples]
        if self.span is None:
            return some
        return some.narrow(self.axis, self.span.begin, self.span.end - self.span.begin)


@dataclass(frozen=True)
class HeadParts:
    """How a head is run on parts: `axis` is that of positions, each of `width` values of output.

    `axis` None: a sample stays whole. `cutting` tells samples apart (None: they stay together).
    """

    cutting: Cutting | None
    axis: int | None
    width: float

    def of(self, batch: object, hidden: torch.Tensor) -> Iterator[HeadPart]:
        """The parts of a batch with such a hidden state, in their order."""
        cut = None if self.cutting is None else self.cutting.of(batch)
        count = 1 if cut is None or self.cutting is None else self.cutting.heads(hidden, AT_ONCE)
        begin = 0
        for given, some in head_pieces(batch, hidden, cut if count > 1 else None, count):
            part = HeadPart(given, slice(begin, begin + len(some)))
            begin += len(some)
            yield from self._positions(part, some)

    def _positions(self, part: HeadPart, hidden: torch.Tensor) -> Iterator[HeadPart]:
        if self.axis is None or len(hidden) != 1 or hidden.ndim <= self.axis:
            yield part
            return
        count = hidden.shape[self.axis]
        each = max(1, int(AT_ONCE // max(1.0, self.width)))
        if count <= each:
            yield part
            return
        pieces = -(-count // each)
        for number in range(pieces):
            span = Span(count * number // pieces, count * (number + 1) // pieces, count)
            yield HeadPart(part.given, part.samples, self.axis, span)


WHOLE: Final = HeadParts(None, None, 0.0)
"""All of a batch at once."""


def find_head_parts(
    chain: Chain, batch: object, hidden: torch.Tensor, cutting: Cutting | None, told: Told
) -> HeadParts:
    """How the head runs on parts of batches like this one, of which the last block gave `hidden`.

    `told(output, batch, span)` gives the vectors that count of what the head gave for a span of a
    batch. No gradients flow; the network is left as it was.
    """
    import torch

    with torch.no_grad(), evaluating(chain.network):
        cut = None if cutting is None else cutting.of(batch)
        if cut is not None:
            batch, hidden = cut.pieces(batch, cut.count)[0], hidden[:1]
        found = _axis(chain, batch, hidden, told) if len(hidden) == 1 else None
        axis, width = (None, 0.0) if found is None else found
    return HeadParts(cutting, axis, width)


def _axis(
    chain: Chain, batch: object, hidden: torch.Tensor, told: Told
) -> tuple[int, float] | None:
    """The axis of positions, and the values of the output at each; None where there is none."""
    for axis in range(1, hidden.ndim):
        count = hidden.shape[axis]

        def given(
            begin: int, end: int, axis: int = axis, count: int = count
        ) -> Sequence[torch.Tensor] | None:
            part = hidden.narrow(axis, begin, end - begin)
            try:
                return told(chain.leave(batch, part), batch, Span(begin, end, count))
            except Exception:  # a head may do anything with positions that it does not expect
                return None

        if count < _FEW:
            continue
        width = _width(given, count)
        if width is None or count * width <= AT_ONCE:  # it is small, or there are no positions
            continue
        some = min(count, max(_FEW, int(2 * AT_ONCE // width)))  # all may be too many for memory
        if _are_whole(given, some) and _is_light(chain, batch, hidden.narrow(axis, 0, some)):
            return axis, width
    return None


def _width(given: Given, count: int) -> float | None:
    """Values of the output at each position, by the first few and the last: some are padding."""
    found = [given(0, _FEW), given(count - _FEW, count)]
    if any(one is None for one in found):
        return None
    return max(sum(part.numel() for part in one or ()) for one in found) / _FEW


def _are_whole(given: Given, count: int) -> bool:
    """Whether parts of unequal lengths are what the head gives for so many positions at once."""
    whole = given(0, count)
    if whole is None or not len(whole[0]):
        return False
    begins = [0] * len(whole)
    for begin, end in pairwise([0, count // 5, count // 2, count]):
        parts = given(begin, end)
        if parts is None or len(parts) != len(whole):
            return False
        for number, (part, one) in enumerate(zip(parts, whole, strict=True)):
            if not _close(part, one[begins[number] : begins[number] + len(part)]):
                return False
            begins[number] += len(part)
    return begins == [len(one) for one in whole]


def _close(part: torch.Tensor, whole: torch.Tensor) -> bool:
    """Whether values are the same but for sums in another order; -inf and NaN are as they were."""
    if part.shape != whole.shape or not part.numel():
        return part.shape == whole.shape
    far = (part - whole).abs_()
    far.masked_fill_((part == whole) | (part.isnan() & whole.isnan()), 0.0)
    most = float(whole.abs().nan_to_num_(0.0, 0.0, 0.0).max())
    return float(far.max()) <= _CLOSE * most  # NaN is no distance: False


def _is_light(chain: Chain, batch: object, hidden: torch.Tensor) -> bool:
    """Whether the front, which runs for each part, is little work beside the head."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as front:
        chain.enter(batch)
    with FlopCounterMode(display=False) as both:
        chain.leave(batch, hidden)
    return int(front.get_total_flops()) <= _LIGHT * int(both.get_total_flops())
