"""A safetensors file, or a sharded model, as a lazy source of mapped tensors.

Surprises first. A loaded tensor is a copy in memory, read from the file: a file that somebody cuts
short meanwhile is then an error. `view` maps it instead, which costs no memory until touched, for
those who look at little of it. Whether the file stayed as it was, `stamps` tell (stamp.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from taut.errors import ArgumentError, FormatError
from taut.io.dtypes import storage
from taut.io.header import Header, HeaderTensor, read_header_from
from taut.io.names import nearest
from taut.io.shard_index import read_index, shard_paths, take_listed
from taut.io.stamp import Stamp, StillFile, stamp_of
from taut.io.tensor_info import SourceFile, TensorInfo


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

    def fetch(self, begin: int, end: int) -> None:
        """Have these bytes on this machine before a view of them is looked at."""
        self._file.fetch(begin, end)

    def close(self) -> None:
        """Let go of the file; reading it is an error then."""
        self._file.close()

    def mapped(self) -> np.ndarray:
        """All bytes of the file, mapped; `fetch` what is looked at."""
        found = np.frombuffer(self._file.map, np.uint8) if self.header.nbytes else np.empty(0, "u1")
        return _read_only(found)

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
        self._file.fetch(tensor.start, tensor.stop)
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

    @property
    def shards(self) -> dict[str, str]:
        """Which file each tensor is in, by name, in the order of files and data."""
        return {name: file.name for name, (file, _) in self._where.items()}

    def load(self, name: str) -> np.ndarray:
        """One tensor, read-only, in its own memory (see `taut.io.tensor_info.Source.load`)."""
        file, tensor = self._found(name)
        return file.read(tensor)

    def reader(self, name: str) -> Callable[[int, int], np.ndarray]:
        """What reads the values of one tensor from one number to another, flat, into memory."""
        file, tensor = self._found(name)
        dtype, _ = storage(tensor.dtype, tensor.shape)
        width = dtype.itemsize

        def read(begin: int, end: int) -> np.ndarray:
            count = end - begin
            start = tensor.start + begin * width
            part = HeaderTensor("", "U8", (count * width,), start, start + count * width)
            return file.read(part).view(dtype)

        return read

    def view(self, name: str) -> np.ndarray:
        """One tensor, a read-only view of the mapped file."""
        file, tensor = self._found(name)
        return file.view(tensor)

    def place_of(self, name: str) -> tuple[MappedFile, HeaderTensor]:
        """The file that a tensor is in, and where it lies there."""
        return self._found(name)

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


def open_sharded(
    path: Path, companions: tuple[Path, ...] = (), *, strict: bool = False
) -> SafetensorsSource:
    """Open the shards that a `*.safetensors.index.json` lists; they lie beside it.

    Raises:
        FormatError: a file is damaged; with `strict`, index and shards do not agree
            (`take_listed`).
        ArgumentError: a file is missing or cannot be opened.
    """
    index = stamp_of(path) if path.is_file() else None
    weight_map = read_index(path)
    shards = [MappedFile(shard) for shard in shard_paths(path, weight_map)]
    held = {shard.name: [tensor.name for tensor in shard.header.tensors] for shard in shards}
    found = take_listed(path, weight_map, held, strict=strict)
    source = _source(shards, path, companions, () if index is None else (index,), found.shards)
    if not found.whole:
        nbytes = sum(info.nbytes for info in source.infos)
        source = replace(source, files=(), nbytes=nbytes)
    return replace(source, notes=found.notes)


def _source(
    files: list[MappedFile],
    path: Path,
    companions: tuple[Path, ...],
    stamps: tuple[Stamp, ...] = (),
    shards: Mapping[str, str] | None = None,
) -> SafetensorsSource:
    where = {
        tensor.name: (file, tensor)
        for file in files
        for tensor in file.header.tensors
        if shards is None or shards.get(tensor.name) == file.name
    }
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


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
