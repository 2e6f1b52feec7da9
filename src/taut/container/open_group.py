"""A solid group that still grows: small tensors of one dtype, which are coded as one array."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from taut.coding import CodedArray, Effort, encode_delta
from taut.coding.packed_codes import encode_bits
from taut.container.format import GROUP
from taut.io.dtypes import storage


@dataclass
class OpenGroup:
    """The bytes of its members in order; `bases` are the values that they differ from, if any."""

    number: int
    dtype: str
    values: list[np.ndarray] = field(default_factory=list)
    bases: list[np.ndarray] = field(default_factory=list)
    nbytes: int = 0

    def has_room(self, data: np.ndarray) -> bool:
        """Whether the group takes so many bytes more."""
        return self.nbytes + data.nbytes <= GROUP

    def add(self, data: np.ndarray, base: np.ndarray | None) -> None:
        """Put the bytes of a tensor behind the others; all members have a base, or none."""
        if base is not None:
            self.bases.append(base)
        self.values.append(data)
        self.nbytes += data.nbytes

    @property
    def data(self) -> np.ndarray:
        """The bytes of all members."""
        return np.concatenate(self.values)

    def coded(self, effort: Effort, threads: int) -> CodedArray:
        """All members as one array; on bases as what they differ by, where that is smaller."""
        values = self.data.view(storage(self.dtype, (0,))[0])
        alone = encode_bits(values, effort=effort, threads=threads)
        if not self.bases:
            return alone
        base = np.concatenate(self.bases).view(values.dtype)
        delta = encode_delta(values, base, effort=effort, threads=threads)
        return min(delta, alone, key=lambda one: one.nbytes)
