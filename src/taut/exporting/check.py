"""What was written, read back and held against the Taut file, a tensor at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import sqrt
from typing import Final

import numpy as np

from taut.errors import VerifyError
from taut.exporting.result import Check

_BLOCK: Final = 1 << 20  # values compared at a time


@dataclass
class _FloatSums:
    """What adds up over blocks of a tensor's values and those that were read back."""

    moved: bool = False
    largest: float = 0.0
    missed: float = 0.0
    dot: float = 0.0
    power: float = 0.0
    other: float = 0.0

    def add(self, name: str, x: np.ndarray, y: np.ndarray) -> None:
        """Take in a block of each."""
        if x.dtype == y.dtype and x.tobytes() == y.tobytes():
            x = y = _finite(x)
        else:
            moved, x, y = _moved(name, x, y)
            self.moved |= moved
        self.largest = max(self.largest, float(np.abs(x - y).max(initial=0)))
        self.missed += float(np.square(x - y).sum())
        self.dot, self.power = self.dot + float(x @ y), self.power + float(x @ x)
        self.other += float(y @ y)


@dataclass
class Comparison:
    """Errors of tensors that were read back; `check` sums them up.

    `exact` are the names of those that hold the very values of the Taut file, `rounded` the
    others.
    """

    exact: list[str] = field(default_factory=list)
    rounded: list[str] = field(default_factory=list)
    _largest: float = 0.0
    _missed: float = 0.0
    _power: float = 0.0
    _cosines: list[float] = field(default_factory=list)

    def add(self, name: str, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Compare the values of the file with those that were read back, of any float dtypes.

        Raises:
            VerifyError: the shapes differ, or values that are no floats, or not finite, do.
        """
        if ours.shape != theirs.shape:
            raise VerifyError(
                f'tensor "{name}" is {list(theirs.shape)} when read back, and '
                f"{list(ours.shape)} in the file",
                tensor=name,
            )
        self.add_pieces(name, [(ours, theirs)])

    def add_pieces(self, name: str, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """The same of a tensor whose values, ours and theirs, come in pieces of one shape each."""
        floats, sums = False, _FloatSums()
        for ours, theirs in pairs:
            if ours.dtype.kind in "iub":  # indices and masks: no errors to sum up
                expect(name, ours, theirs)
                continue
            floats = True
            a, b = _reals(ours), _reals(theirs)
            for begin in range(0, a.size, _BLOCK):
                sums.add(name, a[begin : begin + _BLOCK], b[begin : begin + _BLOCK])
        if not floats:
            self.exact.append(name)
            return
        self._largest = max(self._largest, sums.largest)
        self._missed += sums.missed
        self._power += sums.power
        size = sums.power * sums.other
        self._cosines.append(sums.dot / sqrt(size) if size else 1.0)
        (self.rounded if sums.moved else self.exact).append(name)

    def check(self, runtime: str) -> Check:
        """All tensors together; a tensor is a sample."""
        return Check(
            runtime=runtime,
            samples=len(self.exact) + len(self.rounded),
            max_error=self._largest,
            rel_mse=self._missed / self._power if self._power else 0.0,
            cosine=min(1.0, float(np.mean(self._cosines))) if self._cosines else 1.0,
        )


def size_words(original: int, taut: int, size: int) -> str:
    """How large an export is beside the original and the Taut file, in bytes, in words.

    >>> size_words(400, 100, 200), size_words(400, 50, 404)
    ('2.0x smaller than the original, 2.0x the Taut file', 'as large as the original, 8.1x the \
Taut file')
    """
    ratio = original / size
    told = f"{ratio:.1f}x smaller than" if ratio >= 1.05 else "as large as"
    if ratio < 0.95:
        told = f"{1 / ratio:.1f}x larger than"
    return f"{told} the original, {size / taut:.1f}x the Taut file"


def expect(name: str, wanted: np.ndarray, found: np.ndarray) -> None:
    """Raise `VerifyError` unless what was read back is bit for bit what was to be written."""
    if wanted.dtype != found.dtype or wanted.shape != found.shape:
        raise VerifyError(
            f'tensor "{name}" was written as {wanted.dtype} {list(wanted.shape)}, and read back as '
            f"{found.dtype} {list(found.shape)}",
            tensor=name,
        )
    if wanted.size and not np.array_equal(_bits(wanted), _bits(found)):
        raise VerifyError(f'tensor "{name}" is not what was written when read back', tensor=name)


def _reals(values: np.ndarray) -> np.ndarray:
    """The values in one row, a complex one as the pair that it is."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return flat.view(flat.real.dtype) if flat.dtype.kind == "c" else flat


def _moved(name: str, x: np.ndarray, y: np.ndarray) -> tuple[bool, np.ndarray, np.ndarray]:
    """Whether values differ, and both as float64; those that are not finite must be the same."""
    with np.errstate(invalid="ignore", over="ignore"):
        x, y = x.astype(np.float64), y.astype(np.float64)
    odd = ~np.isfinite(x)
    if not np.array_equal(x[odd], y[odd], equal_nan=True) or not np.isfinite(y[~odd]).all():
        raise VerifyError(f'tensor "{name}" has other infinities when read back', tensor=name)
    x[odd] = y[odd] = 0
    return not np.array_equal(x, y), x, y


def _finite(values: np.ndarray) -> np.ndarray:
    """Values as float64, 0 where they are not finite."""
    found = values.astype(np.float64)
    found[~np.isfinite(found)] = 0
    return found


def _bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)
