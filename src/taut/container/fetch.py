"""From checked places in a mapped file to decoded bytes; errors name file, tensor, part, offset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import xxhash
from numpy.typing import NDArray

from taut import coding
from taut.coding import ByteIntegers, ChosenRows, Job, chunked, decode_chunks
from taut.container.coded_arrays import Checked, ChunkedArray, ChunkRange
from taut.container.format import GROUP, MAGIC, xxh3
from taut.container.place import PackPlace, Place
from taut.errors import FormatError, VerifyError
from taut.io.header import HeaderTensor
from taut.io.safetensors import MappedFile
from taut.io.staged import told_paths
from taut.io.tensor_pieces import PIECE

_WIDEST = 16  # bytes of a value: complex numbers of float64
_ROWS = 1 << 26  # of an array that is streamed: a header of a few bytes may claim any number
_MOST_TIMES = 1024  # what an array may decode to, in its coded bytes, for it to be streamed
_WORTH_THREADS = 1 << 22  # bytes to check; starting threads takes as long as checking 2 MB


class NeededBases(Protocol):
    """What has the bytes of a base that coded arrays are decoded with."""

    def needs(self, place: Place) -> bool:
        """Whether the array of a tensor is decoded with a base's, of as many bytes."""

    def bytes_of(self, place: Place, within: tuple[int, int] | None = None) -> np.ndarray | None:
        """These bytes, or those within two of them; None if it needs none."""


