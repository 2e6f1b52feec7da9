"""An ONNX model as a lazy source: its initialisers by name, and the graph around them.

Surprises first. The file is walked as protobuf, not parsed into objects: opening costs no memory
for the weights, there is no limit of 2 GB, and the `onnx` package is not needed. The graph (all
bytes that are no initialiser's) is one more tensor, `onnx.graph`, so that the .onnx can be
given back byte for byte. What stays in it is told in `notes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from taut.errors import ArgumentError, FormatError
from taut.io._onnx_recipe import (
    MAX_LITERAL,
    Hole,
    RecipeFile,
    is_inside,
    literal_of,
    pack_recipe,
    plain_path,
    unpack_recipe,
)
from taut.io._onnx_tensor import Initializer, decode_varints, encoding_of, read_initializer
from taut.io._onnx_wire import LENGTH, Field, fields, pack_varints
from taut.io._onnx_within import FUNCTION, NODE, tensors_within
from taut.io.dtypes import storage
from taut.io.in_memory import Entry, MemorySource, memory_source
from taut.io.names import as_text
from taut.io.stamp import StillFile, changed
from taut.io.tensor_info import TensorInfo

__all__ = [
    "GRAPH",
    "Hole",
    "OnnxSource",
    "RecipeFile",
    "open_onnx",
    "pack_varints",
    "plain_path",
    "unpack_recipe",
]

GRAPH: Final = "taut.onnx"
"""The key of the metadata that names the tensor with the graph."""

_USUAL: Final = "onnx.graph"

# Fields: ModelProto.ir_version and graph; GraphProto.initializer and sparse_initializer.
_VERSION, _GRAPH, _INITIALIZER, _SPARSE = 1, 7, 5, 15


@dataclass(frozen=True)
class OnnxSource(MemorySource):
    """The initialisers of an ONNX model; `notes` tell what was left in the graph."""


class _File:
    """A file of the model; `holes` are where its tensors lie."""

    def __init__(self, path: Path, name: str) -> None:
        self.name, self.where = name, str(path)
        self.holes: dict[tuple[int, int], Hole] = {}
        self._file = StillFile(path, self.where)
        self.nbytes, self.stamp = self._file.nbytes, self._file.stamp
        self.map = self._file.map

    def load(self, info: TensorInfo, begin: int, end: int, encoding: str) -> np.ndarray:
        """The tensor at begin..end, in memory of its own."""
        dtype, shape = storage(info.dtype, info.shape)
        data = self._file.read(begin, end)
        if encoding == "varint":
            values = decode_varints(data, info)
            if values is None:  # it was decoded when the model was opened
                raise changed(self.where, f'tensor "{info.name}" is another')
            return values
        return data.view(dtype).reshape(shape)

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
                f"{self.where}: has {left:,} bytes beside its initialisers, at most "
                f"{MAX_LITERAL:,} are stored; make initialisers of its constants"
            )
        literal = literal_of(lambda a, b: bytes(self.map[a:b]), self.nbytes, holes)
        return RecipeFile(self.name, self.nbytes, holes, literal)


def _only_graph(top: list[Field], where: str) -> Field:
    """The graph among the fields of a model."""
    graphs = [one for one in top if one.number == _GRAPH and one.wire == LENGTH]
    if len(graphs) != 1 or not any(one.number == _VERSION for one in top):
        raise FormatError(f"{where}: is no ONNX model: it has no version, or not one graph")
    return graphs[0]


@dataclass
class _Reader:
    """Goes through a model once; `left` counts what stays in the graph, by the reason."""

    path: Path
    model: _File
    entries: dict[str, Entry] = field(default_factory=dict)
    outside: dict[str, _File] = field(default_factory=dict)
    left: Counter[str] = field(default_factory=Counter)

    def read(self) -> None:
        """Find the initialisers of the main graph."""
        data, where = self.model.map, self.model.where
        top = list(fields(data, 0, self.model.nbytes, where))
        graph = _only_graph(top, where)
        for one in fields(data, graph.begin, graph.end, f"{where}: graph"):
            if one.number == _INITIALIZER and one.wire == LENGTH:
                self.add(read_initializer(data, one.begin, one.end, f"{where}: initializer"))
            elif one.number == _SPARSE:
                self.left["sparse"] += 1
            elif one.number == NODE and one.wire == LENGTH:
                self._pass(one)
        for one in top:
            if one.number == FUNCTION and one.wire == LENGTH:
                self._pass(one)

    def _pass(self, message: Field) -> None:
        """Leave the tensors of a node or function where they are; their data files go along."""
        where = self.model.where
        for one, dense in tensors_within(self.model.map, message, where):
            self.left["in subgraphs, functions or constants"] += 1
            if dense:
                found = read_initializer(self.model.map, one.begin, one.end, f"{where}: a tensor")
                if found.outside:
                    self._file(found, f'{where}: tensor "{found.name[:80]}"')

    def add(self, found: Initializer) -> None:
        """Take an initialiser as a tensor, or count it."""
        where = f'{self.model.where}: initializer "{found.name[:80]}"'
        if not found.name or found.name in self.entries:
            raise FormatError(f"{where}: its name is empty, or comes twice")
        info = found.info(where)
        file = self._file(found, where) if found.outside else None
        if info is None:
            self.left["of a dtype that safetensors has not"] += 1
        elif not info.nbytes:
            return
        elif file is not None:
            self._take(info, file, *_place(found, info, file, where), "raw")
        else:
            encoding = encoding_of(found, info, self.model.map, where)
            if found.payload is None:
                raise FormatError(f"{where}: has shape {list(info.shape)}, but no values")
            if encoding:
                begin, end = found.payload.begin, found.payload.end
                self._take(info, self.model, begin, end, encoding)
            else:
                self.left["written in another way than most writers do"] += 1

    def _take(self, info: TensorInfo, file: _File, begin: int, end: int, encoding: str) -> None:
        file.holes.setdefault((begin, end), Hole(begin, end, info.name, encoding))
        memory = (id(file), begin, end, info.dtype, info.shape)
        holder = file.holes[begin, end].tensor
        if holder != info.name and self.entries[holder].memory != memory:
            raise FormatError(
                f'{file.where}: tensor "{info.name}" lies over "{holder}", which is of another kind'
            )
        load = _loader(file, info, begin, end, encoding)
        self.entries[info.name] = Entry(info, memory, load)

    def _file(self, found: Initializer, where: str) -> _File:
        """The file that holds a tensor's values; none outside the model's folder is opened.

        Raises:
            FormatError: the file is not in the folder.
            ArgumentError: it is missing.
        """
        name = found.external.get("location", "")
        if not is_inside(name):
            raise FormatError(f"{where}: its data file {name[:80]!r} is not in the model's folder")
        name = plain_path(name)
        if name == self.model.name:
            raise FormatError(f"{where}: its data file is the model itself")
        if name not in self.outside:
            folder, path = self.path.parent.resolve(), self.path.parent / name
            if not path.is_file():
                raise ArgumentError(f"{where}: its data file {path} is missing; put it there")
            if not path.resolve().is_relative_to(folder):
                raise FormatError(f"{where}: its data file {path} links out of the model's folder")
            self.outside[name] = _File(path, name)
        return self.outside[name]


def open_onnx(path: Path) -> OnnxSource:
    """Open an ONNX model: its initialisers in the order of the graph, then the graph.

    Values that lie in other files (external data) are found beside it. Tensors in attributes and
    subgraphs stay in the graph.

    Raises:
        FormatError: it is damaged or hostile, or no ONNX model; the message names the initialiser.
        ArgumentError: it has no initialisers, or a file is missing.
    """
    reader = _Reader(path, _File(path, as_text(path.name)))
    reader.read()
    if not reader.entries:
        raise ArgumentError(
            f"{path}: has no initialisers; export it with its weights as initialisers, "
            "not as Constant nodes"
        )
    files = [reader.model, *reader.outside.values()]
    name = _unused(_USUAL, reader.entries)
    packed = np.frombuffer(pack_recipe(tuple(file.recipe() for file in files)), np.uint8)
    info = TensorInfo(name, "U8", packed.shape, packed.nbytes)
    source = memory_source(
        [*reader.entries.values(), Entry(info, None, lambda: packed)],
        str(path),
        nbytes=sum(file.nbytes for file in files),
    )
    notes = tuple(
        f"{count} tensor{'s' if count > 1 else ''} stayed in the graph: {reason}"
        for reason, count in sorted(reader.left.items())
    )
    return OnnxSource(
        source.entries,
        source.aliases,
        source.nbytes,
        source.identity,
        metadata={GRAPH: name},
        stamps=tuple(file.stamp for file in files),
        notes=notes,
    )


def _place(found: Initializer, info: TensorInfo, file: _File, where: str) -> tuple[int, int]:
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


def _loader(file: _File, info: TensorInfo, begin: int, end: int, encoding: str
            ) -> Callable[[], np.ndarray]:  # fmt: skip
    return lambda: file.load(info, begin, end, encoding)


def _unused(name: str, taken: dict[str, Entry]) -> str:
    """The name, or the first of its like, that no initialiser has."""
    number = 0
    while name in taken:
        number += 1
        name = f"{_USUAL}.{number}"
    return name
