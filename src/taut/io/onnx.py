"""An ONNX model as a lazy source: its tensors by name, and the graph around them.

Surprises first. The file is walked as protobuf, not parsed into objects: opening costs no memory
for the weights, there is no limit of 2 GB, and the `onnx` package is not needed. Tensors are found
wherever a model can hold them: as initialisers, in Constant nodes, subgraphs and functions. The
graph (all other bytes) is one more tensor, `onnx.graph`, so that the .onnx can be given back byte
for byte. What stays in it is told in `notes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Final

import numpy as np

from taut.errors import ArgumentError, FormatError
from taut.io._onnx_files import OnnxFile, OnnxFiles, place_outside
from taut.io._onnx_recipe import (
    Hole,
    RecipeFile,
    pack_recipe,
    plain_path,
    raw_size,
    unpack_recipe,
)
from taut.io._onnx_roles import fixed_values
from taut.io._onnx_tensor import Initializer, encoding_of, of_list, read_initializer
from taut.io._onnx_wire import LENGTH, Field, fields, pack_varints, with_keys
from taut.io._onnx_within import Place, PlacedTensor, Walk
from taut.io.in_memory import Entry, MemorySource, memory_source
from taut.io.tensor_info import TensorInfo

__all__ = [
    "GRAPH",
    "Hole",
    "OnnxSource",
    "Place",
    "RecipeFile",
    "open_onnx",
    "pack_varints",
    "plain_path",
    "raw_size",
    "unpack_recipe",
    "with_keys",
]

GRAPH: Final = "taut.onnx"
"""The key of the metadata that names the tensor with the graph."""

_USUAL: Final = "onnx.graph"
_LONGEST_NAME: Final = 2048  # characters; that of a tensor deep in subgraphs is cut
# Constants of fewer numbers are cheaper in the graph: a float is a weight from two on.
_FEWEST: Final = 16

_VERSION, _GRAPH = 1, 7  # fields of ModelProto


@dataclass(frozen=True)
class OnnxSource(MemorySource):
    """The tensors of an ONNX model.

    `places` are where a parsed model has them. `fixed` are those that are no weights, since a
    shape hangs on them or they bound or scale others, and must not be rounded. `notes` tell what
    was left in the graph.
    """

    places: dict[str, Place] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()


def _check_top(top: list[Field], where: str) -> None:
    """Raise `FormatError` unless these are the fields of a model."""
    graphs = [one for one in top if one.number == _GRAPH and one.wire == LENGTH]
    if len(graphs) != 1 or not any(one.number == _VERSION for one in top):
        raise FormatError(f"{where}: is no ONNX model: it has no version, or not one graph")


@dataclass
class _Reader:
    """Goes through a model once; `left` counts what stays in the graph, by the reason.

    `few` says that there are lists of numbers that are too short to be tensors: they stay there.
    """

    files: OnnxFiles
    entries: dict[str, Entry] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    left: Counter[str] = field(default_factory=Counter)
    few: bool = False

    def read(self) -> None:
        """Find the tensors of all graphs and functions."""
        model = self.files.model
        top = list(fields(model.map, 0, model.nbytes, model.where))
        _check_top(top, model.where)
        walk = Walk(model.map, model.where)
        found = [(one, self._read(one)) for one in walk.model(top)]
        fixed = fixed_values(walk.nodes)
        self.names = {tensor.name for one, tensor in found if _is_main(one)}
        for one, tensor in found:
            if one.listed and tensor.dims[0] < _FEWEST:
                self.few = True  # the sizes and axes that operators are told, and small trees
                continue
            self._place(one, tensor, fixed)

    def _place(self, one: PlacedTensor, tensor: Initializer, fixed: set[str]) -> None:
        """Take a tensor with its place in the model, if it can be taken."""
        name = self._name(one, tensor)
        if self.add(name, tensor, main=_is_main(one)):
            self.places[name] = one.place
            if _is_no_weight(one) or (one.value or tensor.name) in fixed:
                self.fixed.add(name)

    def _read(self, one: PlacedTensor) -> Initializer:
        model = self.files.model
        if one.listed:
            return of_list(one.message, model.map, floats=one.place[-1] == "floats")
        where = f"{model.where}: {'initializer' if _is_main(one) else 'a tensor'}"
        return read_initializer(model.map, one.message.begin, one.message.end, where)

    def _check_name(self, tensor: Initializer) -> None:
        if not tensor.name or tensor.name in self.entries:
            where = f'{self.files.model.where}: initializer "{tensor.name[:80]}"'
            raise FormatError(f"{where}: its name is empty, or comes twice")

    def _name(self, one: PlacedTensor, tensor: Initializer) -> str:
        """Its name, if it is an initialiser of the main graph; else one that no other has."""
        if _is_main(one):
            self._check_name(tensor)
            return tensor.name
        own = one.scope + (one.name or tensor.name or f"initializer {one.place[-1]}")
        name = _unused(own[:_LONGEST_NAME], self.names)
        self.names.add(name)
        return name

    def add(self, name: str, found: Initializer, *, main: bool) -> bool:
        """Take it as a tensor, and say so; or count it."""
        kind = "initializer" if main else "tensor"
        where = f'{self.files.model.where}: {kind} "{name[:80]}"'
        info = found.info(name, where)
        file = self.files.holding(found, where) if found.outside else None
        if info is None:
            self.left["of a dtype that safetensors has not"] += 1
        elif not info.nbytes:
            return False
        elif not main and _is_small(info):
            self.left["constants of a single number, or of less than 16 whole numbers"] += 1
        elif file is not None:
            begin, end = place_outside(found, info, file, where)
            self._take(info, file, Hole(begin, end, name, "raw"))
            return True
        else:
            return self._add_inside(info, found, where)
        return False

    def _add_inside(self, info: TensorInfo, found: Initializer, where: str) -> bool:
        model, one = self.files.model, found.payload
        encoding = encoding_of(found, info, model.map, where)
        if one is None:
            raise FormatError(f"{where}: has shape {list(info.shape)}, but no values")
        if not encoding:
            self.left["written in another way than most writers do"] += 1
            return False
        self._take(info, model, Hole(one.begin, one.end, info.name, encoding, one.key))
        return True

    def _take(self, info: TensorInfo, file: OnnxFile, hole: Hole) -> None:
        key = hole.begin, hole.end
        file.holes.setdefault(key, hole)
        memory = (id(file), *key, info.dtype, info.shape)
        holder = file.holes[key].tensor
        if holder != info.name and self.entries[holder].memory != memory:
            raise FormatError(
                f'{file.where}: tensor "{info.name}" lies over "{holder}", which is of another kind'
            )
        self.entries[info.name] = Entry(
            info, memory, _loader(file, info, hole), file.reader(info, hole)
        )


def open_onnx(path: Path) -> OnnxSource:
    """Open an ONNX model: its tensors in the order of the file, then the graph.

    An initialiser of the main graph is called as there. A Constant is called as what it gives, any
    other as the node's first output and the attribute; the way through subgraphs and functions
    goes before. Values that lie in other files (external data) are found beside it.

    Raises:
        FormatError: it is damaged or hostile, or no ONNX model; the message names the initialiser.
        ArgumentError: it has no tensors to speak of, or a file is missing.
    """
    reader = _Reader(OnnxFiles(path))
    reader.read()
    if not reader.entries and not reader.few:
        raise ArgumentError(
            f"{path}: has no weights: neither initialisers nor constants nor lists of numbers"
        )
    files = [reader.files.model, *reader.files.outside.values()]
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
        places=reader.places,
        fixed=frozenset(reader.fixed),
    )


def _is_main(one: PlacedTensor) -> bool:
    """Whether it is an initialiser of the main graph."""
    return one.place[:2] == ("graph", "initializer")


def _is_small(info: TensorInfo) -> bool:
    least = 2 if info.dtype in ("F64", "F32", "F16", "BF16") else _FEWEST
    return prod(info.shape) < least


def _is_no_weight(one: PlacedTensor) -> bool:
    """Whether it is what a node is told, as a tree's thresholds, and not a value of the graph."""
    told = "attribute" in one.place and one.place[-1] in ("t", "floats", "ints")
    return one.listed or one.place[0] == "training_info" or (told and not one.value)


def _loader(file: OnnxFile, info: TensorInfo, hole: Hole) -> Callable[[], np.ndarray]:
    return lambda: file.load(info, hole)


def _unused(name: str, taken: Collection[str]) -> str:
    """The name, or the first of its like, that no tensor has."""
    number, found = 0, name
    while found in taken:
        number += 1
        found = f"{name}.{number}"
    return found
