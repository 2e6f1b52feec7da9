"""Rounded matrices as few bytes: what they decode to is made when it is asked for.

A run has all matrices of a model rounded at once: their indices as the smallest integers that hold
them are a byte a weight, where int32 indices and float32 values were eight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping

import numpy as np

from taut.coding import exponent_scale, matrix_levels
from taut.transform import Rounded

Arrays = Mapping[str, np.ndarray]

_ROWS = 1 << 20  # values that are decoded at a time: the levels are int64 on the way
_NONE = np.empty((0, 0), np.float32)


class Kept(MutableMapping[str, Rounded]):
    """Rounded matrices by name, held as `rounded_arrays`; each is whole when it is taken out."""

    def __init__(self, found: Mapping[str, Rounded] | None = None) -> None:
        self._held: dict[str, Arrays] = {}
        self.update(found or {})

    def __getitem__(self, name: str) -> Rounded:
        """The matrix, with what it decodes to made anew."""
        return rounded_from(self._held[name])

    def __setitem__(self, name: str, rounded: Rounded) -> None:
        """Keep a matrix."""
        self._held[name] = rounded_arrays(rounded)

    def __delitem__(self, name: str) -> None:
        """Forget a matrix."""
        del self._held[name]

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._held)

    def __len__(self) -> int:
        """How many matrices there are."""
        return len(self._held)

    def coded_form(self, name: str) -> Rounded:
        """The matrix as the coder takes it: without what it decodes to, which is empty."""
        return undecoded(self._held[name])

    def rows(self, name: str, part: slice) -> Rounded:
        """Some rows of a matrix."""
        held = dict(self._held[name])
        held |= {side: held[side][part] for side in ("indices", "rows") if side in held}
        return rounded_from(held)

    def take(self, other: Kept) -> None:
        """Keep all matrices of another, as they are held there."""
        self._held |= other._held

    def arrays(self, name: str) -> Arrays:
        """The matrix as it is held."""
        return self._held[name]

    def put(self, name: str, arrays: Arrays) -> None:
        """Keep a matrix that comes as `rounded_arrays`."""
        self._held[name] = arrays


def rounded_arrays(rounded: Rounded) -> dict[str, np.ndarray]:
    """A rounded matrix as few bytes: what it decodes to is not among them."""
    indices = rounded.indices
    low, high = int(indices.min(initial=0)), int(indices.max(initial=0))
    kinds = (np.int8, np.int16, np.int32)
    kind = next(k for k in kinds if np.iinfo(k).min <= low and high <= np.iinfo(k).max)
    arrays = {
        "indices": indices.astype(kind),
        "scalars": np.array(
            [rounded.step, *rounded.offsets, rounded.fraction, rounded.trellis], np.float64
        ),
        "rows": rounded.row_exponents,
        "columns": rounded.column_exponents,
    }
    return {name: array for name, array in arrays.items() if array is not None}


def undecoded(arrays: Arrays) -> Rounded:
    """The matrix of `rounded_arrays`, whose `decoded` is empty."""
    step, one, two, more, fraction, trellis = arrays["scalars"].tolist()
    return Rounded(
        arrays["indices"].astype(np.int32),
        _NONE,
        step,
        arrays.get("rows"),
        arrays.get("columns"),
        bool(trellis),
        (one, two, more),
        int(fraction),
    )


def rounded_from(arrays: Arrays) -> Rounded:
    """The matrix of `rounded_arrays`; decodes to the very values that rounding gave."""
    found = undecoded(arrays)
    decoded = np.empty(found.indices.shape, np.float32)
    each = max(1, _ROWS * len(decoded) // max(1, decoded.size))
    for begin in range(0, len(decoded), each):
        part = slice(begin, begin + each)
        decoded[part] = _decoded(found, part)
    return Rounded(
        found.indices,
        decoded,
        found.step,
        found.row_exponents,
        found.column_exponents,
        found.trellis,
        found.offsets,
        found.fraction,
    )


def _decoded(found: Rounded, part: slice) -> np.ndarray:
    """Some rows, which begin in state 0 each.

    As `settle` in csrc/round/columns.hpp, each product rounded to float32.
    """
    indices = found.indices[part]
    decoded: np.ndarray = matrix_levels(indices, trellis=found.trellis).astype(np.float32)
    if any(found.offsets):
        offsets = np.array([0.0, *found.offsets], np.float32)
        decoded -= np.sign(indices) * offsets[np.minimum(np.abs(indices), 3)]
    rows = None if found.row_exponents is None else found.row_exponents[part]
    decoded *= (_scale(rows, len(indices), found.fraction) * np.float32(found.step))[:, None]
    decoded *= _scale(found.column_exponents, indices.shape[1], found.fraction)
    return decoded


def _scale(exponents: np.ndarray | None, count: int, fraction: int) -> np.ndarray:
    return np.ones(count, np.float32) if exponents is None else exponent_scale(exponents, fraction)
