"""A safetensors file, or a sharded model, as a lazy source of mapped tensors.

Surprises first. A loaded tensor is a copy in memory, read from the file: a file that somebody cuts
short meanwhile is then an error. `view` maps it instead, which costs no memory until touched, for
those who look at little of it. Whether the file stayed as it was, `stamps` tell (stamp.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from taut.errors import ArgumentError, FormatError
from taut.io.dtypes import storage
from taut.io.header import Header, HeaderTensor, read_header_from
from taut.io.names import nearest
from taut.io.stamp import Stamp, StillFile, stamp_of
from taut.io.tensor_info import SourceFile, TensorInfo

MAX_INDEX = 64_000_000  # bytes of a sharded model's index; 90 k tensors take 9 MB


class MappedFile:
    """One safetensors file: its checked header, and its data, read or mapped."""

    def __init__(self, path: Path, where: str | None = None) -> None:
        where = where or str(path)
        if not path.is_file():
            raise ArgumentError(f"{where}: no such file")
        try:
            with path.open("rb") as file:
                self.header: Header = read_header_from(file, where)
        except OSError as error:
            raise ArgumentError(f"{where}: cannot be read ({error.strerror})") from error
        self._file = StillFile(path, where)
        if self._file.nbytes != self.header.nbytes:
            raise FormatError(f"{where}: changed while it was opened")
        self.stamp = self._file.stamp
        self.name = path.name

    def read(self, tensor: HeaderTensor) -> np.ndarray:
        """A copy of the tensor's data.

        Raises:
            VerifyError: the file was cut short.
        """
        dtype, shape = storage(tensor.dtype, tensor.shape)
        data = self._file.read(tensor.start, tensor.stop)
        return _read_only(data.view(dtype).reshape(shape))

    def read_into(self, out: np.ndarray, start: int) -> None:
        """Fill a uint8 array with the bytes from `start` on; raises as `read`."""
        self._file.read_into(out, start)

    def check_still(self) -> None:
        """Raise `VerifyError` if the open file has another size, or was written to."""
        self._file.check_still()

    def check_size(self) -> None:
        """Raise `VerifyError` if the file is shorter than it was: views of it cannot be touched."""
        self._file.check_size()

    def view(self, tensor: HeaderTensor) -> np.ndarray:
        """The tensor's data, mapped; a copy only where it is not aligned for its dtype.

        Raises:
            VerifyError: the file was cut short.
        """
        dtype, shape = storage(tensor.dtype, tensor.shape)
        if tensor.nbytes == 0:
            return _read_only(np.empty(shape, dtype))
        data = np.frombuffer(self._file.map, np.uint8, tensor.nbytes, tensor.start)
        if data.ctypes.data % dtype.alignment:
            data = data.copy()  # native code may use aligned loads
        return _read_only(data.view(dtype).reshape(shape))


@dataclass(frozen=True)
class SafetensorsSource:
    """The tensors of one or several safetensors files, in the order of files and data.

    `notes` tell what was left out, or found otherwise than expected.
    """

    infos: tuple[TensorInfo, ...]
    files: tuple[SourceFile, ...]
    metadata: dict[str, str]
    nbytes: int
    identity: str
    companions: tuple[Path, ...] = ()
    aliases: dict[str, str] = field(default_factory=dict)
    stamps: tuple[Stamp, ...] = ()
    notes: tuple[str, ...] = ()
    _where: dict[str, tuple[MappedFile, HeaderTensor]] = field(default_factory=dict, repr=False)

    def load(self, name: str) -> np.ndarray:
        """One tensor, read-only, in its own memory (see `taut.io.tensor_info.Source.load`)."""
        file, tensor = self._found(name)
        return file.read(tensor)

    def view(self, name: str) -> np.ndarray:
        """One tensor, a read-only view of the mapped file."""
        file, tensor = self._found(name)
        return file.view(tensor)

    def _found(self, name: str) -> tuple[MappedFile, HeaderTensor]:
        if name not in self._where:
            raise ArgumentError(f'{self.identity}: no tensor "{name}"{nearest(name, self._where)}')
        return self._where[name]


def open_safetensors(path: Path, companions: tuple[Path, ...] = ()) -> SafetensorsSource:
    """Open one safetensors file.

    Raises:
        FormatError: it is not valid (see `taut.io.header.read_header`).
        ArgumentError: it cannot be opened.
    """
    return _source([MappedFile(path)], path, companions)


def open_sharded(path: Path, companions: tuple[Path, ...] = ()) -> SafetensorsSource:
    """Open the shards that a `*.safetensors.index.json` lists; they lie beside it.

    Raises:
        FormatError: index and shards do not agree: the message names the tensor and the shard.
        ArgumentError: a file is missing or cannot be opened.
    """
    index = stamp_of(path) if path.is_file() else None
    weight_map = read_index(path)
    shards = []
    for name in sorted(set(weight_map.values())):
        shard = path.parent / name
        if not shard.is_file():
            count = sum(found == name for found in weight_map.values())
            raise ArgumentError(
                f'{path}: shard "{name}" is missing, {count} tensors are in it; '
                "download it into the same folder"
            )
        shards.append(MappedFile(shard))
    found: dict[str, str] = {}
    for mapped in shards:
        check_shard(path, weight_map, mapped.name, (t.name for t in mapped.header.tensors), found)
    check_complete(path, weight_map, found)
    return _source(shards, path, companions, () if index is None else (index,))


def read_index(path: Path) -> dict[str, str]:
    """Which shard holds which tensor, from a Hugging Face index (`{"weight_map": {...}}`).

    Raises:
        FormatError: it is not such an index, or names a shard outside its folder.
        ArgumentError: it cannot be opened.
    """
    if not path.is_file():
        raise ArgumentError(f"{path}: no such file")
    if path.stat().st_size > MAX_INDEX:
        raise FormatError(f"{path}: over {MAX_INDEX} bytes; not an index of shards")
    try:
        index = json.loads(path.read_bytes(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not a valid JSON index ({error})") from None
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read ({error.strerror})") from error
    return _weight_map(index, path)


def _weight_map(index: object, path: Path) -> dict[str, str]:
    """The tensors with their shards, each a file beside the index."""
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise FormatError(f'{path}: an index of shards needs a "weight_map" of tensor to file')
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str) or not _is_plain(shard):
            raise FormatError(
                f'{path}: tensor "{tensor}": {shard!r} must be the name of a file beside the index'
            )
    return weight_map


def check_shard(
    index: Path, weight_map: dict[str, str], shard: str, names: Iterable[str], found: dict[str, str]
) -> None:
    """Check that all tensors `names` of a shard are the index's, and note them in `found`."""
    for name in names:
        if name in found:
            raise FormatError(f'{index}: tensor "{name}" is in both "{found[name]}" and "{shard}"')
        if name not in weight_map:
            raise FormatError(
                f'{index}: shard "{shard}" holds the tensor "{name}", which the index does not list'
            )
        found[name] = shard


