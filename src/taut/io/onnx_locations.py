"""An ONNX graph whose data files have other names, or whose values take more or fewer bytes.

A name is a text in a message in a message; where it gets longer, so do all that lie around it, and
so it is with values that are packed as varints. What has neither in it stays a range of the file,
and is not copied here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, TypeAlias, cast

import numpy as np

from taut.errors import FormatError
from taut.io._onnx_recipe import RecipeFile, plain_path
from taut.io._onnx_wire import LENGTH, Field, fields, pack_varints, text

Piece: TypeAlias = "bytes | tuple[int, int]"
"""New bytes, or a range of the file as it was."""

# By the message the fields that lead on to data files' names.
_ONWARD: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        **dict.fromkeys((5, 10), "tensor"),
        **dict.fromkeys((6, 11), "graph"),
        **dict.fromkeys((22, 23), "sparse"),
    },
    "sparse": dict.fromkeys((1, 2), "tensor"),
    "tensor": {13: "entry"},
}
_DEEPEST: Final = 200  # messages in messages: twice protobuf's own limit


class HoledBytes:
    """The bytes of a recipe's file by their places; those of its holes are not there."""

    def __init__(self, file: RecipeFile, where: str) -> None:
        self._literal, self._where = memoryview(file.literal), where
        self._begins = [hole.begin for hole in file.holes]
        self._ends = [hole.end for hole in file.holes]
        gone = 0
        self._gone = [0]  # bytes of holes before each
        self.runs = {hole.begin: hole.end for hole in file.holes if hole.key}
        for hole in file.holes:
            gone += hole.end - hole.begin
            self._gone.append(gone)

    def __getitem__(self, at: int | slice) -> int | memoryview:
        """A byte, or those from one place to another."""
        if isinstance(at, slice):
            return self.between(int(at.start), int(at.stop))
        return self._literal[self._place(at)]

    def between(self, begin: int, end: int) -> memoryview:
        """The bytes from `begin` to `end`, between which no hole lies.

        Raises:
            FormatError: one does.
        """
        if begin >= end:
            return self._literal[:0]
        first = self._place(begin)
        if self._place(end - 1) - first != end - 1 - begin:
            raise FormatError(f"{self._where}: near byte {begin}: a tensor lies over the graph")
        return self._literal[first : first + end - begin]

    def _place(self, at: int) -> int:
        before = bisect_right(self._begins, at)
        if before and at < self._ends[before - 1]:
            raise FormatError(f"{self._where}: near byte {at}: a tensor lies over the graph")
        return at - self._gone[before]


def renamed(
    file: RecipeFile, names: Mapping[str, str], where: str, sizes: Mapping[int, int] | None = None
) -> list[Piece]:
    """A model's file in which data files have other names: `names`, by their plain paths.

    `sizes` are the bytes of what fills holes, by the places where these begin, where they are
    others than the holes'.

    Raises:
        FormatError: it is no protobuf message.
    """
    data = HoledBytes(file, where)
    return _Renamer(data, names, sizes or {}, where).message((0, file.nbytes), "model", 0)[1]


def names_beside(files: Iterable[str], model: str, new: str) -> dict[str, str]:
    """New names for data files, after the model's new name, in the folders that they lie in.

    >>> names_beside(["m.onnx.data", "m_data", "w/0.bin"], "m.onnx", "n.onnx")
    {'m.onnx.data': 'n.onnx.data', 'm_data': 'n_data', 'w/0.bin': 'w/n.onnx.0.bin'}
    """
    stem, new_stem = PurePosixPath(model).stem, PurePosixPath(new).stem
    taken, found = {new.casefold()}, {}
    for name in files:
        path = PurePosixPath(name)
        if path.name.startswith(model):
            after = new + path.name.removeprefix(model)
        elif path.name.startswith(stem):
            after = new_stem + path.name.removeprefix(stem)
        else:
            after = f"{new}.{path.name}"
        while str(path.with_name(after)).casefold() in taken:
            after += "_"
        found[name] = str(path.with_name(after))
        taken.add(found[name].casefold())
    return found


@dataclass(frozen=True)
class _Renamer:
    """Gives messages with new names and sizes, and how many bytes they have."""

    data: HoledBytes
    names: Mapping[str, str]
    sizes: Mapping[int, int]
    where: str

    def message(self, place: tuple[int, int], kind: str, depth: int) -> tuple[int, list[Piece]]:
        """The message at a place: that place alone where nothing in it changes."""
        if depth > _DEEPEST:
            raise FormatError(f"{self.where}: near byte {place[0]}: messages lie too deep")
        if kind == "entry":
            return self._entry(place)
        pieces: list[Piece] = []
        size = 0
        at = done = place[0]
        for one in self._fields(place):
            begin, at = at, one.end
            found = None if one.wire != LENGTH else self._field(one, begin, kind, depth)
            if found is not None:
                pieces += [(done, begin), *found[1]]
                size += begin - done + found[0]
                done = one.end
        if not pieces:
            return place[1] - place[0], [place]
        return size + place[1] - done, [*pieces, (done, place[1])]

    def _field(
        self, one: Field, begin: int, kind: str, depth: int
    ) -> tuple[int, list[Piece]] | None:
        """How many bytes a field has, from its key on, and what they are; None for what it was."""
        within = (one.begin, one.end)
        if one.begin in self.sizes:
            length, inner = self.sizes[one.begin], list[Piece]([within])
        elif one.number in _ONWARD[kind]:
            length, inner = self.message(within, _ONWARD[kind][one.number], depth + 1)
            if inner == [within]:
                return None
        else:
            return None
        keyed = begin == one.begin  # a run of values that have their keys themselves
        head = b"" if keyed else _varint(one.number << 3 | LENGTH) + _varint(length)
        return len(head) + length, [head, *inner]

    def _fields(self, place: tuple[int, int]) -> Iterator[Field]:
        """The fields of a message; a run of values whose keys are in a hole is stepped over."""
        data = cast("bytes", self.data)  # read by places alone, as bytes are
        at, end = place
        while at < end:
            if (behind := self.data.runs.get(at)) is not None:
                yield Field(0, LENGTH, at, behind, 0)
                at = behind
                continue
            one = next(fields(data, at, end, self.where))
            yield one
            at = one.end

    def _entry(self, place: tuple[int, int]) -> tuple[int, list[Piece]]:
        """An entry of external_data: another one if it is a location with a new name."""
        data = cast("bytes", self.data)
        found = fields(data, *place, self.where)
        pair = {one.number: text(data, one, self.where) for one in found}
        new = self.names.get(plain_path(pair.get(2, ""))) if pair.get(1) == "location" else None
        if new is None:
            return place[1] - place[0], [place]
        made = b""
        for number, value in ((1, b"location"), (2, new.encode())):
            made += _varint(number << 3 | LENGTH) + _varint(len(value)) + value
        return len(made), [made]


def _varint(number: int) -> bytes:
    return pack_varints(np.array([number], np.uint64)).tobytes()
