"""A source some of whose tensors have other values: what finishing made of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from taut.encoding.data_free_rounder import rd_values
from taut.io import Source, TensorInfo
from taut.io.based_on import BasedOn
from taut.io.dtypes import SAFETENSORS_DTYPES
from taut.scheme import Scheme


class Overlay(BasedOn):
    """A `Source` like another one, but for the tensors in `values`."""

    def __init__(self, source: Source, values: Mapping[str, np.ndarray]) -> None:
        self.whole, self._values = source, values

    def load(self, name: str) -> np.ndarray:
        """The tensor's values: the new ones, or those of the source."""
        return self._values[name] if name in self._values else self.whole.load(name)

    def view(self, name: str) -> np.ndarray:
        """The same, perhaps as a view of the mapped file."""
        return self._values[name] if name in self._values else self.whole.view(name)


class OverlayPart(Overlay):
    """Some of a source's tensors."""

    def __init__(self, source: Source, names: set[str]) -> None:
        super().__init__(source, {})
        self._names = names

    @property
    def infos(self) -> tuple[TensorInfo, ...]:
        """Those tensors alone, and what is tied to them."""
        return tuple(
            info
            for info in super().infos
            if super(OverlayPart, self).aliases.get(info.name, info.name) in self._names
        )

    @property
    def aliases(self) -> dict[str, str]:
        """Ties between those tensors."""
        kept = {info.name for info in self.infos}
        return {name: to for name, to in super().aliases.items() if name in kept}


def as_stored(info: TensorInfo, values: np.ndarray) -> np.ndarray:
    """Values in the tensor's dtype and shape: themselves where they are so."""
    return np.ascontiguousarray(values.reshape(info.shape).astype(of_dtype(info), copy=False))


def as_written(info: TensorInfo, values: np.ndarray, scheme: Scheme) -> np.ndarray:
    """What values decode to whose scheme is a mask, fp16, or both."""
    kept = rd_values(info.name, values, scheme)
    return as_stored(info, kept.astype(np.float16) if scheme.kind == "fp16" else kept)


def of_dtype(info: TensorInfo) -> np.dtype:
    """The tensor's dtype as numpy has it."""
    return SAFETENSORS_DTYPES[info.dtype]