class Fetcher:
    """Gives the data of one mapped file; `where` names it in errors."""

    def __init__(self, path: Path) -> None:
        self.where = told_paths(str(path))  # as long as what it stands for is known
        file = MappedFile(path, self.where)
        self.header = file.header
        self._file = file
        self._packs: tuple[PackPlace, ...] = ()
        self._sound: set[int] = set()  # the packs whose checksum was seen to match
        # One view of all, cut by entry: cheaper than a view of its own for each of many tensors.
        self._bytes = file.mapped()
        self._bases: NeededBases | None = None
        self._kept: set[str] = set()  # kept tensors whose checksum was seen to match
        self.tell: Callable[[int], None] = lambda nbytes: None  # called with bytes, once decoded

    def know_packs(self, packs: tuple[PackPlace, ...]) -> None:
        """Take note of where packs lie, before any of their members is checked."""
        self._packs = packs

    def know_bases(self, bases: NeededBases) -> None:
        """Take note of what gives the base's bytes that an array of a place is decoded with."""
        self._bases = bases

    def raw(self, entry: HeaderTensor) -> np.ndarray:
        """The bytes of an entry, unchecked, as a read-only view of the mapped file.

        Raises:
            VerifyError: the file was cut short since it was opened.
        """
        self._file.fetch(entry.start, entry.stop)
        self._file.check_size()
        return self._bytes[entry.start : entry.stop]

    def read(self, entry: HeaderTensor) -> np.ndarray:
        """The same as a copy, which stays whatever becomes of the file."""
        return self._file.read(HeaderTensor("", "U8", (entry.nbytes,), entry.start, entry.stop))

    def close(self) -> None:
        """Let go of the file; reading it is an error then."""
        self._bytes = self._bytes[:0].copy()
        self._file.close()

    def copy(self, place: Place, out: np.ndarray) -> None:
        """Copy a kept tensor's bytes to the uint8 array `out` and check them there.

        The copy is checked, not the file: what was checked is what the caller gets.
        """
        self._file.read_into(out, place.entry.start)
        if xxh3(out) != place.sum:
            raise self._other_sum(place)
        self.tell(out.nbytes)

    def kept_pieces(self, place: Place, nbytes: int) -> Iterator[np.ndarray]:
        """The bytes of a kept tensor, piece by piece, which are checked when all were read."""
        digest, step = xxhash.xxh3_64(), -(-nbytes // _WIDEST) * _WIDEST
        for start in range(place.entry.start, place.entry.stop, step):
            stop = min(place.entry.stop, start + step)
            piece = self.read(HeaderTensor("", "U8", (stop - start,), start, stop))
            digest.update(piece.data)
            self.tell(piece.nbytes)
            yield piece
        if digest.hexdigest() != place.sum:
            raise self._other_sum(place)

    def kept_span(self, place: Place, begin: int, end: int) -> np.ndarray:
        """The bytes of a kept tensor from one to another; all are checked at the first call."""
        if place.name not in self._kept:
            for _ in self.kept_pieces(place, PIECE):
                pass
            self._kept.add(place.name)
        start = place.entry.start
        return self.read(HeaderTensor("", "U8", (end - begin,), start + begin, start + end))

    def _other_sum(self, place: Place) -> VerifyError:
        return VerifyError(
            f'{self.where}: tensor "{place.name}" ({place.entry.nbytes} bytes at offset '
            f"{place.entry.start}) does not match its checksum",
            tensor=place.name,
        )

    def check(self, place: Place, *, mapped: bool = False) -> Checked:
        """Check every part of a coded array, and its padding; `mapped`: not in memory of its own.

        Raises:
            VerifyError: a part does not match; `chunk` is its number (0: the array header).
            FormatError: the array header is not valid, or not of an array of this size.
        """
        if place.pack is not None:
            self._check_pack(place, place.pack)
        data = (self.raw if mapped else self.read)(place.entry).data
        begin = 0
        pieces = []
        for number, part in enumerate(place.parts):
            piece = data[begin : begin + part.nbytes]
            if place.pack is None:
                self._checked(place, number, piece)
            pieces.append(piece)
            begin += part.nbytes
        if any(data[begin:]):
            raise VerifyError(
                f'{self.where}: tensor "{place.name}": the padding at offset '
                f"{place.entry.start + begin} is not zero",
                tensor=place.name,
                chunk=len(pieces) - 1,
            )
        header = bytes(pieces[0]) if place.pack is None else MAGIC + bytes(pieces[0])
        return Checked(place, header, pieces[1:], self._decoded_nbytes(place, header))

    def _decoded_nbytes(self, place: Place, header: bytes) -> int:
        """The size that an array header tells, which must be the tensor's."""
        try:
            nbytes = coding.decoded_nbytes(header)
        except FormatError as error:
            raise self._named(place, error) from None
        if place.nbytes is None and nbytes > GROUP:
            raise self._named(place, f"a solid group of {nbytes} bytes; at most {GROUP}")
        if place.nbytes not in (None, nbytes):
            raise self._named(
                place, f"the tensor has {place.nbytes} bytes, but its array header says {nbytes}"
            )
        return nbytes

    def _check_pack(self, place: Place, number: int) -> None:
        """Check the pack that a tensor is in; the one after the index was checked with it."""
        pack = self._packs[number]
        if pack.entry is None or number in self._sound:
            return
        data = self.raw(pack.entry).data
        if xxh3(data[: pack.part.nbytes]) != pack.part.checksum or any(data[pack.part.nbytes :]):
            raise VerifyError(
                f'{self.where}: tensor "{place.name}" is in pack "{pack.name}" '
                f"({pack.entry.nbytes} bytes at offset {pack.entry.start}), which does not match "
                "its checksum",
                tensor=place.name,
            )
        self._sound.add(number)

    def ranges(
        self, place: Place, nbytes: int, within: tuple[int, int] | None = None
    ) -> Iterator[ChunkRange] | None:
        """What a coded array is decoded from, some chunks at a time that come to about `nbytes`.

        `within` two of its bytes only the chunks that have what lies between.

        None where it is to be decoded at once: it is not larger, or `chunked_array` has none.

        Raises:
            VerifyError, FormatError: as `check`, of a range when its turn comes.
        """
        if place.nbytes is None or place.nbytes <= nbytes:
            return None
        based = self._bases is not None and self._bases.needs(place)
        if based and place.pack is not None:
            array = self._streamed(place, self.packed_array(place))
        else:
            array = self.chunked_array(place, bounded=based)
        if array is None:
            return None
        each = array.found.chunk_nbytes
        begin, end = within or (0, array.found.nbytes)
        last = min(-(-end // each), array.found.chunks)
        return self._ranges(array, range(begin // each, last, max(1, nbytes // each)))

    def chunked_array(self, place: Place, *, bounded: bool = False) -> ChunkedArray | None:
        """A coded array whose chunks can be decoded one by one.

        None where it is in a pack, or is of such a kind that the file's own size does not bound the
        work; that is `bounded` where a base must have as many bytes.

        Raises:
            VerifyError, FormatError: as `check`, of the array header.
        """
        if place.nbytes is None or place.pack is not None:
            return None
        if place.nbytes > _MOST_TIMES * place.entry.nbytes and not bounded:
            return None
        if len(place.parts) < 2:
            return None
        first = HeaderTensor("", "U8", (place.parts[0].nbytes,), *_span(place, 0, 1))
        header = bytes(self._checked(place, 0, self.read(first).data))
        self._decoded_nbytes(place, header)
        return self._streamed(place, ChunkedArray(place, header, chunked(header)))

    def _streamed(self, place: Place, array: ChunkedArray) -> ChunkedArray | None:
        """The array, unless decoding all of it at once says what is wrong."""
        found = array.found
        odd = found.constant or found.rows > _ROWS or found.chunks != len(place.parts) - 1
        return None if odd else array

    def _ranges(self, array: ChunkedArray, numbers: range) -> Iterator[ChunkRange]:
        for number in numbers:
            last = min(array.found.chunks, number + numbers.step)
            yield self.chunk_range(array, number, last)

    def chunk_range(self, array: ChunkedArray, first: int, last: int) -> ChunkRange:
        """Chunks `first` to `last` of an array, checked."""
        place, found = array.place, array.found
        begin, end = (min(found.nbytes, one * found.chunk_nbytes) for one in (first, last))
        if place.pack is not None:
            chunks = self.check(place).chunks[first:last]
            return ChunkRange(place, array.header, first, chunks, begin, end)
        start, stop = _span(place, first + 1, last + 1)
        data = self.read(HeaderTensor("", "U8", (stop - start,), start, stop)).data
        chunks, at = [], 0
        for part in range(first + 1, last + 1):
            size = place.parts[part].nbytes
            chunks.append(self._checked(place, part, data[at : at + size]))
            at += size
        return ChunkRange(place, array.header, first, chunks, begin, end)

    def decode_range(self, one: ChunkRange, out: np.ndarray, threads: int) -> None:
        """Decode a range into the uint8 array of its bytes; raises as `decode`."""
        place, base = one.place, self._base_of(one.place, (one.begin, one.end))
        try:
            decode_chunks(
                one.header,
                place.nbytes or 0,
                one.first,
                one.chunks,
                out,
                threads=threads,
                base=base,
            )
        except FormatError as error:
            raise self._named(place, error) from None
        self.tell(out.nbytes)

    def chosen_rows(self, array: ChunkedArray, row_nbytes: int) -> ChosenRows:
        """What gives rows of an array, chunk by chunk; raises `FormatError` as `decode`."""
        try:
            return ChosenRows(array.header, array.found.nbytes, row_nbytes)
        except FormatError as error:
            raise self._named(array.place, error) from None

    def take_rows(
        self,
        array: ChunkedArray,
        chunk: int,
        chosen: ChosenRows,
        rows: NDArray[np.int64],
        scratch: NDArray[np.uint8],
    ) -> NDArray[np.uint8]:
        """Rows of one chunk, counted from its first, as bytes; raises as `decode_range`.

        `scratch` has room for the whole chunk.
        """
        one = self.chunk_range(array, chunk, chunk + 1)
        base = self._base_of(one.place, (one.begin, one.end))
        out = np.empty((len(rows), chosen.row_nbytes), np.uint8)
        try:
            chosen.take(chunk, one.chunks[0], rows, scratch, out, base=base)
        except FormatError as error:
            raise self._named(one.place, error) from None
        self.tell(out.nbytes)
        return out

    def hold(self, array: ChunkedArray) -> ByteIntegers | None:
        """The integers that an array is made of; None where many are wider than a byte.

        Raises:
            VerifyError, FormatError: as `decode_range`.
        """
        try:
            held = ByteIntegers(array.header, array.found.nbytes)
            fit = all(held.take(chunk) for chunk in self._chunks(array))
        except FormatError as error:
            raise self._named(array.place, error) from None
        return held if fit else None

    def _chunks(self, array: ChunkedArray) -> Iterator[memoryview]:
        """The chunks of an array in order, checked, one at a time in memory."""
        if array.place.pack is not None:
            yield from self.check(array.place).chunks
            return
        for number in range(array.found.chunks):
            yield from self.chunk_range(array, number, number + 1).chunks

    def packed_array(self, place: Place) -> ChunkedArray:
        """A coded array in a pack, checked; raises as `check`."""
        header = self.check(place).header
        return ChunkedArray(place, header, chunked(header))

    def _checked(self, place: Place, number: int, piece: memoryview) -> memoryview:
        """One part, which matches its checksum."""
        part = place.parts[number]
        if xxh3(piece) == part.checksum:
            return piece
        offset = place.entry.start + sum(p.nbytes for p in place.parts[:number])
        raise VerifyError(
            f'{self.where}: tensor "{place.name}", chunk {number} ({part.nbytes} bytes at '
            f"offset {offset}) does not match its checksum",
            tensor=place.name,
            chunk=number,
        )

    def check_all(self, places: Sequence[Place], threads: int) -> list[Checked]:
        """Check many coded arrays, on several threads where that pays."""
        total = sum(place.entry.nbytes for place in places)
        if threads < 2 or len(places) < 2 or total < _WORTH_THREADS:
            return [self.check(place, mapped=True) for place in places]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(lambda place: self.check(place, mapped=True), places))

    def decode(self, arrays: Sequence[tuple[Checked, np.ndarray]], threads: int) -> None:
        """Decode each array into its uint8 buffer, which has its size.

        Raises:
            FormatError: a stream is not valid in spite of its checksum; names the tensor.
        """
        jobs = [
            Job(checked.header, checked.chunks, out, self._based(checked, out))
            for checked, out in arrays
        ]
        try:
            coding.decode(jobs, threads=threads)
        except FormatError as error:
            if len(arrays) > 1:  # the coder knows no names: find the one by decoding each alone
                for pair in arrays:
                    self.decode([pair], threads)
            raise self._named(arrays[0][0].place, error) from None
        self.tell(sum(out.nbytes for _, out in arrays))

    def _base_of(self, place: Place, within: tuple[int, int] | None = None) -> np.ndarray | None:
        return None if self._bases is None else self._bases.bytes_of(place, within)

    def _based(self, checked: Checked, out: np.ndarray) -> np.ndarray | None:
        """The base's bytes for an array, as many as it decodes to."""
        base = self._base_of(checked.place)
        if base is not None and base.nbytes != out.nbytes:
            raise self._named(
                checked.place, f"decodes to {out.nbytes} bytes, its base has {base.nbytes}"
            )
        return base

    def check_still(self) -> None:
        """Raise `VerifyError` if the file was written to since it was opened."""
        self._file.check_still()

    def _named(self, place: Place, error: FormatError | str) -> FormatError:
        return FormatError(
            f'{self.where}: tensor "{place.name}" (at offset {place.entry.start}): {error}'
        )


def _span(place: Place, first: int, last: int) -> tuple[int, int]:
    """Where some parts of an array lie in the file."""
    start = place.entry.start + sum(part.nbytes for part in place.parts[:first])
    return start, start + sum(part.nbytes for part in place.parts[first:last])
