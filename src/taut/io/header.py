"""The safetensors header: 8 bytes of length, JSON that names every tensor, then the data.

    u64 little-endian N | N bytes of UTF-8 JSON, `{` first | data, dense, to the end of the file

Surprises first. The JSON has one legal form, so a scanner of that form reads it instead of a JSON
library: nothing nests, so depth cannot hurt; nothing is built from bytes that are not a legal
header, so memory stays in proportion to them; and a name that comes twice is seen. The
safetensors library takes duplicate names and the last one wins: two readers may then see two
models in one file. Here they are an error.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from taut.errors import ArgumentError, FormatError
from taut.io.content import FIRST, why_foreign
from taut.io.dtypes import MAX_NUMBER, tensor_nbytes

MAX_HEADER: Final = 100_000_000  # bytes of JSON; the limit of safetensors itself

_SPACE = r"[ \t\n\r]*+"
_WORD = re.compile(_SPACE + r"(.)", re.DOTALL)  # the next character that is not white space
_FIELD = re.compile(
    rf'{_SPACE}"(dtype|shape|data_offsets)"{_SPACE}:{_SPACE}'
    rf'(?:"(\w{{1,40}})"|\[([^\[\]{{}}"]{{0,4096}})\]){_SPACE}([,}}])',
    re.ASCII,
)
_NUMBER = rf"{_SPACE}(?:0|[1-9][0-9]{{0,18}}){_SPACE}"
_NUMBERS = re.compile(rf"{_NUMBER}(?:,{_NUMBER})*")
_STRING = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class HeaderTensor:
    """One tensor; `start` and `stop` are bytes from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor's data."""
        return self.stop - self.start


@dataclass(frozen=True)
class Header:
    """A checked header: tensors in the order of their data, which they cover without a gap."""

    metadata: dict[str, str]
    tensors: tuple[HeaderTensor, ...]
    raw_json: bytes
    nbytes: int

    @property
    def data_start(self) -> int:
        """Where the data begins, in bytes from the start of the file."""
        return 8 + len(self.raw_json)


def read_header(
    source: str | Path | bytes | bytearray | memoryview, *, where: str | None = None
) -> Header:
    """Read and check the header of a safetensors file, or of a buffer that holds all of one.

    Of a file only the header is read. After it, every tensor lies inside the file, has the size
    that its dtype and shape ask for, and neither overlaps nor leaves a hole. `where` names the
    source in errors (default: the path).

    Raises:
        FormatError: the header is not valid; the message has file, tensor and number.
        ArgumentError: the file cannot be opened.

    >>> read_header(b"\\x02" + bytes(7) + b"{}").tensors
    ()
    """
    if isinstance(source, (str, Path)):
        return _read_file(Path(source), where or str(source))
    view = memoryview(source).cast("B")
    where = where or "buffer"
    length = _header_length(bytes(view[:FIRST]), len(view), where)
    return _checked(bytes(view[8 : 8 + length]), len(view), where)


