"""Reads a Taut file lazily; every byte is checked before it is decoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path

import numpy as np

from taut.container.bases import Base, Bases, grouped
from taut.container.coded_arrays import Checked, ChunkRange
from taut.container.format import as_bytes, header_checksum
from taut.container.gather import cast, check_out, gather, member
from taut.container.index import Record
from taut.container.integer_reader import IntegerReader, integer_reader
from taut.container.open_contents import open_file, read_contents
from taut.container.place import Place
from taut.container.reader import Reader
from taut.container.row_reader import RowReader, row_reader
from taut.errors import ArgumentError
from taut.io.arena import allocate
from taut.io.dtypes import storage
from taut.io.gguf import FRAME
from taut.io.names import nearest
from taut.io.onnx import GRAPH
from taut.io.staged import told_paths
from taut.io.tensor_info import TensorInfo
from taut.io.tensor_pieces import LARGE, PIECE


class NoSuchTensorError(ArgumentError, KeyError):
    """No tensor of this name: a KeyError too, as `get` and callers of mappings expect."""

    __str__ = Exception.__str__  # KeyError's would put the message in quotes


def no_tensor(path: Path, name: str, names: Iterable[str]) -> NoSuchTensorError:
    """The error that a file has no tensor of a name, with the nearest that it has."""
    return NoSuchTensorError(f'{told_paths(str(path))}: no tensor "{name}"{nearest(name, names)}')


class TautFile(Reader[np.ndarray]):
    """The tensors of a Taut file by name, in the model's order; each is decoded when asked for.

    Arrays are writable and the caller's own; asking twice decodes twice. `index` is the table of
    contents, `infos` names, dtypes and shapes, `size` the file's bytes, `threads` those of the
    decoder. A delta's tensors are decoded with those of its `base`. Packed sub-byte dtypes come as
    their bytes (`taut.io.storage`).

    Raises:
        FormatError: the file breaks a rule of docs/format.md; says what and where.
        VerifyError: bytes do not match their checksum; names tensor and chunk.
        ArgumentError: no such file, or no such tensor.
    """

    def __init__(self, path: str | Path, *, threads: int = 1, base: Base | None = None) -> None:
        self.path = Path(path)
        self.threads = threads
        self.fetcher = open_file(self.path)
        self.size = self.fetcher.header.nbytes
        self.index, self.contents = read_contents(self.fetcher)
        self.fetcher.know_packs(self.contents.packs)
        groups = {n: one.name for n, one in enumerate(self.index.groups) if one.base}
        where = self.fetcher.where
        self.bases = Bases(base, self.contents.records, self.index.origin.base, where)
        self.bases.know_groups(grouped(self.index.records, groups))
        self.fetcher.know_bases(self.bases)
        self._by_name = {info.name: info for info in self.contents.infos}
        self._groups: dict[str, tuple[int, np.ndarray]] = {}  # by dtype: the last one decoded

    @property
    def infos(self) -> tuple[TensorInfo, ...]:
        """Name, dtype, shape and decoded bytes of each tensor, in the model's order."""
        return self.contents.infos

    @property
    def modules(self) -> Mapping[str, Mapping[str, int]]:
        """The attributes of modules, by the module's name: {"conv1": {"out_channels": 12}}."""
        return self.index.origin.modules

    def metadata(self) -> dict[str, str] | None:
        """What the original's header says beside its tensors; None where it says nothing."""
        found = self.index.origin.metadata
        return {key: text for key, text in found.items() if key not in (GRAPH, FRAME)} or None

    def __iter__(self) -> Iterator[str]:
        """The names, in the model's order."""
        return iter(self.contents.records)

    def __len__(self) -> int:
        """How many tensors there are, aliases included."""
        return len(self.contents.records)

    def __contains__(self, name: object) -> bool:
        """Whether there is such a tensor; decodes nothing."""
        return name in self.contents.records

    def tensors(self) -> Iterator[tuple[str, np.ndarray]]:
        """Names and tensors in order, one decoded at a time."""
        for name in self:
            yield name, self[name]

    def __getitem__(self, name: str) -> np.ndarray:
        """Decode one tensor."""
        record = self._carrier(name)
        if record is None:
            raise no_tensor(self.path, name, self)
        if record.store == "solid":
            group = self._group(record.solid, record.stored_dtype)
            values = cast(member(group, record, self.path), record)
            return self.bases.finished(values, record).copy()
        if self._info(record).nbytes > LARGE and (record.store == "base" or record.base == "sum"):
            return self._put_together(record)
        if record.store == "base":
            return self.bases.tensor(record).copy()
        place = self.contents.places[record.name]
        dtype, shape = storage(record.stored_dtype, record.stored_shape)
        data = self._decoded(place)
        return self.bases.finished(cast(data.view(dtype).reshape(shape), record), record)

    def _put_together(self, record: Record) -> np.ndarray:
        """A large tensor that is made of a base's values: piece by piece, in one memory."""
        dtype, shape = storage(record.dtype, record.shape)
        (data,) = allocate([self._info(record).nbytes])
        found, at = data.view(dtype), 0
        for piece in self.pieces(record.name, PIECE):
            found[at : at + piece.size] = piece
            at += piece.size
        return found.reshape(shape)

    def pieces(self, name: str, nbytes: int = PIECE) -> Iterator[np.ndarray]:
        """Decode one tensor about so many bytes at a time; flat, in the tensor's dtype, in order.

        What is coded is checked before it is decoded, as ever. A tensor that is kept as it is can
        be checked only when all of it was read: the last piece is then followed by the error.
        """
        record = self._carrier(name)
        held = record is None or record.store == "solid"
        if record is None or held or self._info(record).nbytes <= nbytes:
            yield self[name].reshape(-1)  # or raises for no such name
            return
        if record.store == "base":
            for piece in self.bases.pieces(record, nbytes):
                self.fetcher.tell(piece.nbytes)
                yield piece.copy()
            return
        place = self.contents.places[record.name]
        dtype, _ = storage(record.stored_dtype, record.stored_shape)
        begin = 0
        for piece in self.stored_pieces(place, nbytes):
            values = cast(piece.view(dtype), record)
            yield self.bases.finished(values, record, begin)
            begin += values.size

    def span(self, name: str, begin: int, end: int) -> np.ndarray:
        """The values of one tensor from `begin` to `end`, flat; of a large one no more is decoded.

        What is kept as it is is read whole to be checked, if it is large only at the first call;
        what shares its bytes with others is decoded whole.
        """
        record = self._carrier(name)
        if record is None:
            return self[name]  # raises
        begin, end, _ = slice(begin, end).indices(prod(storage(record.dtype, record.shape)[1]))
        found = self._held_elsewhere(record, begin, end)
        return self._decoded_span(record, begin, end) if found is None else found

    def _held_elsewhere(self, record: Record, begin: int, end: int) -> np.ndarray | None:
        """The same of a large tensor that is the base's, or kept as it is; None of others."""
        if self._info(record).nbytes <= LARGE or begin >= end:
            return None
        if record.store == "base":
            return self.bases.span(record, begin, end).copy()
        if record.store != "kept" or (record.stored and record.dtype == "C64"):
            return None
        dtype = storage(record.stored_dtype, record.stored_shape)[0]
        place, width = self.contents.places[record.name], dtype.itemsize
        return cast(self.fetcher.kept_span(place, begin * width, end * width).view(dtype), record)

    def _decoded_span(self, record: Record, begin: int, end: int) -> np.ndarray:
        """The same of a tensor that is coded."""
        ranges = self._ranges_within(record, begin, end)
        if ranges is None:
            return self[record.name].reshape(-1)[begin:end].copy()
        dtype, found = storage(record.stored_dtype, record.stored_shape)[0], []
        for one in ranges:
            (data,) = allocate([one.end - one.begin])
            self.fetcher.decode_range(one, data, self.threads)
            first = one.begin // dtype.itemsize
            values = self.bases.finished(cast(data.view(dtype), record), record, first)
            found.append(values[max(0, begin - first) : end - first])
        return np.concatenate(found)

    def _carrier(self, name: str) -> Record | None:
        """What is said of the tensor that has the data of one; None of no such tensor."""
        record = self.contents.records.get(name)
        if record is not None and record.store == "alias":
            return self.contents.records[record.of]
        return record

    def _ranges_within(self, record: Record, begin: int, end: int) -> Iterator[ChunkRange] | None:
        """The chunks that have the values between; None where the tensor is read whole."""
        if record.store not in ("coded", "packed") or begin >= end:
            return None
        if record.stored and record.dtype == "C64":
            return None  # values come in pairs
        dtype, shape = storage(record.stored_dtype, record.stored_shape)
        place, size = self.contents.places[record.name], dtype.itemsize
        return self.fetcher.ranges(place, 1, (begin * size, end * size)) if prod(shape) else None

    def close(self) -> None:
        """Let go of the file; what was decoded stays, and decoding more is an error."""
        for one in self.parts:
            one.fetcher.close()

    def stored_pieces(self, place: Place, nbytes: int) -> Iterator[np.ndarray]:
        """The stored bytes of one tensor, in order."""
        if not place.parts:
            yield from self.fetcher.kept_pieces(place, nbytes)
            return
        ranges = self.fetcher.ranges(place, nbytes)
        if ranges is None:
            checked = self.fetcher.check(place)
            (data,) = allocate([checked.nbytes])
            self.fetcher.decode([(checked, data)], self.threads)
            yield data
            return
        for one in ranges:
            (data,) = allocate([one.end - one.begin])
            self.fetcher.decode_range(one, data, self.threads)
            yield data

    def _info(self, record: Record) -> TensorInfo:
        return self._by_name[record.name]

    def read_into(self, name: str, out: np.ndarray) -> None:
        """Decode one tensor into an array of its dtype and shape, C-contiguous and writable.

        Saves the page faults of fresh memory where the same array is filled again and again.
        """
        record = self._carrier(name)
        if record is not None:
            check_out({name: out}, self.infos, self.path)
        if record is None or record.store in ("solid", "base") or record.stored or record.base:
            out[...] = self[name]  # or raises for no such name
            return
        self._decode_into(self.contents.places[record.name], as_bytes(out))

    def coded(self, name: str) -> Checked | None:
        """A tensor's coded array, checked but not decoded, where its values are all that it has.

        None where decoding is not all: it is kept, cast, made with a base, or shares an array.
        """
        record = self._carrier(name)
        own = record is not None and record.store in ("coded", "packed")
        if record is None or not own or record.stored or record.base:
            return None
        return self.fetcher.check(self.contents.places[record.name])

    def row_reader(self, name: str) -> RowReader | None:
        """What gives some rows of a tensor without decoding all of it.

        None where that would save nothing: it is kept, shares an array, or has a single chunk.
        """
        place = self._own_place(name)
        array = None if place is None else self.fetcher.chunked_array(place)
        return row_reader(self.fetcher, array, self._by_name[name]) if array else None

    def integer_reader(self, name: str) -> IntegerReader | None:
        """What gives the integers that a rounded tensor's values are made of.

        None where there are none, or where its array is not its alone.
        """
        place = self._own_place(name)
        if place is None:
            return None
        packed = place.pack is not None
        array = (self.fetcher.packed_array if packed else self.fetcher.chunked_array)(place)
        return integer_reader(self.fetcher, array)

    def _own_place(self, name: str) -> Place | None:
        """The place of a coded array that is a tensor's alone, and all that its values take."""
        record = self._carrier(name)
        if record is None or record.store in ("solid", "base") or record.stored or record.base:
            return None
        place = self.contents.places[record.name]
        return place if place.parts else None

    def _decoded(self, place: Place) -> np.ndarray:
        """The stored bytes of one tensor."""
        ranges = self.fetcher.ranges(place, LARGE) if place.parts else None
        if not place.parts or ranges is not None:
            (data,) = allocate([place.entry.nbytes if place.nbytes is None else place.nbytes])
            self._decode_into(place, data)
            return data
        checked = self.fetcher.check(place)
        (data,) = allocate([checked.nbytes])
        self.fetcher.decode([(checked, data)], self.threads)
        return data

    def _decode_into(self, place: Place, out: np.ndarray) -> None:
        """Decode one tensor into its bytes; of a large one not all coded bytes are held."""
        if not place.parts:
            self.fetcher.copy(place, out)
            return
        ranges = self.fetcher.ranges(place, PIECE) if out.nbytes > LARGE else None
        if ranges is None:
            self.fetcher.decode([(self.fetcher.check(place), out)], self.threads)
            return
        for one in ranges:
            self.fetcher.decode_range(one, out[one.begin : one.end], self.threads)

    def load_all(
        self, *, threads: int | None = None, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Decode all tensors at once, in the model's order; tied ones share their memory.

        They lie in one block of memory, which lives as long as any of them; or in the arrays of
        `out` where it has the name (same dtype and shape, C-contiguous, writable). Nothing is
        decoded before all checksums of coded tensors were checked.
        """
        check_out(out or {}, self.infos, self.path)
        threads = threads or self.threads
        return gather(self.fetcher, self.contents, threads, out or {}, self.bases)

    def stand_on(self, base: Base | None) -> None:
        """Decode deltas with this base from now on."""
        for one in self.parts:
            one.bases.stand_on(base)

    @property
    def is_delta(self) -> bool:
        """Whether some tensors need a base."""
        return any(record.base_sum for record in self.index.records)

    def check_still(self) -> None:
        """Raise `VerifyError` if the file, or its base, was written to since it was opened."""
        self.fetcher.check_still()
        self.bases.check_still()

    @property
    def parts(self) -> tuple[TautFile, ...]:
        """The files that hold it: itself, or its shards."""
        return (self,)

    @property
    def own_files(self) -> frozenset[Path]:
        """All files that hold it, with indexes and tables."""
        return frozenset({self.path, *(part.path for part in self.parts)})

    @property
    def named_parts(self) -> tuple[tuple[str, TautFile], ...]:
        """The files that hold it, each with what stands before its tensors' names."""
        return tuple(("", part) for part in self.parts)

    @property
    def checksum(self) -> str:
        """That of the header, which covers the index, which covers all else."""
        return header_checksum(self.fetcher.header.raw_json)

    def _group(self, number: int, dtype: str) -> np.ndarray:
        last = self._groups.get(dtype)
        if last is None or last[0] != number:
            checked = self.fetcher.check(self.contents.groups[number])
            (data,) = allocate([checked.nbytes])
            self.fetcher.decode([(checked, data)], self.threads)
            last = self._groups[dtype] = (number, data)
        return last[1]
