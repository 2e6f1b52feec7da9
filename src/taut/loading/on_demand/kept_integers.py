"""A weight's integers, a byte each, kept in place of its values, which take more memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Protocol

from taut.coding import ByteIntegers
from taut.container import IntegerReader
from taut.loading.on_demand.kept_bytes import KeptBytes


class Keeping(Protocol):
    """A weight that may keep its integers."""

    integers: KeptIntegers | None

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""

    def integer_reader(self) -> IntegerReader | None:
        """What gives its integers, where it is rounded."""


class KeptIntegers:
    """Decoded at the first use, and kept from then on; the budget has room for them already."""

    def __init__(self, reader: IntegerReader, budget: KeptBytes) -> None:
        self._reader, self._budget = reader, budget
        self._lock = threading.Lock()
        self._held: ByteIntegers | None = None
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

    def held(self) -> ByteIntegers | None:
        """The integers; None where they are too wide to be kept as bytes, or than the budget.

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


def keep_integers(weights: Iterable[Keeping], budget: KeptBytes) -> None:
    """Have weights keep their integers, in this order, while the budget has room for them.

    Not where it has room for all values.
    """
    weights = list(weights)
    if not 0 < budget.nbytes < sum(weight.nbytes for weight in weights):
        return
    for weight in weights:
        reader = weight.integer_reader()
        if reader is not None and budget.take(reader.nbytes):
            weight.integers = KeptIntegers(reader, budget)
