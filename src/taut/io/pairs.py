"""A model's complex tensors as pairs of reals, so that what rounds floats rounds them too.

A complex matrix (m, n) is a float one (m, 2 n) of the same bytes: real and imaginary parts in turn.
A file keeps it as complex, and says that its values lie in it as pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from taut.io.based_on import BasedOn
from taut.io.tensor_info import Source, TensorInfo
from taut.io.tensor_pieces import Read, file_reader

_COMPLEX: Final = "C64"
_NAMED: Final = 8  # tensors in a note


@dataclass(frozen=True, slots=True)
class PairsInfo(TensorInfo):
    """A complex tensor as pairs: dtype and shape are the floats', `whole` is the tensor's own."""

    whole: TensorInfo


def own(info: TensorInfo) -> TensorInfo:
    """The tensor as the model has it: a complex one that is here as pairs is complex."""
    return info.whole if isinstance(info, PairsInfo) else info


def paired(source: Source) -> Source:
    """The source with its complex tensors as pairs; the source itself where it has none.

    >>> from taut.io import open_source
    >>> source = paired(open_source({"w": np.array([[1 + 2j, 3]], np.complex64)}))
    >>> source.infos[0].dtype, source.infos[0].shape, source.load("w").tolist()
    ('F32', (1, 4), [[1.0, 2.0, 3.0, 0.0]])
    """
    found = any(info.dtype == _COMPLEX for info in source.infos)
    return PairedSource(source) if found else source


class PairedSource(BasedOn):
    """A `Source` like another one, whose complex tensors are pairs of float32."""

    def __init__(self, source: Source) -> None:
        self.whole = source
        self._infos = tuple(map(_as_pairs, source.infos))
        self._pairs = {info.name: info for info in self._infos if isinstance(info, PairsInfo)}

    def load(self, name: str) -> np.ndarray:
        """The tensor's values, of a complex one its pairs."""
        return self._seen(name, self.whole.load(name))

    def view(self, name: str) -> np.ndarray:
        """The same, perhaps as a view of the mapped file."""
        return self._seen(name, self.whole.view(name))

    def reader(self, name: str) -> Read | None:
        """As of the whole; complex tensors are held."""
        return None if name in self._pairs else file_reader(self.whole, name)

    def _seen(self, name: str, values: np.ndarray) -> np.ndarray:
        info = self._pairs.get(name)
        return values if info is None else values.reshape(-1).view(np.float32).reshape(info.shape)

    @property
    def infos(self) -> tuple[TensorInfo, ...]:
        """Those of the source, of complex tensors as pairs."""
        return self._infos

    @property
    def notes(self) -> tuple[str, ...]:
        """The source's, and which tensors are pairs."""
        names = [*self._pairs]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        told = f"{', '.join(names[:_NAMED])}{more}: complex numbers, taken as pairs of reals"
        return (*super().notes, told)


def _as_pairs(info: TensorInfo) -> TensorInfo:
    if info.dtype != _COMPLEX:
        return info
    shape = (*info.shape[:-1], 2 * info.shape[-1]) if info.shape else (2,)
    return PairsInfo(info.name, "F32", shape, info.nbytes, info)
