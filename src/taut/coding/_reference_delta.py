"""Deltas as docs/coding.md has them, in numpy: a base's values and what others differ by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taut.coding._reference_symbols import Bytes, byte_stream, demand, unpack

Words = NDArray[np.unsignedinteger]
Decode = Callable[[bytes, Sequence[bytes]], bytes]
_UNSIGNED, _FLOAT, _SIGNED = 0, 1, 2
_CLASSES = 64
_KINDS = (0, 1, 3)  # of an array of symbols: stored, split, constant


@dataclass(frozen=True)
class Delta:
    """The fields of a delta's header; scales are absent of a sparse one."""

    mode: int
    exclusive: bool
    sparse: bool
    shift: int = 0
    origin: int = 0
    rows: bytes = b""
    columns: bytes = b""


def read_delta(b: Bytes, rows: int, columns: int, width: int) -> Delta:
    """The fields behind those that all arrays have."""
    mode, form = b.take(2)
    demand(mode <= _SIGNED and form <= 3, "unknown mode or form of a delta")
    if form & 2:
        return Delta(mode, bool(form & 1), True)
    shift, zigzag = b.u8(), b.varint()
    origin = -(zigzag >> 1) - 1 if zigzag & 1 else zigzag >> 1
    demand(shift < 8 * width and abs(origin) <= 1 << 16, "classes of a delta are out of range")
    scales = [byte_stream(b.take(b.varint()), count) for count in (rows, columns)]
    return Delta(mode, bool(form & 1), False, shift, origin, *scales)


class _Raw:
    def __init__(self, data: bytes) -> None:
        self.bits = unpack(data).astype(object)
        self.at = 0

    def take(self, n: int) -> int:
        bits = self.bits[self.at : self.at + n]
        demand(len(bits) == n, "raw bits end early")
        self.at += n
        return int(sum(bit << i for i, bit in enumerate(bits)))

    def finish(self) -> None:
        demand(len(self.bits) - self.at < 8, "raw bits are left over")


def _number(token: int, width: int, raw: _Raw) -> int:
    """The number of a token, with the raw bits that it asks for."""
    s, t = (4, 2) if width < 8 else (2, 1)
    if token < 1 << s:
        return token
    n, top = s + 1 + ((token - (1 << s)) >> t), (token - (1 << s)) & ((1 << t) - 1)
    if n > 8 * width:
        return 0
    return ((1 << t | top) << (n - t - 1)) | raw.take(n - t - 1)


def _order(u: int, mode: int, top: int) -> int:
    if mode == _UNSIGNED:
        return u
    if mode == _SIGNED or not u & top:
        return u ^ top
    return u ^ (2 * top - 1)


def _word(o: int, mode: int, top: int) -> int:
    if mode == _UNSIGNED:
        return o
    return o ^ top if mode == _SIGNED or o & top else o ^ (2 * top - 1)


def _changed(d: Delta, u: int, symbol: int, width: int, raw: _Raw) -> int:
    """The value that a symbol makes of the base's word."""
    top = 1 << (8 * width - 1)
    m = _number(symbol if d.exclusive else symbol >> 1, width, raw)
    if d.exclusive:
        return u ^ m
    negative = d.mode != _UNSIGNED and bool(u & top)
    step = -m if bool(symbol & 1) != negative else m
    return _word((_order(u, d.mode, top) + step) % (2 * top), d.mode, top)


def _symbols(b: Bytes, count: int, decode: Decode) -> NDArray[np.uint8]:
    header = b.take(b.varint())
    demand(len(header) > 5 and header[4] in _KINDS and header[5] == 1, "symbols are no bytes")
    fields = Bytes(header[6:])
    n, length, rows = fields.varint(), fields.varint(), fields.varint()
    demand(n == count and length * rows > 0, "an array of symbols is not of their number")
    chunks = 0 if header[4] == 3 else (n + length * rows - 1) // (length * rows)
    return np.frombuffer(decode(header, [b.take(b.varint()) for _ in range(chunks)]), np.uint8)


def decode_delta_chunk(
    d: Delta, words: Words, first_row: int, row_length: int, chunk: bytes, decode: Decode
) -> bytes:
    """One chunk over the base's `words` of it; `decode` decodes the arrays inside."""
    out, width = words.copy(), words.dtype.itemsize
    if not chunk:
        return out.tobytes()
    b = Bytes(chunk)
    if d.sparse:
        count = b.varint()
        demand(1 <= count <= len(words), "differs in no value, or in too many")
        gaps, symbols = _symbols(b, count, decode), _symbols(b, count, decode)
        raw, at = _Raw(b.data), -1
        for gap, symbol in zip(gaps.tolist(), symbols.tolist(), strict=True):
            at += 1 + _number(gap, 4, raw)
            demand(at < len(words), "differs beyond the chunk")
            out[at] = _changed(d, int(words[at]), symbol, width, raw)
        raw.finish()
        return out.tobytes()
    classes = _classes(d, words, first_row, row_length)
    order = np.argsort(classes, kind="stable")
    order = order[: int((classes < _CLASSES).sum())]
    demand(len(order) > 0, "bytes in a chunk that differs nowhere")
    symbol_of = np.zeros(len(words), np.uint8)
    symbol_of[order] = _symbols(b, len(order), decode)
    raw = _Raw(b.data)
    for at in np.flatnonzero(symbol_of).tolist():
        out[at] = _changed(d, int(words[at]), int(symbol_of[at]), width, raw)
    raw.finish()
    return out.tobytes()


def _classes(d: Delta, words: Words, first_row: int, row_length: int) -> NDArray[np.int64]:
    """The class of each value; `_CLASSES` of those that are untouched."""
    top = 1 << (8 * words.dtype.itemsize - 1)
    rows, columns = np.divmod(np.arange(len(words)), row_length)
    row = np.frombuffer(d.rows, np.uint8).astype(np.int64)[first_row + rows]
    column = np.frombuffer(d.columns, np.uint8).astype(np.int64)[columns]
    key = np.zeros(len(words), np.int64)
    if d.mode == _FLOAT:
        mask = words.dtype.type(top - 1)
        key = ((words & mask) >> words.dtype.type(d.shift)).astype(np.int64)
    found = np.clip(d.origin + row + column - 2 - key, 0, _CLASSES - 1)
    return np.where((row == 0) | (column == 0), _CLASSES, found)