def read_header_from(file: BinaryIO, where: str) -> Header:
    """Read and check the header of an open safetensors file, from its start (see `read_header`)."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    first = file.read(FIRST)
    length = _header_length(first, size, where)
    file.seek(8)
    raw = file.read(length)
    if len(raw) != length:
        raise FormatError(f"{where}: the file ended while its header was read")
    return _checked(raw, size, where)


def _read_file(path: Path, where: str) -> Header:
    if path.exists() and not path.is_file():  # to open a pipe would wait for ever
        raise ArgumentError(f"{where}: not a regular file")
    try:
        with path.open("rb") as file:
            return read_header_from(file, where)
    except OSError as error:
        raise ArgumentError(f"{where}: cannot be read ({error.strerror})") from error


def _header_length(first: bytes, size: int, where: str) -> int:
    if (why := why_foreign(first, Path(where))) is not None:
        raise FormatError(f"{where}: {why}")
    if len(first) < 8:
        raise FormatError(f"{where}: {size} bytes; a safetensors file has at least 10")
    length = int.from_bytes(first[:8], "little")
    if length > MAX_HEADER:
        raise FormatError(
            f"{where}: header length {length} is over the limit of {MAX_HEADER}; "
            "either the file is damaged or it is not a safetensors file"
        )
    if length > size - 8:
        raise FormatError(
            f"{where}: header length {length} reaches beyond the file of {size} bytes; "
            "the file is cut short or damaged"
        )
    return length


def _checked(raw: bytes, size: int, where: str) -> Header:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{where}: header byte {error.start} is not UTF-8") from None
    metadata, tensors = _Scanner(text, where).header(8 + len(raw))
    tensors.sort(key=lambda tensor: (tensor.start, tensor.stop))
    _check_dense(tensors, 8 + len(raw), size, where)
    return Header(metadata, tuple(tensors), raw, size)


def _check_dense(tensors: list[HeaderTensor], start: int, size: int, where: str) -> None:
    """Invariant: each tensor begins where the one before it ends, and the last ends the file."""
    end, before = start, "the header"
    for tensor in tensors:
        name = f'tensor "{_short(tensor.name)}"'
        if tensor.stop > size:
            raise FormatError(
                f"{where}: {name} ends at byte {tensor.stop}, the file at {size}; "
                "the file is cut short or damaged"
            )
        if tensor.start != end:
            what = "overlaps" if tensor.start < end else "leaves a hole after"
            raise FormatError(
                f"{where}: {name} begins at byte {tensor.start} and {what} {before}, "
                f"which ends at {end}"
            )
        end, before = tensor.stop, name
    if end != size:
        raise FormatError(
            f"{where}: {size - end} bytes from byte {end} on belong to no tensor "
            f"({before} ends there, the file at {size})"
        )


class _Scanner:
    """Reads the one legal form of the header's JSON, left to right, once."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where, self.pos = text, where, 0

    def header(self, data_start: int) -> tuple[dict[str, str], list[HeaderTensor]]:
        """The metadata, and the tensors in the JSON's order."""
        if not self.text.startswith("{"):
            raise self.error('must begin with "{"')
        metadata: dict[str, str] | None = None
        tensors: dict[str, HeaderTensor] = {}
        for name in self.names():
            if name in tensors or (name == "__metadata__" and metadata is not None):
                raise self.error(f'the name "{_short(name)}" comes twice')
            if name == "__metadata__":
                metadata = self.strings()
            else:
                tensors[name] = self.tensor(name, data_start)
        rest = _WORD.match(self.text, self.pos)
        if rest:
            self.pos = rest.start(1)
            raise self.error(f"nothing may follow the closing brace, but {rest[1]!r} does")
        return metadata or {}, list(tensors.values())

    def names(self) -> Iterator[str]:
        """The keys of the object that starts here; the caller reads the value after each."""
        self.take("{")
        if self.peek() == "}":
            self.take("}")
            return
        while True:
            name = self.string()
            self.take(":")
            yield name
            if self.take(",}") == "}":
                return

    def strings(self) -> dict[str, str]:
        """The object of strings that starts here."""
        found: dict[str, str] = {}
        for key in self.names():
            if key in found:
                raise self.error(f'the __metadata__ key "{_short(key)}" comes twice')
            found[key] = self.string()
        return found

    def tensor(self, name: str, data_start: int) -> HeaderTensor:
        """The description of one tensor, its size checked against dtype and shape."""
        tensor = f'tensor "{_short(name)}"'
        fields = self.fields(tensor)
        shape = self.numbers(fields["shape"], f"{tensor}: shape")
        offsets = self.numbers(fields["data_offsets"], f"{tensor}: data_offsets")
        if len(offsets) != 2 or offsets[0] > offsets[1]:
            raise self.error(f"{tensor}: data_offsets {list(offsets)[:4]} must be [start, stop]")
        try:
            wanted = tensor_nbytes(fields["dtype"], shape)
        except FormatError as error:
            raise self.error(f"{tensor}: {error}") from None
        start, stop = offsets
        if stop - start != wanted:
            raise self.error(
                f"{tensor}: data_offsets {[start, stop]} hold {stop - start} bytes, but "
                f"{fields['dtype']} of shape {list(shape)} takes {wanted}"
            )
        return HeaderTensor(name, fields["dtype"], shape, data_start + start, data_start + stop)

    def fields(self, tensor: str) -> dict[str, str]:
        """The text of dtype, shape and data_offsets, which come once each in any order."""
        self.take("{")
        found: dict[str, str] = {}
        for last in (False, False, True):
            match = _FIELD.match(self.text, self.pos)
            if match is None:
                raise self.error(f"{tensor}: expected dtype (a string), shape or data_offsets "
                                 "(short lists of whole numbers)")  # fmt: skip
            key, word, numbers, end = match.groups()
            if key in found or (word is not None) != (key == "dtype"):
                what = "comes twice" if key in found else "is of the wrong type"
                raise self.error(f"{tensor}: {key} {what}")
            if (end == "}") != last:
                raise self.error(f"{tensor}: wants exactly dtype, shape and data_offsets")
            found[key] = numbers if word is None else word
            self.pos = match.end()
        return found

    def numbers(self, text: str, what: str) -> tuple[int, ...]:
        """The whole numbers of a list, of at most 19 digits each (so no slow conversions)."""
        if _NUMBERS.fullmatch(text):
            found = tuple(map(int, text.split(",")))
            if max(found) <= MAX_NUMBER:
                return found
        elif not text.strip(" \t\n\r"):
            return ()
        for part in text.split(","):
            if not re.fullmatch(_NUMBER, part) or int(part) > MAX_NUMBER:
                break
        raise self.error(
            f"{what} has {_short(part.strip())!r}, which is not a whole number in 0..2^63-1"
        )

    def string(self) -> str:
        """The JSON string that starts here; it must be text that UTF-8 can write."""
        if self.peek() != '"':
            raise self.error(f"expected a string, found {self.peek()!r}")
        try:
            value, self.pos = _STRING.raw_decode(self.text, self.pos)
            value.encode("utf-8")
        except ValueError as error:  # JSONDecodeError and UnicodeEncodeError (a lone surrogate)
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "a lone surrogate"
            raise self.error(f"a string is not valid: {reason}") from None
        return str(value)

    def peek(self) -> str:
        """The next character that is not white space ("" at the end); moves up to it."""
        match = _WORD.match(self.text, self.pos)
        if match is None:
            return ""
        self.pos = match.start(1)
        return match[1]

    def take(self, wanted: str) -> str:
        """Step over the next character, which must be one of `wanted`."""
        found = self.peek()
        if not found or found not in wanted:
            raise self.error(f"expected {' or '.join(wanted)}, found {found!r}")
        self.pos += 1
        return found

    def error(self, what: str) -> FormatError:
        """What is wrong, with file and place."""
        return FormatError(f"{self.where}: header, near character {self.pos}: {what}")


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text)} characters)"
