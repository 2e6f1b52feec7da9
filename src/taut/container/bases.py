"""What a delta stands on: the tensors of another model, each compared before its use."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

import ml_dtypes
import numpy as np

from taut.container.format import as_bytes, xxh3
from taut.container.index import Record
from taut.container.model_folder import FILE_NAME
from taut.container.place import Place
from taut.container.shard_table import INDEX_NAME
from taut.errors import ArgumentError, VerifyError
from taut.io.dtypes import storage
from taut.io.names import nearest
from taut.io.tensor_info import TensorInfo

DEEPEST: Final = 16  # deltas that stand on one another


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


class Bases:
    """The tensors of a base as the records of a file ask for them; `base` is None if none is given.

    `members` are those of each solid group that needs a base, by the group's name.
    """

    def __init__(
        self, base: Base | None, records: Mapping[str, Record], name: str, where: str
    ) -> None:
        self.base = base
        self._records = records
        self._name = name
        self._where = where
        self._members: dict[str, list[Record]] = {}

    def know_groups(self, members: Mapping[str, list[Record]]) -> None:
        """Take note of which tensors the solid groups that need a base are made of."""
        self._members = dict(members)

    def bytes_of(self, place: Place) -> np.ndarray | None:
        """The base's bytes that a coded array is decoded with; None if it needs none."""
        if (members := self._members.get(place.name)) is not None:
            return np.concatenate([as_bytes(self.tensor(record)) for record in members])
        record = self._records.get(place.name)
        if record is None or record.base != "delta":
            return None
        return as_bytes(self.tensor(record))

    def tensor(self, record: Record) -> np.ndarray:
        """The base's tensor that a record asks for; read-only perhaps.

        Raises:
            ArgumentError: there is no base, or it has no such tensor.
            VerifyError: its tensor is another one; names it.
        """
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
        where = f'{spot}: the base {self.base.identity} has another "{name}"'
        advice = "give the base that the file was made with"
        if (info.dtype, info.shape) != (record.dtype, record.shape):
            raise VerifyError(
                f"{where}: {info.dtype} {list(info.shape)}, not {record.dtype} "
                f"{list(record.shape)}; {advice}",
                tensor=record.name,
            )
        values = np.ascontiguousarray(self.base.load(name))
        if xxh3(values) != record.base_sum:
            raise VerifyError(
                f"{where}: its values do not match the checksum; {advice}", tensor=record.name
            )
        dtype, shape = storage(record.dtype, record.shape)
        return values.reshape(-1).view(dtype).reshape(shape)

    def finished(self, values: np.ndarray, record: Record, begin: int = 0) -> np.ndarray:
        """A tensor's values: those stored, or the base's with them added.

        `values` may be flat ones from the one numbered `begin` on.
        """
        if record.base != "sum":
            return values
        base = self.tensor(record)
        if values.shape != base.shape:
            base = base.reshape(-1)[begin : begin + values.size]
        return add(base, values)


def add(base: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """The base's values and differences summed: in float32 or float64, rounded to its dtype.

    >>> add(np.array([1, 2], np.float16), np.array([0.5, 1e-9], np.float32))
    array([1.5, 2. ], dtype=float16)
    """
    wide = np.float64 if base.dtype == np.float64 else np.float32
    with np.errstate(over="ignore", invalid="ignore"):
        found: np.ndarray = (base.astype(wide) + difference.astype(wide)).astype(base.dtype)
    return found


def summable(dtype: np.dtype) -> bool:
    """Whether differences to values of this dtype can be added to them."""
    return dtype in (np.float64, np.float32, np.float16, ml_dtypes.bfloat16)


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
