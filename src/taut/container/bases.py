"""What a delta stands on: the tensors of another model, each compared before its use."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import xxhash

from taut.container.format import as_bytes, xxh3
from taut.container.index import Record
from taut.container.model_folder import FILE_NAME
from taut.container.place import Place
from taut.container.shard_table import INDEX_NAME
from taut.errors import ArgumentError, VerifyError
from taut.io.dtypes import storage
from taut.io.names import nearest
from taut.io.tensor_info import TensorInfo
from taut.io.tensor_pieces import LARGE, PIECE, Read

DEEPEST: Final = 16  # deltas that stand on one another
_BLOCK: Final = 1 << 20  # values that are added together


class Base(Protocol):
    """A model that deltas stand on: its tensors by name, and how many deltas it is deep itself."""

    @property
    def identity(self) -> str:
        """What to call it."""

    @property
    def depth(self) -> int:
        """0 of a model that stands on none."""

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Its tensors by name."""

    def load(self, name: str) -> np.ndarray:
        """One tensor, as its values are."""

    def reader(self, name: str) -> Read:
        """What gives the values of one tensor from one number to another, flat."""

    def check_still(self) -> None:
        """Raise `VerifyError` if a file of it was written to since it was opened."""


class Bases:
    """The tensors of a base as the records of a file ask for them; `base` is None if none is given.

    `members` are those of each solid group that needs a base, by the group's name. A large tensor
    is compared once, before its first use, and not held: `check_still` says at the end whether
    its file was written to meanwhile.
    """

    def __init__(
        self, base: Base | None, records: Mapping[str, Record], name: str, where: str
    ) -> None:
        self.base = base
        self._records = records
        self._name = name
        self._where = where
        self._members: dict[str, list[Record]] = {}
        self._sound: set[str] = set()  # the records whose large tensor was compared
        self._reader: tuple[str, Read] | None = None  # of the last one

    def stand_on(self, base: Base | None) -> None:
        """Take the tensors of this base from now on."""
        self.base = base
        self._sound.clear()
        self._reader = None

    def check_still(self) -> None:
        """Raise `VerifyError` if a base of which large tensors were read was written to since."""
        if self.base is not None and self._sound:
            self.base.check_still()

    def know_groups(self, members: Mapping[str, list[Record]]) -> None:
        """Take note of which tensors the solid groups that need a base are made of."""
        self._members = dict(members)

    def needs(self, place: Place) -> bool:
        """Whether the coded array of a tensor is decoded with the base's."""
        record = self._records.get(place.name)
        return record is not None and record.base == "delta"

    def bytes_of(self, place: Place, within: tuple[int, int] | None = None) -> np.ndarray | None:
        """The base's bytes that a coded array is decoded with; None if it needs none.

        `within` two of the bytes only those, of whole values.
        """
        if (members := self._members.get(place.name)) is not None:
            whole = np.concatenate([as_bytes(self.tensor(record)) for record in members])
            return whole if within is None else whole[slice(*within)]
        if not self.needs(place):
            return None
        record = self._records[place.name]
        if within is None:
            return as_bytes(self.tensor(record))
        width = storage(record.dtype, record.shape)[0].itemsize
        return as_bytes(self.span(record, within[0] // width, within[1] // width))

    def tensor(self, record: Record) -> np.ndarray:
        """The base's tensor that a record asks for; read-only perhaps.

        Raises:
            ArgumentError: there is no base, or it has no such tensor.
            VerifyError: its tensor is another one; names it.
        """
        base, name = self._found(record)
        values = np.ascontiguousarray(base.load(name))
        if xxh3(values) != record.base_sum:
            raise self._other(record)
        dtype, shape = storage(record.dtype, record.shape)
        return values.reshape(-1).view(dtype).reshape(shape)

    def span(self, record: Record, begin: int, end: int) -> np.ndarray:
        """The values of the base's tensor from one number to another, flat; raises as `tensor`.

        Of a large one no more is held, and it is compared at the first call.
        """
        if record.name not in self._sound:
            info = self._found(record)[0].infos[record.base_name or record.name]
            if info.nbytes <= LARGE:
                return self.tensor(record).reshape(-1)[begin:end]
            self._compare(record)
        dtype = storage(record.dtype, record.shape)[0]
        return np.ascontiguousarray(self._read(record)(begin, end)).view(dtype)

    def pieces(self, record: Record, nbytes: int = PIECE) -> Iterator[np.ndarray]:
        """All values of the base's tensor, about so many bytes at a time; raises as `tensor`."""
        dtype, shape = storage(record.dtype, record.shape)
        if (total := prod(shape)) * dtype.itemsize <= LARGE:
            yield self.tensor(record).reshape(-1)
            return
        step = max(1, nbytes // dtype.itemsize)
        for begin in range(0, total, step):
            yield self.span(record, begin, min(total, begin + step))

    def check(self, record: Record) -> int:
        """Compare the base's tensor, and give its bytes; raises as `tensor`."""
        return sum(piece.nbytes for piece in self.pieces(record))

    def _compare(self, record: Record) -> None:
        """Whether a large tensor of the base is the one that a record asks for."""
        dtype, shape = storage(record.dtype, record.shape)
        digest, step = xxhash.xxh3_64(), max(1, PIECE // dtype.itemsize)
        read, total = self._read(record), prod(shape)
        for begin in range(0, total, step):
            piece = np.ascontiguousarray(read(begin, min(total, begin + step)))
            digest.update(piece.view(np.uint8).data)
        if digest.hexdigest() != record.base_sum:
            raise self._other(record)
        self._sound.add(record.name)

    def _read(self, record: Record) -> Read:
        """What reads the base's tensor; the last one is kept, since it may hold all of it."""
        if self._reader is None or self._reader[0] != record.name:
            base, name = self._found(record)
            self._reader = record.name, base.reader(name)
        return self._reader[1]

    def _found(self, record: Record) -> tuple[Base, str]:
        """The base, and what it calls the tensor that a record asks for; raises as `tensor`."""
        name = record.base_name or record.name
        spot = f'{self._where}: tensor "{record.name}"'
        if self.base is None:
            told = f' "{self._name}"' if self._name else ""
            raise ArgumentError(
                f"{spot}: is a delta, and its base{told} is not there; "
                "put it beside the file, or give it as base (--base, where a command has it)"
            )
        info = self.base.infos.get(name)
        if info is None:
            near = nearest(name, self.base.infos)
            raise ArgumentError(
                f'{spot}: stands on "{name}", which the base {self.base.identity} does not '
                f"have{near}; give the one that it was made with"
            )
        if (info.dtype, info.shape) != (record.dtype, record.shape):
            raise self._other(
                record,
                f"{info.dtype} {list(info.shape)}, not {record.dtype} {list(record.shape)}",
            )
        return self.base, name

    def _other(
        self, record: Record, how: str = "its values do not match the checksum"
    ) -> VerifyError:
        """That the base's tensor is another one."""
        assert self.base is not None
        return VerifyError(
            f'{self._where}: tensor "{record.name}": the base {self.base.identity} has another '
            f'"{record.base_name or record.name}": {how}; give the base that the file was made '
            "with",
            tensor=record.name,
        )

    def finished(self, values: np.ndarray, record: Record, begin: int = 0) -> np.ndarray:
        """A tensor's values: those stored, or the base's with them added.

        `values` may be flat ones from the one numbered `begin` on.
        """
        if record.base != "sum":
            return values
        base = self.span(record, begin, begin + values.size)
        return add(base.reshape(values.shape), values)


def add(base: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """The base's values and differences summed: in float32 or float64, rounded to its dtype.

    >>> add(np.array([1, 2], np.float16), np.array([0.5, 1e-9], np.float32))
    array([1.5, 2. ], dtype=float16)
    """
    wide = np.float64 if base.dtype == np.float64 else np.float32
    found = np.empty(base.shape, base.dtype)
    out, first, second = found.reshape(-1), base.reshape(-1), difference.reshape(-1)
    for at in range(0, out.size, _BLOCK):
        block = slice(at, at + _BLOCK)
        with np.errstate(over="ignore", invalid="ignore"):
            out[block] = first[block].astype(wide) + second[block].astype(wide)
    return found


def grouped(records: Iterable[Record], names: Mapping[int, str]) -> dict[str, list[Record]]:
    """The members of the solid groups with these numbers, by the groups' names, in order."""
    found: dict[str, list[Record]] = {name: [] for name in names.values()}
    for record in records:
        if record.store == "solid" and record.solid in names:
            found[names[record.solid]].append(record)
    return found


def beside(path: Path, name: str) -> Path | None:
    """The file or folder of this name beside a delta, or beside the model folder that it is."""
    if not name or name in (".", "..") or any(c in name for c in "/\\:\0"):
        return None
    folder = Path(os.path.abspath(path)).parent
    places = (folder, folder.parent) if path.name in (FILE_NAME, INDEX_NAME) else (folder,)
    own = (path.resolve(), folder.resolve())
    near = (place / name for place in places)
    return next((one for one in near if one.exists() and one.resolve() not in own), None)
