"""What the tensors of a file become where linear layers are four-bit floats, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from taut.exporting.compressed_tensors.float_packed import FloatGrid
from taut.exporting.compressed_tensors.parts import Parts
from taut.io import SAFETENSORS_DTYPES, TensorInfo


@dataclass
class FloatParts(Parts):
    """As `Parts`, of a grid of four-bit floats."""

    grid: FloatGrid  # type: ignore[assignment]  # the same idea of another kind
    _made: dict[str, np.ndarray] = field(default_factory=dict)  # the parts of the last weight

    def infos(self, info: TensorInfo) -> list[TensorInfo]:
        """The tensors to write for one of the file."""
        if info.name not in self.packed:
            return [info]
        found = self.grid.infos(info)
        self._of |= {one.name: (part, info) for part, one in found.items()}
        return [*found.values()]

    def _part(self, part: str, info: TensorInfo) -> np.ndarray:
        stem = info.name.removesuffix("weight")
        if stem + part not in self._made:
            codes, exact = self.grid.codes(self.file[info.name])
            if exact:
                self.kept.add(info.name)
            made = self.grid.parts(codes)
            self._made = {stem + one: values for one, values in made.items()}
        return self._made[stem + part]

    def floats(self, name: str, held: Callable[[str], np.ndarray]) -> np.ndarray:
        """The weight that parts stand for, in its own dtype, from what was read back."""
        info = next(one for one in self.file.infos if one.name == name)
        return self.grid.floats(info, held).astype(SAFETENSORS_DTYPES[info.dtype])
