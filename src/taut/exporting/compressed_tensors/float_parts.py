"""What the tensors of a file become where linear layers are four-bit floats, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from taut.exporting.compressed_tensors.fed_back import Feedback
from taut.exporting.compressed_tensors.float_packed import FloatGrid, codes_in
from taut.exporting.compressed_tensors.parts import Parts
from taut.io import SAFETENSORS_DTYPES, TensorInfo
from taut.transform.float4 import Codes


@dataclass
class FloatParts(Parts):
    """As `Parts`, of a grid of four-bit floats."""

    grid: FloatGrid  # type: ignore[assignment]  # the same idea of another kind
    feedback: Feedback | None = None  # with it all parts are held: they cost more than memory
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
            made = self.grid.parts(self._codes(info.name))
            before = {} if self.feedback is None else self._made
            self._made = before | {stem + one: values for one, values in made.items()}
        return self._made[stem + part]

    def _codes(self, name: str) -> Codes:
        values = self.file[name]
        own = self.grid.own_codes(values)
        if own is not None:
            self.kept.add(name)
            return own
        if self.feedback is None:
            return self.grid.rounded(values)
        return codes_in(self.feedback.grid(name, values, self.grid.kind), self.grid.kind)

    def floats(self, name: str, held: Callable[[str], np.ndarray]) -> np.ndarray:
        """The weight that parts stand for, in its own dtype, from what was read back."""
        info = next(one for one in self.file.infos if one.name == name)
        return self.grid.floats(info, held).astype(SAFETENSORS_DTYPES[info.dtype])
