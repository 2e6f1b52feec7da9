"""A model in memory: numpy arrays by name, and the source that also serves torch's tensors."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from taut.errors import ArgumentError, FormatError
from taut.io.dtypes import SAFETENSORS_DTYPES, dtype_name, tensor_nbytes
from taut.io.names import nearest
from taut.io.stamp import Stamp
from taut.io.tensor_info import SourceFile, TensorInfo


@dataclass(frozen=True)
class Entry:
    """One tensor in memory: `memory` is equal for two that are the same bytes, None if unknown.

    Where it lies in a file, `read` gives its values from one number to another, flat.
    """

    info: TensorInfo
    memory: Hashable
    load: Callable[[], np.ndarray]
    read: Callable[[int, int], np.ndarray] | None = None


@dataclass(frozen=True)
class MemorySource:
    """Tensors that somebody holds in memory; nothing is converted before `load`.

    `notes` tell what was left out, or found otherwise than expected; `fixed` are no weights.
    """

    entries: dict[str, Entry]
    aliases: dict[str, str]
    nbytes: int
    identity: str
    companions: tuple[Path, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    files: tuple[SourceFile, ...] = ()
    stamps: tuple[Stamp, ...] = ()
    notes: tuple[str, ...] = ()
    fixed: frozenset[str] = frozenset()

    @property
    def infos(self) -> tuple[TensorInfo, ...]:
        """All tensors, in the order given."""
        return tuple(entry.info for entry in self.entries.values())

    def load(self, name: str) -> np.ndarray:
        """One tensor, read-only and C-contiguous; a view of the caller's memory where it can be."""
        array = native(self._found(name).load()).view()
        array.flags.writeable = False
        return array

    def reader(self, name: str) -> Callable[[int, int], np.ndarray] | None:
        """What reads some values of a tensor from its file; None of one that is in memory."""
        return self._found(name).read

    def _found(self, name: str) -> Entry:
        if name not in self.entries:
            raise ArgumentError(f'{self.identity}: no tensor "{name}"{nearest(name, self.entries)}')
        return self.entries[name]

    def view(self, name: str) -> np.ndarray:
        """As `load`: nothing is mapped here."""
        return self.load(name)


class Tagged(dict[str, Any]):
    """Tensors by name, with what a file of them is to say beside them."""

    def __init__(self, tensors: Mapping[str, Any], metadata: dict[str, str]) -> None:
        super().__init__(tensors)
        self.metadata = metadata


def memory_source(
    entries: Iterable[Entry],
    identity: str,
    *,
    nbytes: int | None = None,
    companions: tuple[Path, ...] = (),
    stamps: tuple[Stamp, ...] = (),
) -> MemorySource:
    """A source of `entries`; those that are the same memory become aliases of the first.

    Raises:
        ArgumentError: there is no tensor at all, or a name cannot be written.
    """
    named = {entry.info.name: entry for entry in entries}
    if not named:
        raise ArgumentError(f"{identity}: holds no tensors")
    first: dict[Hashable, str] = {}
    aliases: dict[str, str] = {}
    for name, entry in named.items():
        _check_name(name, identity)
        carrier = name if entry.memory is None else first.setdefault(entry.memory, name)
        if carrier != name:
            aliases[name] = carrier
    total = sum(entry.info.nbytes for name, entry in named.items() if name not in aliases)
    nbytes = total if nbytes is None else nbytes
    return MemorySource(named, aliases, nbytes, identity, companions, stamps=stamps)


def numpy_entry(name: str, array: np.ndarray | np.generic) -> Entry:
    """An entry of an array of any byte order and layout, or of a numpy scalar.

    Raises:
        ArgumentError: it has a dtype that safetensors does not know, or a mask.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise ArgumentError(f'tensor "{name}" is masked; pass array.filled(value)')
    values = np.asarray(array)
    try:
        dtype = dtype_name(values.dtype)
        info = TensorInfo(name, dtype, values.shape, tensor_nbytes(dtype, values.shape))
    except (ArgumentError, FormatError) as error:
        raise ArgumentError(f'tensor "{name}": {error}') from None
    memory = (values.ctypes.data, values.dtype.str, dtype, values.shape, values.strides)
    return Entry(info, memory if values.nbytes else None, lambda: values)


def native(values: np.ndarray) -> np.ndarray:
    """The same bits in this machine's byte order and in C order; a copy only where needed."""
    if not values.dtype.isnative:
        # byteswap, not astype: a conversion of floats may quiet a signalling NaN
        if values.dtype.isbuiltin == 2:  # ml_dtypes cannot turn theirs round; none is over 2 bytes
            bits = np.dtype(f"u{values.itemsize}")
            values = values.view(bits).byteswap().view(SAFETENSORS_DTYPES[dtype_name(values.dtype)])
        else:
            values = values.byteswap().view(values.dtype.newbyteorder("="))
    # not ascontiguousarray, which makes a vector of a scalar
    return np.require(np.asarray(values, order="C"), requirements="A")


def _check_name(name: str, identity: str) -> None:
    if name == "__metadata__":
        raise ArgumentError(f'{identity}: "__metadata__" cannot be a tensor\'s name')
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise ArgumentError(f"{identity}: the name {name!r} is not valid Unicode") from None
