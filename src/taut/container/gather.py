"""Decodes all tensors of a file in one call of the coder, into one block of memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from taut.container.bases import Bases
from taut.container.bind import Contents
from taut.container.fetch import Fetcher
from taut.container.format import as_bytes
from taut.container.index import Record
from taut.errors import ArgumentError, FormatError
from taut.io.arena import allocate
from taut.io.dtypes import SAFETENSORS_DTYPES, storage, tensor_nbytes
from taut.io.names import nearest
from taut.io.tensor_info import TensorInfo


def gather(
    fetcher: Fetcher,
    contents: Contents,
    threads: int,
    out: Mapping[str, np.ndarray],
    bases: Bases,
) -> dict[str, np.ndarray]:
    """Decode all tensors, those that `out` names into it (see `TautFile.load_all`)."""
    places = contents.places
    coded = fetcher.check_all([place for place in places.values() if place.parts], threads)
    sizes = {place.name: place.entry.nbytes for place in places.values() if not place.parts}
    sizes |= {checked.place.name: checked.nbytes for checked in coded}
    direct = {name: as_bytes(out[name]) for name in _direct(contents, out)}
    buffers = _buffers(sizes, direct)
    fetcher.decode([(checked, buffers[checked.place.name]) for checked in coded], threads)
    for place in places.values():
        if not place.parts:
            fetcher.copy(place, buffers[place.name])
    fetcher.check_still()
    found = _shaped(contents, buffers, fetcher.where, bases)
    _copy_over(found, out, direct)
    return found


def cast(values: np.ndarray, record: Record) -> np.ndarray:
    """The values in the tensor's dtype; not a copy where they were stored in it.

    Complex ones that are stored as another dtype are pairs: real and imaginary parts in turn.
    """
    if not record.stored:
        return values
    if record.dtype == "C64":
        return values.astype(np.float32).reshape(-1).view(np.complex64).reshape(record.shape)
    return values.astype(SAFETENSORS_DTYPES[record.dtype])


def member(group: np.ndarray, record: Record, where: str | Path) -> np.ndarray:
    """The stored values of one tensor of a decoded solid group, as a view.

    Raises:
        FormatError: it does not lie inside the group.
    """
    dtype, shape = storage(record.stored_dtype, record.stored_shape)
    end = record.at + tensor_nbytes(record.stored_dtype, record.stored_shape)
    if end > group.nbytes:
        raise FormatError(
            f'{where}: tensor "{record.name}": ends at byte {end} of a solid group of '
            f"{group.nbytes}"
        )
    return group[record.at : end].view(dtype).reshape(shape)


def check_out(out: Mapping[str, np.ndarray], infos: Iterable[TensorInfo], where: Path) -> None:
    """Raise `ArgumentError` unless each array of `out` can take the tensor of its name."""
    wanted = {info.name: info for info in infos}
    for name, array in out.items():
        if name not in wanted:
            raise ArgumentError(f'{where}: out: no tensor "{name}"{nearest(name, wanted)}')
        dtype, shape = storage(wanted[name].dtype, wanted[name].shape)
        if array.dtype != dtype or array.shape != shape:
            raise ArgumentError(
                f'{where}: out: "{name}" is {array.dtype} {list(array.shape)}, '
                f"the tensor {dtype} {list(shape)}"
            )
        if not (array.flags.c_contiguous and array.flags.writeable):
            raise ArgumentError(f'{where}: out: "{name}" is not C-contiguous and writable')


def _buffers(sizes: Mapping[str, int], direct: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Memory for what is decoded, in one block but for what has its own."""
    needed = [name for name in sizes if name not in direct]
    return dict(zip(needed, allocate([sizes[name] for name in needed]), strict=True)) | direct


def _copy_over(
    found: dict[str, np.ndarray], out: Mapping[str, np.ndarray], direct: Mapping[str, np.ndarray]
) -> None:
    """Put tensors into the arrays that the coder could not write to, and give these instead."""
    for name, array in out.items():
        if name not in direct:
            array[...] = found[name]
            found[name] = array


def _direct(contents: Contents, out: Mapping[str, np.ndarray]) -> list[str]:
    """The names of the arrays that the coder can write into itself."""
    records = contents.records
    own = ("coded", "packed", "kept")
    return [n for n in out if records[n].store in own and not _made(records[n])]


def _made(record: Record) -> bool:
    """Whether a tensor's values are made of the stored ones."""
    return bool(record.stored) or record.base == "sum"


def _shaped(
    contents: Contents, buffers: Mapping[str, np.ndarray], where: str, bases: Bases
) -> dict[str, np.ndarray]:
    """Each tensor as an array of its dtype and shape on the decoded bytes, in order."""
    arrays: dict[str, np.ndarray] = {}
    for record in contents.records.values():
        if record.store == "solid":
            group = buffers[contents.groups[record.solid].name]
            values = cast(member(group, record, where), record)
            arrays[record.name] = bases.finished(values, record)
        elif record.store == "base":
            arrays[record.name] = bases.tensor(record).copy()
        elif record.store != "alias":
            dtype, shape = storage(record.stored_dtype, record.stored_shape)
            values = cast(buffers[record.name].view(dtype).reshape(shape), record)
            arrays[record.name] = bases.finished(values, record)
    found = {}
    for record in contents.records.values():
        source = arrays[record.of or record.name]
        found[record.name] = source.copy() if record.of and not record.tied else source
    return found
