"""A Taut file of a low-bit checkpoint, whose weights are given as floats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np

from taut.container import IntegerReader, RowReader, TautFile
from taut.container.coded_arrays import Checked
from taut.errors import ArgumentError
from taut.io import TensorInfo
from taut.io.names import nearest
from taut.io.quantized import (
    QuantizedWeight,
    Tensors,
    infos_as_floats,
    read_declared,
    recognise,
)
from taut.io.tensor_pieces import PIECE


def with_floats(file: TautFile) -> TautFile:
    """The file with its low-bit weights as floats; the file itself where it has none.

    Raises:
        FormatError: what it says of them does not fit its tensors.
    """
    text = file.index.origin.quantization
    if not text:
        return file
    declared = read_declared(text, f"{file.path}: index: source: quantization")
    tensors = Tensors({info.name: info for info in file.infos}, file.__getitem__, str(file.path))
    weights = recognise(tensors, declared)
    return FloatFile(file, weights) if weights else file


def need_floats(file: TautFile) -> TautFile:
    """`with_floats` of a file that has low-bit weights.

    Raises:
        ArgumentError: it has none.
    """
    found = with_floats(file)
    if found is file:
        raise ArgumentError(
            f"dequantize: {file.path} says of no weights that they are low-bit; leave it out"
        )
    return found


class FloatFile(TautFile):
    """The tensors of a file by name; `weights` are decoded, and become floats, when asked for."""

    def __init__(self, file: TautFile, weights: tuple[QuantizedWeight, ...]) -> None:
        vars(self).update(vars(file))
        self._file = file
        self.weights = {weight.info.name: weight for weight in weights}

    @cached_property
    def _tensors(self) -> dict[str, TensorInfo]:
        found = infos_as_floats(self._file.infos, self.weights.values())
        return {info.name: info for info in found}

    @property
    def infos(self) -> tuple[TensorInfo, ...]:
        """All tensors, low-bit weights as floats."""
        return tuple(self._tensors.values())

    @property
    def modules(self) -> Mapping[str, Mapping[str, int]]:
        """As the file's."""
        return self._file.modules

    @property
    def parts(self) -> tuple[TautFile, ...]:
        """As the file's."""
        return self._file.parts

    @property
    def checksum(self) -> str:
        """As the file's."""
        return self._file.checksum

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._tensors)

    def __len__(self) -> int:
        """How many tensors there are."""
        return len(self._tensors)

    def __contains__(self, name: object) -> bool:
        """Whether there is such a tensor; decodes nothing."""
        return name in self._tensors

    def __getitem__(self, name: str) -> np.ndarray:
        """Decode one tensor."""
        weight = self.weights.get(name)
        if weight is not None:
            return weight.floats(self._file.__getitem__)
        if name not in self._tensors and name in self._file:
            raise ArgumentError(
                f'{self.path}: "{name}" is a part of a low-bit weight, which is given as floats'
                f"{nearest(name, self)}"
            )
        return self._file[name]

    def pieces(self, name: str, nbytes: int = PIECE) -> Iterator[np.ndarray]:
        """Decode one tensor piece by piece; a low-bit weight whole."""
        if name in self.weights:
            yield self[name].reshape(-1)
        else:
            yield from self._file.pieces(name, nbytes)

    def span(self, name: str, begin: int, end: int) -> np.ndarray:
        """The values of one tensor from `begin` to `end`; a low-bit weight is decoded whole."""
        if name in self.weights:
            return self[name].reshape(-1)[begin:end].copy()
        return self._file.span(name, begin, end)

    def close(self) -> None:
        """As the file's."""
        self._file.close()

    def read_into(self, name: str, out: np.ndarray) -> None:
        """Decode one tensor into an array."""
        if name in self.weights:
            out[...] = self[name]
        else:
            self._file.read_into(name, out)

    def coded(self, name: str) -> Checked | None:
        """A tensor's coded array (see `TautFile.coded`); not of a low-bit weight."""
        return None if name in self.weights else self._file.coded(name)

    def row_reader(self, name: str) -> RowReader | None:
        """What gives some rows of a tensor without decoding all of it; not of a low-bit weight."""
        return None if name in self.weights else self._file.row_reader(name)

    def integer_reader(self, name: str) -> IntegerReader | None:
        """What gives a rounded tensor's integers; not of a low-bit weight."""
        return None if name in self.weights else self._file.integer_reader(name)

    def load_all(
        self, *, threads: int | None = None, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Decode all tensors, one after the other."""
        found = {}
        for name in self:
            found[name] = self[name]
            if out is not None and name in out:
                out[name][...] = found[name]
                found[name] = out[name]
        return found

    def check_still(self) -> None:
        """As the file's."""
        self._file.check_still()
