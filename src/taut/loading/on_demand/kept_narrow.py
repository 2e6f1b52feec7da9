"""What is kept in place of a weight's values, which take more memory: its integers, or less."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Protocol

import numpy as np

from taut.loading.on_demand.kept_bytes import KeptBytes


class Narrow(Protocol):
    """What a weight's values are made of again: integers of a byte each, or rounded values."""

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""

    def read(self, begin: int, out: np.ndarray) -> None:
        """Put the values from `begin` on into the uint8 array of their bytes."""

    def read_rows(self, rows: np.ndarray, length: int, out: np.ndarray) -> None:
        """Put rows of `length` values, by int64 numbers, into `out`."""


class NarrowReader(Protocol):
    """Decodes a weight to what is kept; `nbytes` is about what that takes."""

    @property
    def nbytes(self) -> int:
        """Bytes."""

    def hold(self) -> Narrow | None:
        """Decode it; None where it cannot be kept so."""


class Keeping(Protocol):
    """A weight that may be kept so."""

    narrow: KeptNarrow | None

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""

    def narrow_reader(self) -> NarrowReader | None:
        """What gives that which is kept of it."""


class KeptNarrow:
    """Decoded at the first use, and kept from then on; the budget has room for them already."""

    def __init__(self, reader: NarrowReader, budget: KeptBytes) -> None:
        self._reader, self._budget = reader, budget
        self._lock = threading.Lock()
        self._held: Narrow | None = None
        self._taken = reader.nbytes

    @property
    def ready(self) -> bool:
        """Whether values can be made of them now."""
        return self._held is not None

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        held = self._held
        return 0 if held is None else held.nbytes

    def held(self) -> Narrow | None:
        """What is kept; None where it is too wide for that, or larger than the budget.

        Raises:
            VerifyError, FormatError: the weight is damaged.
        """
        with self._lock:
            if self._held is None and self._taken:
                found = self._reader.hold()
                more = 0 if found is None else max(0, found.nbytes - self._taken)
                if found is not None and self._budget.take(more):
                    self._held, self._taken = found, self._taken + more
                else:
                    self._budget.give_back(self._taken)
                    self._taken = 0
            return self._held

    @property
    def possible(self) -> bool:
        """False once they were found to be too wide."""
        return self._taken > 0

    def begin_anew(self) -> None:
        """In a process that was forked off, where the lock may be held."""
        self._lock = threading.Lock()


def keep_narrow(weights: Iterable[Keeping], budget: KeptBytes) -> None:
    """Have weights keep their integers, or less, in this order, while the budget has room.

    Not where it has room for all values.
    """
    weights = list(weights)
    if not 0 < budget.nbytes < sum(weight.nbytes for weight in weights):
        return
    for weight in weights:
        reader = weight.narrow_reader()
        if reader is not None and budget.take(reader.nbytes):
            weight.narrow = KeptNarrow(reader, budget)
