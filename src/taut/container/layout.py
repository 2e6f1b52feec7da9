"""Where everything lies in the file to be: places data as it comes and knows the exact size.

A `Layout` that emits to nowhere predicts a file's size to the byte without writing it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import xxhash

from taut.coding import CodedArray, Effort
from taut.container.added import BaseTensor, PieceFacts
from taut.container.contents import pack_index
from taut.container.format import (
    INSIDE,
    MAGIC,
    PACK,
    PACKED,
    SMALL,
    as_bytes,
    build_header,
    free_prefix,
    header_checksum,
    header_entry,
    padding,
    xxh3,
)
from taut.container.index import Index, OnBase, Origin, Pack, Part, Record, SolidGroup
from taut.container.open_group import OpenGroup
from taut.container.pack import OpenPack
from taut.container.rows import error_level, level_error
from taut.container.source_header import rebuild_header
from taut.io.tensor_info import TensorInfo

Emit = Callable[[bytes | memoryview], None]

# Moving a body to close the gap that a too generous reservation left costs a read and a write of
# it; a gap below 1/65536 of the body (12 kB of 800 MB) is left as spaces in the header.
_GAP = 1 << 16


class Layout:
    """The file's contents in the making: add all tensors, then `close`.

    `infos` are all tensors that will be added, in the model's order; data lies in the order in
    which it is added, small coded arrays when a pack of them is full. `emit` takes the body's bytes
    in order (none: they are only counted), and `rewind` has it go on at an earlier one. `effort`
    and `threads` are those for the solid groups.
    Holds in memory the table of contents, at most 4 MiB of small tensors per dtype, and a pack.
    """

    def __init__(
        self,
        origin: Origin,
        infos: Iterable[TensorInfo],
        *,
        emit: Emit | None = None,
        rewind: Callable[[int], None] | None = None,
        effort: Effort = "fast",
        threads: int = 1,
    ) -> None:
        infos = tuple(infos)
        self.room = _room(infos)
        self._records: dict[str, Record] = {}
        self.meant: dict[str, str] = {}  # name -> xxh3 of the bytes it must decode to
        self.stored_bytes: dict[str, int] = {}  # of entries and of members of packs, in the body
        self._origin = origin
        self._names = tuple(info.name for info in infos)
        self._order = {name: number for number, name in enumerate(self._names)}
        self._prefix = free_prefix(self._names)
        self._emit = emit
        self._rewind = rewind
        self._effort: Effort = effort
        self._threads = threads
        self._entries: list[str] = []
        self._groups: list[SolidGroup | None] = []
        self._open: dict[str, OpenGroup] = {}
        self._packs: list[Pack] = []
        self._pack = OpenPack()
        self._end = 0

    def add_coded(
        self,
        info: TensorInfo,
        scheme: str,
        coded: CodedArray,
        checksum: str,
        *,
        meant: str = "",
        stored: str = "",
        rel_mse: float = 0.0,
        base: BaseTensor | None = None,
        on_base: OnBase = "",
    ) -> None:
        """Add a coded tensor; `checksum` is the xxh3 of the bytes it decodes to.

        `stored` is the dtype of the coded values where they are cast to the tensor's, and `meant`
        the xxh3 of what the cast gives, or, of values that are added to those of `base`, the sum.
        """
        record = Record(
            info.name, info.dtype, info.shape, scheme, "coded", stored=stored, rel_mse=rel_mse
        )
        record = _on(record, base, on_base)
        if _joins(coded):
            parts = self._join(info.name, (1, self._order[info.name]), coded, checksum)
            record = replace(
                record, store="packed", pack=len(self._packs), parts=parts, rel_mse=_short(rel_mse)
            )
        else:
            record = replace(record, sum=checksum, parts=self._place(info.name, coded))
        self._record(record, meant or checksum)

    def add_pieces(
        self,
        info: TensorInfo,
        scheme: str,
        pieces: Iterable[bytes],
        facts: Callable[[], PieceFacts],
        *,
        accept: Callable[[int, int], bool] = lambda nbytes, parts: True,
        base: BaseTensor | None = None,
        on_base: OnBase = "",
    ) -> bool:
        """Add a coded tensor whose header and chunks come one after the other.

        `facts` then tells what they decode to. Unless their bytes, and how many they are, are
        accepted, nothing is added, and what was emitted is written over by what comes next.
        """
        begin, parts = self._end, []
        for piece in pieces:
            parts.append(Part(len(piece), xxh3(piece)))
            self._put(piece)
        if not accept(sum(part.nbytes for part in parts), len(parts)):
            self._end = begin
            if self._rewind is not None:
                self._rewind(begin)
            return False
        self._put(bytes(padding(self._end)))
        self._enter(info.name, "U8", (self._end - begin,), begin)
        found = facts()
        record = Record(
            info.name, info.dtype, info.shape, scheme, "coded",
            sum=found.sum, parts=tuple(parts), stored=found.stored, rel_mse=found.rel_mse,
        )  # fmt: skip
        self._record(_on(record, base, on_base), found.meant or found.sum)
        return True

    def add_kept_pieces(
        self,
        info: TensorInfo,
        scheme: str,
        pieces: Iterable[np.ndarray],
        *,
        meant: str = "",
        stored: str = "",
        rel_mse: float = 0.0,
    ) -> None:
        """Add a tensor as its bytes, which come piece by piece; the rest is as for `add_kept`."""
        begin, digest = self._end, xxhash.xxh3_64()
        for piece in pieces:
            data = as_bytes(piece).data
            digest.update(data)
            self._put(data)
        checksum = digest.hexdigest()
        record = Record(
            info.name, info.dtype, info.shape, scheme, "kept",
            sum=checksum, stored=stored, rel_mse=rel_mse,
        )  # fmt: skip
        self._enter(info.name, record.stored_dtype, record.stored_shape, begin)
        self._record(record, meant or checksum)

    def add_kept(
        self,
        info: TensorInfo,
        scheme: str,
        values: np.ndarray,
        *,
        meant: str = "",
        stored: str = "",
        rel_mse: float = 0.0,
    ) -> None:
        """Add a tensor as its bytes; `meant` and `stored` as for `add_coded`."""
        self.add_kept_pieces(info, scheme, (values,), meant=meant, stored=stored, rel_mse=rel_mse)

    def add_small(
        self,
        info: TensorInfo,
        scheme: str,
        values: np.ndarray,
        *,
        meant: str = "",
        stored: str = "",
        rel_mse: float = 0.0,
        base: BaseTensor | None = None,
    ) -> None:
        """Add a tensor of fewer than `SMALL` bytes to the solid group of its (stored) dtype.

        Those that have a `base` make groups of their own, and are stored as what they differ by.
        """
        dtype = stored or info.dtype
        key = dtype if base is None else f"{dtype} on base"
        data = as_bytes(values).copy()  # `values` may be a view of a mapped file
        if data.nbytes >= SMALL:
            raise ValueError(f"{info.name}: {data.nbytes} bytes are not small")
        if key in self._open and not self._open[key].has_room(data):
            self._close_group(key)
        if key not in self._open:
            self._open[key] = OpenGroup(len(self._groups), dtype)
            self._groups.append(None)
        group = self._open[key]
        record = Record(
            info.name, info.dtype, info.shape, scheme, "solid",
            solid=group.number, at=group.nbytes, stored=stored, rel_mse=_short(rel_mse),
        )  # fmt: skip
        self._record(_on(record, base, "delta"), meant or xxh3(data))
        held = None if base is None else base.values
        group.add(data, None if held is None else as_bytes(held).copy())

    def add_base(
        self, info: TensorInfo, scheme: str, base: BaseTensor, *, rel_mse: float = 0.0
    ) -> None:
        """Add a tensor whose values are the base's."""
        record = Record(info.name, info.dtype, info.shape, scheme, "base", rel_mse=rel_mse)
        self._record(_on(record, base, ""), base.sum)

    def add_alias(self, info: TensorInfo, of: str, *, tied: bool = False) -> None:
        """Add a tensor that equals one that was added before, and shares its memory if `tied`."""
        target = self._records[of]
        if target.of:  # tied to a tensor that was stored as a copy of a third
            target, tied = self._records[target.of], False
        self._record(
            Record(
                info.name, info.dtype, info.shape, target.scheme, "alias",
                of=target.name, tied=tied, rel_mse=target.rel_mse,
            ),
            self.meant[target.name],
        )  # fmt: skip

    def close(self) -> tuple[int, bytes]:
        """Emit what is pending and the index; gives where the body begins, and the header."""
        for key in list(self._open):
            self._close_group(key)
        data = self._close_pack()
        blob = pack_index(self.index) + data
        begin = self._end
        self._put(blob)
        self._enter(f"{self._prefix}index", "U8", (len(blob),), begin)
        checksum = xxh3(blob)
        header = build_header(self._entries, checksum)
        if (self.room - len(header)) * _GAP <= self._end:
            header = build_header(self._entries, checksum, self.room)
        self.size = 8 + len(header) + self._end
        self.checksum = header_checksum(header)  # what an index of shards knows the file by
        return 8 + len(header), header

    @property
    def index(self) -> Index:
        """The table of contents, in the order of `infos`; complete once closed."""
        groups = tuple(group for group in self._groups if group is not None)
        records = tuple(self._records[name] for name in self._names if name in self._records)
        origin = self._origin
        if len(origin.files) == 1 and any(record.rel_mse for record in records):
            # What cannot come back to the bit needs no more of its header than what it says.
            header = rebuild_header(records, origin.metadata)
            origin = replace(origin, files=((origin.files[0][0], header),))
        return Index(origin, groups, records, tuple(self._packs))

    def _record(self, record: Record, meant: str) -> None:
        self._records[record.name] = record
        self.meant[record.name] = meant

    def _close_group(self, key: str) -> None:
        group = self._open.pop(key)
        dtype = group.dtype
        number = sum(1 for g in self._groups if g is not None and g.dtype == dtype)
        name = f"{self._prefix}solid.{dtype}" + (f".{number}" if number else "")
        coded, checksum = group.coded(self._effort, self._threads), xxh3(group.data)
        based = bool(group.bases)
        if _joins(coded):
            parts = self._join(name, (0, group.number), coded, checksum)
            found = SolidGroup(name, dtype, "", parts, len(self._packs), base=based)
        else:
            found = SolidGroup(name, dtype, checksum, self._place(name, coded), base=based)
        self._groups[group.number] = found

    def _join(
        self, name: str, order: tuple[int, int], coded: CodedArray, checksum: str
    ) -> tuple[Part, ...]:
        """Put a coded array into the open pack, after closing one that has no room for it."""
        if self._pack.nbytes + coded.nbytes > PACK:
            self._put_pack()
        parts = self._pack.add(order, coded, checksum)
        self.stored_bytes[name] = sum(part.nbytes for part in parts)
        return parts

    def _put_pack(self) -> None:
        data, checksum = self._pack.close()
        name = f"{self._prefix}pack" + (f".{len(self._packs)}" if self._packs else "")
        self._packs.append(Pack(name, xxh3(data), checksum))
        self._pack = OpenPack()
        self._put_blob(name, (data,))

    def _close_pack(self) -> bytes:
        """The last pack, if it is so small that it lies after the index, without an entry."""
        if self._pack.nbytes > INSIDE:
            self._put_pack()
        if not self._pack.nbytes:
            return b""
        data, checksum = self._pack.close()
        self._packs.append(Pack("", "", checksum))
        return data

    def _place(self, name: str, coded: CodedArray) -> tuple[Part, ...]:
        pieces = (coded.header, *coded.chunks)
        self._put_blob(name, pieces)
        return tuple(Part(len(piece), xxh3(piece)) for piece in pieces)

    def _put_blob(self, name: str, pieces: Iterable[bytes]) -> None:
        begin = self._end
        for piece in pieces:
            self._put(piece)
        self._put(bytes(padding(self._end)))
        self._enter(name, "U8", (self._end - begin,), begin)

    def _put(self, data: bytes | memoryview) -> None:
        self._end += len(data)
        if self._emit is not None and len(data):
            self._emit(data)

    def _enter(self, name: str, dtype: str, shape: tuple[int, ...], begin: int) -> None:
        self._entries.append(header_entry(name, dtype, shape, begin, self._end))
        self.stored_bytes[name] = self._end - begin


def _joins(coded: CodedArray) -> bool:
    return coded.nbytes < PACKED and coded.header.startswith(MAGIC)


def _on(record: Record, base: BaseTensor | None, how: OnBase) -> Record:
    """A record that asks for a tensor of a base, if it does."""
    if base is None:
        return record
    return replace(record, base=how, base_sum=base.sum, base_name=base.name)


def _short(error: float) -> float:
    """Within 1.2 %: the error of a small tensor is not worth more than the two bytes of a level."""
    return level_error(error_level(error)) if error else 0.0


def _room(infos: Iterable[TensorInfo]) -> int:
    """No header of these tensors is longer: each has one entry, its own or a solid group's."""
    room = 400
    for info in infos:
        entry = header_entry(info.name, "F8_E4M3FNUZ", info.shape, 1 << 53, 1 << 53)
        room += max(len(entry.encode()), 120) + 17  # 17: the length of a blob, as its shape
    return room + padding(room)
