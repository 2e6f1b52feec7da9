"""What the tensors of a file become in a folder for compressed-tensors, one at a time, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from taut.container import TautFile, xxh3
from taut.errors import VerifyError
from taut.exporting.check import Comparison
from taut.exporting.compressed_tensors.packed import PackedGrid, centred, pack, unpack
from taut.exporting.integers import Integers, to_integers
from taut.exporting.scales import stored
from taut.io import SAFETENSORS_DTYPES, TensorInfo, tensor_nbytes


@dataclass
class Parts:
    """What each tensor becomes: itself, or the parts of a packed weight; one is held at a time."""

    file: TautFile
    grid: PackedGrid
    packed: Sequence[str]
    sums: dict[str, str] = field(default_factory=dict)  # of all that was given to be written
    kept: set[str] = field(default_factory=set)  # those whose integers are the file's own
    _of: dict[str, tuple[str, TensorInfo]] = field(default_factory=dict)
    _last: tuple[str, Integers, np.ndarray] | None = None  # and the scales as they are stored

    def infos(self, info: TensorInfo) -> list[TensorInfo]:
        """The tensors to write for one of the file."""
        if info.name not in self.packed:
            return [info]
        (rows, columns), bits = info.shape, self.grid.bits
        groups = columns // self.grid.group if self.grid.group else 1
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {
            "weight_scale": (info.dtype, (rows, groups))
        }
        if self.grid.dynamic:
            shapes["weight"] = ("I8", (rows, columns))
        else:
            shapes["weight_packed"] = ("I32", (rows, -(-columns * bits // 32)))
            shapes["weight_shape"] = ("I64", (2,))
        if self.grid.asymmetric:
            shapes["weight_zero_point"] = ("I32", (-(-rows * bits // 32), groups))
        found = []
        for part, (dtype, shape) in shapes.items():
            name = info.name.removesuffix("weight") + part
            self._of[name] = (part, info)
            found.append(TensorInfo(name, dtype, shape, tensor_nbytes(dtype, shape)))
        return found

    def load(self, name: str) -> np.ndarray:
        """The values of one of `infos`."""
        if name in self._of:
            part, info = self._of[name]
            values = self._part(part, info)
        else:
            values = self.file[name]
        self.sums[name] = xxh3(values)
        return values

    def _part(self, part: str, info: TensorInfo) -> np.ndarray:
        if part == "weight_shape":
            return np.array(info.shape, np.int64)
        found, scales = self._integers(info)
        if part == "weight_scale":
            return scales
        q, zeros = centred(found, self.grid.bits)
        if part == "weight":
            return q.astype(np.int8)
        if part == "weight_packed":
            return pack(q, self.grid.bits)
        assert zeros is not None
        return np.ascontiguousarray(pack(np.ascontiguousarray(zeros.T), self.grid.bits).T)

    def _integers(self, info: TensorInfo) -> tuple[Integers, np.ndarray]:
        if self._last is None or self._last[0] != info.name:
            grid, values = self.grid, self.file[info.name]
            found = to_integers(values, grid.bits, group=grid.group, asymmetric=grid.asymmetric)
            if found.exact:
                self.kept.add(info.name)
            scales, _ = stored(found, values, SAFETENSORS_DTYPES[info.dtype])
            self._last = (info.name, found, scales)
        return self._last[1:]

    def floats(self, name: str, held: Callable[[str], np.ndarray]) -> np.ndarray:
        """The weight that parts stand for, in its own dtype, from what was read back."""
        stem, bits = name.removesuffix("weight"), self.grid.bits
        scales = held(f"{stem}weight_scale")
        if self.grid.dynamic:
            q = held(f"{stem}weight").astype(np.int32)
        else:
            q = unpack(held(f"{stem}weight_packed"), bits, int(held(f"{stem}weight_shape")[1]))
        q = q.reshape(*scales.shape, -1)
        if self.grid.asymmetric:
            words = held(f"{stem}weight_zero_point")
            q = q - unpack(np.ascontiguousarray(words.T), bits, len(q)).T[:, :, None]
        values: np.ndarray = q.astype(scales.dtype) * scales[:, :, None]
        return values.reshape(len(q), -1)

    def add(self, info: TensorInfo, held: Callable[[str], np.ndarray], found: Comparison) -> None:
        """Compare one tensor of the file with what was read back of it.

        Raises:
            VerifyError: what was read back is not what was written.
        """
        names = [one.name for one in self.infos(info)]
        for name in names:
            if xxh3(np.ascontiguousarray(held(name))) != self.sums[name]:
                raise VerifyError(f'tensor "{name}" is not what was written when read back',
                                  tensor=name)  # fmt: skip
        theirs = self.floats(info.name, held) if info.name in self.packed else held(info.name)
        found.add(info.name, self.file[info.name], theirs)