def check_complete(index: Path, weight_map: dict[str, str], found: dict[str, str]) -> None:
    """Check that each tensor of the index was found in the shard where it should be."""
    for name, shard in weight_map.items():
        if name not in found:
            raise FormatError(f'{index}: tensor "{name}" is listed, but not in its shard "{shard}"')
        if found[name] != shard:
            raise FormatError(
                f'{index}: tensor "{name}" is listed in "{shard}", but lies in "{found[name]}"'
            )


def _source(
    files: list[MappedFile],
    path: Path,
    companions: tuple[Path, ...],
    stamps: tuple[Stamp, ...] = (),
) -> SafetensorsSource:
    where = {tensor.name: (file, tensor) for file in files for tensor in file.header.tensors}
    return SafetensorsSource(
        infos=tuple(TensorInfo(t.name, t.dtype, t.shape, t.nbytes) for _, t in where.values()),
        files=tuple(SourceFile(f.name, f.header.raw_json.decode()) for f in files),
        metadata=dict(files[0].header.metadata) if len(files) == 1 else {},
        nbytes=sum(file.header.nbytes for file in files),
        identity=str(path),
        companions=companions,
        stamps=(*stamps, *(file.stamp for file in files)),
        _where=where,
    )


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f'the name "{name}" comes twice')
        found[name] = value
    return found


def _is_plain(name: str) -> bool:
    """Whether `name` is a file's name alone: no folder, no drive, no way up."""
    return name not in ("", ".", "..") and not any(c in name for c in "/\\:\0")


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
