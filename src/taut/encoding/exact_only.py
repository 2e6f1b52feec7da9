"""Tensors that no lossy scheme can carry: what in their values makes them stay bit-exact."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from taut.encoding.tensor import check_finite
from taut.errors import ArgumentError
from taut.io import Source, TensorInfo
from taut.io.dtypes import LARGEST_HALF
from taut.io.tensor_pieces import pieces_of
from taut.planning.rules import FLOATS
from taut.scheme import Scheme

_BLOCK: Final = 1 << 20  # values that are looked at together
_LEAST_HALF: Final = 2.0**-14  # below, it loses a bit of its precision an octave
_UNDERFLOW, _OVERFLOW = 1e-45, 3.4028235e38  # of float32, which masks compare in
_DIALLED, _GRIDDED = 0.5, 0.9  # of it, that rounding to a step, or to a grid's scales, may reach
_LARGEST: Final = 1e18  # beyond, squares of errors overflow float32
_FINEST: Final = 1e-28  # below, a step of a few bits a value is none that float32 divides by
# Of the largest value to the root of the scale, to which the dial sets steps in proportion: beyond,
# an index passes 2^29 at the dials of 8 bits a value.
_WIDEST: Final = float(1 << 20)


@dataclass(frozen=True)
class ValueRange:
    """What counts and sums over a tensor say: `largest` and `power` (mean square) are of numbers.

    >>> ValueRange.of(np.array([1.0, -3.0, np.nan, -np.inf]))
    ValueRange(nans=1, infinities=1, largest=3.0, power=5.0)
    """

    nans: int
    infinities: int
    largest: float
    power: float

    @classmethod
    def of(cls, values: np.ndarray) -> ValueRange:
        """Look at floats of any shape, a block at a time."""
        return cls.of_pieces([values.reshape(-1)])

    @classmethod
    def of_pieces(cls, pieces: Iterable[np.ndarray]) -> ValueRange:
        """The same of flat pieces of a tensor, in order."""
        nans = infinities = numbers = 0
        largest = power = 0.0
        for part in (p[at : at + _BLOCK] for p in pieces for at in range(0, p.size, _BLOCK)):
            block = part.astype(np.float64)
            finite = block[np.isfinite(block)]
            found = int(np.isnan(block).sum())
            nans, infinities = nans + found, infinities + block.size - finite.size - found
            numbers += finite.size
            largest = max(largest, float(np.abs(finite).max(initial=0.0)))
            with np.errstate(over="ignore"):
                power += float(np.square(finite).sum())
        return cls(nans, infinities, largest, power / max(1, numbers))


def why_exact(
    info: TensorInfo,
    values: np.ndarray | ValueRange,
    scheme: Scheme,
    *,
    by_scale: bool = True,
) -> str | None:
    """What keeps a scheme from rounding these values, for the end of a message; None if nothing.

    Their range does for the values. `by_scale` says that steps go by the tensor's scale, as they
    do without data.

    A NaN or an infinity; a number that the scheme's grid may round out of the dtype (a lowest
    float that masks with); numbers too far apart, or too small, for steps of float32.

    >>> info = TensorInfo("mask", "F32", (2,), 8)
    >>> why_exact(info, np.array([0, -np.inf], np.float32), Scheme("int8"))
    '1 of its values is infinite'
    """
    sparse = (scheme.sparsity, scheme.n_of_m) != (None, None)
    if info.dtype not in FLOATS or (scheme.kind in ("keep", "lossless") and not sparse):
        return None
    found = values if isinstance(values, ValueRange) else ValueRange.of(values)
    odd = _why_not_finite(found)
    if odd is not None:
        return odd
    if scheme.kind in ("keep", "lossless"):
        return _why_unmasked(found)
    return _why_out_of_range(info, found, scheme) or (
        _why_apart(found) if by_scale and scheme.kind == "rd" else None
    )


def _why_not_finite(found: ValueRange) -> str | None:
    """That some values are no finite numbers."""
    for count, what in ((found.nans, "NaN"), (found.infinities, "infinite")):
        if count:
            return f"{count:,} of its values {'is' if count == 1 else 'are'} {what}"
    return None


def _why_unmasked(found: ValueRange) -> str | None:
    """What keeps a mask alone from telling large values from small ones, as float32."""
    if found.largest == 0 or _UNDERFLOW <= found.largest <= _OVERFLOW:
        return None
    return f"its largest value is {found.largest:.3g}, which float32 does not hold"


def _why_out_of_half(found: ValueRange) -> str | None:
    """That float16 does not hold the values, or hardly anything of them."""
    told = f"its largest value is {found.largest:.3g}"
    if found.largest > LARGEST_HALF:
        return f"{told}, and float16 ends at 65504"
    if 0 < found.largest < _LEAST_HALF:
        return f"{told}, too small for float16, which is coarse below {_LEAST_HALF:.1g}"
    return None


def _why_out_of_range(info: TensorInfo, found: ValueRange, scheme: Scheme) -> str | None:
    """What in the range of finite values a grid cannot hold."""
    told = f"its largest value is {found.largest:.3g}"
    if scheme.kind == "fp16":
        return _why_out_of_half(found)
    share = _DIALLED if scheme.kind == "rd" else _GRIDDED
    if info.dtype == "F16" and found.largest > share * LARGEST_HALF:
        return f"{told}, which rounding may carry beyond 65504, where F16 ends"
    if found.largest > _LARGEST:
        return f"{told}, and errors beyond {_LARGEST:g} have no squares in float32"
    if 0 < found.largest < _FINEST:
        return f"{told}, too small for a step in float32"
    return None


def _why_apart(found: ValueRange) -> str | None:
    """That the largest value is too many steps from zero, where these go by the scale."""
    if found.largest <= _WIDEST * math.sqrt(math.sqrt(found.power)):
        return None
    return f"its largest value is {found.largest:.3g}, too far from the others for one step"


def check_roundable(
    source: Source, info: TensorInfo, scheme: Scheme, *, by_scale: bool = True
) -> None:
    """Raise `ArgumentError` for a tensor that the scheme cannot round (`why_exact`).

    It is read in pieces, twice.
    """
    begin = 0
    for piece in pieces_of(source, info):
        check_finite(info, piece, scheme, begin)
        begin += piece.size
    values = ValueRange.of_pieces(pieces_of(source, info))
    why = why_exact(info, values, scheme, by_scale=by_scale)
    if why is not None:
        raise ArgumentError(
            f'tensor "{info.name}": scheme {scheme} cannot round it: {why}; give it another '
            "scheme, or leave it lossless"
        )
