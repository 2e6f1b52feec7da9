"""The files of an ONNX model: the .onnx, and those beside it that hold tensors (external data)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from taut.errors import ArgumentError, FormatError
from taut.io._onnx_recipe import (
    MAX_LITERAL,
    Hole,
    RecipeFile,
    is_inside,
    literal_of,
    plain_path,
)
from taut.io._onnx_tensor import Initializer, decode_varints
from taut.io._onnx_wire import without_keys
from taut.io.content import first_bytes, why_not_fetched
from taut.io.dtypes import storage
from taut.io.names import as_text
from taut.io.stamp import StillFile, changed
from taut.io.tensor_info import TensorInfo


class OnnxFile:
    """A file of the model; `holes` are where its tensors lie."""

    def __init__(self, path: Path, name: str) -> None:
        self.name, self.where = name, str(path)
        self.holes: dict[tuple[int, int], Hole] = {}
        self._file = StillFile(path, self.where)
        self.nbytes, self.stamp = self._file.nbytes, self._file.stamp
        self.map = self._file.map

    def load(self, info: TensorInfo, hole: Hole) -> np.ndarray:
        """The tensor that lies there, in memory of its own."""
        dtype, shape = storage(info.dtype, info.shape)
        data = self._file.read(hole.begin, hole.end)
        if hole.key:
            data = without_keys(data, hole.key)
        if hole.encoding == "varint":
            values = decode_varints(data, info)
            if values is None:  # it was decoded when the model was opened
                raise changed(self.where, f'tensor "{info.name}" is another')
            return values
        return data.view(dtype).reshape(shape)

    def reader(self, info: TensorInfo, hole: Hole) -> Callable[[int, int], np.ndarray] | None:
        """What reads some values of the tensor there; None where they do not lie as they are."""
        if hole.key or hole.encoding == "varint":
            return None
        dtype = storage(info.dtype, info.shape)[0]

        def read(begin: int, end: int) -> np.ndarray:
            first = hole.begin + begin * dtype.itemsize
            return self._file.read(first, hole.begin + end * dtype.itemsize).view(dtype)

        return read

    def recipe(self) -> RecipeFile:
        """The file without its tensors."""
        holes = tuple(sorted(self.holes.values(), key=lambda hole: hole.begin))
        at = 0
        for hole in holes:
            if hole.begin < at:
                raise FormatError(
                    f'{self.where}: tensor "{hole.tensor}" lies over another one, at byte '
                    f"{hole.begin}"
                )
            at = hole.end
        left = self.nbytes - sum(hole.end - hole.begin for hole in holes)
        if left > MAX_LITERAL:
            raise ArgumentError(
                f"{self.where}: has {left:,} bytes beside its tensors, at most {MAX_LITERAL:,} are "
                "stored; write its numbers as raw data"
            )
        literal = literal_of(lambda a, b: bytes(self.map[a:b]), self.nbytes, holes)
        return RecipeFile(self.name, self.nbytes, holes, literal)


@dataclass
class OnnxFiles:
    """The model's own file, and `outside` those that its tensors name, by their path from it."""

    path: Path
    model: OnnxFile = field(init=False)
    outside: dict[str, OnnxFile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model = OnnxFile(self.path, as_text(self.path.name))

    def holding(self, found: Initializer, where: str) -> OnnxFile:
        """The file that holds a tensor's values; none is opened that onnxruntime would not.

        Raises:
            FormatError: the file is not in the model's folder.
            ArgumentError: it is missing.
        """
        name = found.external.get("location", "")
        if not is_inside(name):
            raise FormatError(f"{where}: its data file {name[:80]!r} is not in the model's folder")
        name = plain_path(name)
        if name == self.model.name:
            raise FormatError(f"{where}: its data file is the model itself")
        if name not in self.outside:
            path = self.path.parent / name
            if not path.is_file():
                raise ArgumentError(f"{where}: its data file {path} is missing; put it there")
            self._check_folder(path, where)
            if (why := why_not_fetched(first_bytes(path))) is not None:
                raise FormatError(f"{where}: its data file {path} {why}")
            self.outside[name] = OnnxFile(path, name)
        return self.outside[name]

    def _check_folder(self, path: Path, where: str) -> None:
        """Raise `FormatError` where a link leads out of the model's folder.

        A model that is a link itself, as in a cache of Hugging Face, has two: that of the link,
        and that of the file.
        """
        own = self.path.parent.resolve()
        folders = dict.fromkeys([own, self.path.resolve().parent])
        if not any(path.resolve().is_relative_to(folder) for folder in folders):
            told = " and of ".join(str(folder) for folder in folders)
            raise FormatError(
                f"{where}: its data file {path} links out of the model's folder {told}"
            )


def place_outside(
    found: Initializer, info: TensorInfo, file: OnnxFile, where: str
) -> tuple[int, int]:
    """Where in its file a tensor's values lie.

    Raises:
        FormatError: not within the file.
    """
    numbers = {}
    for key, usual in (("offset", 0), ("length", info.nbytes)):
        value = found.external.get(key, str(usual))
        if not (value.isascii() and value.isdigit() and len(value) < 19):
            raise FormatError(f"{where}: external_data: {key} {value[:40]!r} is no number")
        numbers[key] = int(value)
    if numbers["length"] != info.nbytes:
        raise FormatError(
            f"{where}: external_data has {numbers['length']} bytes, but {info.dtype} of shape "
            f"{list(info.shape)} takes {info.nbytes}"
        )
    end = numbers["offset"] + info.nbytes
    if end > file.nbytes:
        raise FormatError(f"{where}: ends at byte {end} of {file.where}, which ends before")
    return numbers["offset"], end
