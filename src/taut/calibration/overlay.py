"""A source some of whose tensors have other values: what finishing made of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from taut.encoding.data_free_rounder import rd_values
from taut.io import Source, SourceFile, TensorInfo
from taut.io.dtypes import SAFETENSORS_DTYPES
from taut.io.stamp import Stamp
from taut.scheme import Scheme


class Overlay:
    """A `Source` like another one, but for the tensors in `values`."""

    def __init__(self, source: Source, values: Mapping[str, np.ndarray]) -> None:
        self._source, self._values = source, values

    def load(self, name: str) -> np.ndarray:
        """The tensor's values: the new ones, or those of the source."""
        return self._values[name] if name in self._values else self._source.load(name)

    def view(self, name: str) -> np.ndarray:
        """The same, perhaps as a view of the mapped file."""
        return self._values[name] if name in self._values else self._source.view(name)

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """As the source's."""
        return self._source.stamps

    @property
    def infos(self) -> tuple[TensorInfo, ...]:
        """As the source's."""
        return self._source.infos

    @property
    def aliases(self) -> dict[str, str]:
        """As the source's."""
        return self._source.aliases

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """As the source's."""
        return self._source.files

    @property
    def metadata(self) -> dict[str, str]:
        """As the source's."""
        return self._source.metadata

    @property
    def nbytes(self) -> int:
        """As the source's."""
        return self._source.nbytes

    @property
    def companions(self) -> tuple[Path, ...]:
        """As the source's."""
        return self._source.companions

    @property
    def identity(self) -> str:
        """As the source's."""
        return self._source.identity


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
    """Values in the tensor's dtype and shape."""
    return np.ascontiguousarray(values.reshape(info.shape).astype(of_dtype(info)))


def as_written(info: TensorInfo, values: np.ndarray, scheme: Scheme) -> np.ndarray:
    """What values decode to whose scheme is a mask, fp16, or both."""
    kept = rd_values(info.name, values, scheme)
    return as_stored(info, kept.astype(np.float16) if scheme.kind == "fp16" else kept)


def of_dtype(info: TensorInfo) -> np.dtype:
    """The tensor's dtype as numpy has it."""
    return SAFETENSORS_DTYPES[info.dtype]
