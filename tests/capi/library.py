"""libtaut by ctypes: what include/taut.h declares, as Python wants it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import (
    POINTER,
    byref,
    c_char,
    c_char_p,
    c_double,
    c_int,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path

AS_IS, FLOAT32, FLOAT16, BFLOAT16 = range(4)
STATUS = ("ok", "argument", "read", "format", "checksum", "memory", "unsupported", "write")
ALL_ROWS = 2**64 - 1


class Error(ctypes.Structure):
    _fields_ = [("status", c_int), ("text", c_char * 500)]


READ = ctypes.CFUNCTYPE(c_int, c_void_p, c_uint64, c_void_p, c_size_t)
CLOSE = ctypes.CFUNCTYPE(None, c_void_p)
WRITE = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)
ALLOCATE = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_size_t)
RELEASE = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_size_t)


class Allocator(ctypes.Structure):
    _fields_ = [("allocate", ALLOCATE), ("release", RELEASE), ("context", c_void_p)]


class Options(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("allocator", Allocator),
        ("memory_limit", c_uint64),
        ("threads", c_int),
    ]


class Source(ctypes.Structure):
    _fields_ = [("read", READ), ("close", CLOSE), ("context", c_void_p), ("size", c_uint64)]


class Tensor(ctypes.Structure):
    _fields_ = [
        ("name", POINTER(c_char)),
        ("name_size", c_size_t),
        ("dtype", c_char_p),
        ("scheme", c_char_p),
        ("shape", POINTER(c_uint64)),
        ("dimensions", c_uint32),
        ("values", c_uint64),
        ("bytes", c_uint64),
        ("file_bytes", c_uint64),
        ("error", c_double),
        ("same_as", c_size_t),
        ("tied", c_int),
    ]


class Attribute(ctypes.Structure):
    _fields_ = [("module", c_char_p), ("name", c_char_p), ("value", c_int64)]


BASE_READ = ctypes.CFUNCTYPE(
    c_int,
    c_void_p,
    POINTER(c_char),
    c_size_t,
    c_char_p,
    POINTER(c_uint64),
    c_uint32,
    c_void_p,
    c_size_t,
)


class Base(ctypes.Structure):
    _fields_ = [("read", BASE_READ), ("context", c_void_p)]


class TautCError(Exception):
    """What the library refused: `code` is the name of its status."""

    def __init__(self, status: int, text: bytes) -> None:
        self.code = STATUS[status]
        super().__init__(f"{self.code}: {text.decode()}")


class Library:
    """The functions of one build of libtaut."""

    def __init__(self, path: Path) -> None:
        self.c = ctypes.CDLL(str(path))
        for name in ("taut_count", "taut_attribute_count"):
            getattr(self.c, name).restype = c_size_t
        self.c.taut_decoder_name.restype = c_char_p
        self.c.taut_base_name.restype = c_char_p

    def open_bytes(self, data: bytes, **options: object) -> File:
        made = Options(ctypes.sizeof(Options), Allocator(), 0, 1)
        for key, value in options.items():
            setattr(made, key, value)
        handle = c_void_p()
        error = Error()
        self.check(
            self.c.taut_open_memory(
                data, c_size_t(len(data)), byref(made), byref(handle), byref(error)
            ),
            error,
        )
        return File(self, handle, (data, made))

    def open_path(self, path: Path) -> File:
        handle, error = c_void_p(), Error()
        self.check(
            self.c.taut_open_path(str(path).encode(), None, byref(handle), byref(error)), error
        )
        return File(self, handle, ())

    def open_source(
        self, read: Callable[[int, int], bytes | None], size: int, **options: object
    ) -> File:
        made = Options(ctypes.sizeof(Options), Allocator(), 0, 1)
        for key, value in options.items():
            setattr(made, key, value)

        @READ
        def give(_context: object, offset: int, to: int, count: int) -> int:
            data = read(offset, count)
            if data is None:
                return 1
            ctypes.memmove(to, data, count)
            return 0

        source = Source(give, CLOSE(), None, size)
        handle, error = c_void_p(), Error()
        self.check(
            self.c.taut_open_source(byref(source), byref(made), byref(handle), byref(error)), error
        )
        return File(self, handle, (give, source, made))

    @staticmethod
    def check(status: int, error: Error) -> None:
        assert status == error.status
        if status:
            assert error.text, status
            raise TautCError(status, error.text)
        assert error.text == b""


class File:
    """An open file; closed when it is garbage."""

    def __init__(self, library: Library, handle: c_void_p, keep: tuple[object, ...]) -> None:
        self._library, self._handle, self._keep = library, handle, keep
        self._c = library.c
        self.tensors = {}
        for number in range(self._c.taut_count(handle)):
            tensor = Tensor()
            assert self._c.taut_describe(handle, c_size_t(number), byref(tensor)) == 0
            name = ctypes.string_at(tensor.name, tensor.name_size).decode()
            tensor.number = number
            self.tensors[name] = tensor

    def shape(self, name: str) -> tuple[int, ...]:
        tensor = self.tensors[name]
        return tuple(tensor.shape[: tensor.dimensions])

    def size(self, name: str, kind: int = AS_IS, rows: int = ALL_ROWS) -> int:
        found = c_uint64()
        status = self._c.taut_size(
            self._handle, c_size_t(self.tensors[name].number), c_uint64(rows), kind, byref(found)
        )
        assert status == 0
        return found.value

    def decode(self, name: str, kind: int = AS_IS, rows: tuple[int, int] | None = None) -> bytes:
        size = self.size(name, kind, rows[1] if rows else ALL_ROWS)
        out = ctypes.create_string_buffer(size + 8)
        ctypes.memset(ctypes.addressof(out) + size, 0xA5, 8)
        error = Error()
        number = c_size_t(self.tensors[name].number)
        if rows is None:
            status = self._c.taut_decode(
                self._handle, number, kind, out, c_size_t(size), byref(error)
            )
        else:
            status = self._c.taut_decode_rows(
                self._handle, number, c_uint64(rows[0]), c_uint64(rows[1]), kind, out,
                c_size_t(size), byref(error),
            )  # fmt: skip
        assert out.raw[size:] == b"\xa5" * 8
        self._library.check(status, error)
        return out.raw[:size]

    def gather(
        self, name: str, rows: list[int], kind: int = AS_IS, *, size: int | None = None,
        count: int | None = None,
    ) -> bytes:  # fmt: skip
        """Chosen rows; `size` and `count` are told in place of the buffer's and the list's own."""
        shape = self.shape(name)
        each = self.size(name, kind, 1) if not shape or shape[0] else 0
        room = each * len(rows)
        out = ctypes.create_string_buffer(room + 8)
        ctypes.memset(ctypes.addressof(out) + room, 0xA5, 8)
        error = Error()
        status = self._c.taut_gather_rows(
            self._handle, c_size_t(self.tensors[name].number), (c_uint64 * len(rows))(*rows),
            c_size_t(len(rows) if count is None else count), kind, out,
            c_size_t(room if size is None else size), byref(error),
        )  # fmt: skip
        assert out.raw[room:] == b"\xa5" * 8
        self._library.check(status, error)
        return out.raw[:room]

    @property
    def base_name(self) -> str | None:
        found = self._c.taut_base_name(self._handle)
        return None if found is None else found.decode()

    def stand_on(self, base: File | None) -> None:
        error = Error()
        handle = None if base is None else base._handle
        status = self._c.taut_stand_on_file(self._handle, handle, byref(error))
        self._keep = (*self._keep, base)
        self._library.check(status, error)

    def stand_on_arrays(self, arrays: dict[str, bytes]) -> None:
        @BASE_READ
        def give(_context, name, name_size, _dtype, _shape, _dimensions, to, size):
            data = arrays.get(ctypes.string_at(name, name_size).decode())
            if data is None or len(data) != size:
                return 1
            ctypes.memmove(to, data, size)
            return 0

        error = Error()
        base = Base(give, None)
        self._keep = (*self._keep, give)
        status = self._c.taut_stand_on(self._handle, byref(base), byref(error))
        self._library.check(status, error)

    def verify(self) -> None:
        error = Error()
        self._library.check(self._c.taut_verify(self._handle, byref(error)), error)

    def attributes(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for number in range(self._c.taut_attribute_count(self._handle)):
            one = Attribute()
            assert self._c.taut_attribute_at(self._handle, c_size_t(number), byref(one)) == 0
            found.setdefault(one.module.decode(), {})[one.name.decode()] = one.value
        return found

    def originals(self) -> dict[str, bytes]:
        count, error = c_size_t(), Error()
        self._library.check(
            self._c.taut_original_count(self._handle, byref(count), byref(error)), error
        )
        found = {}
        for number in range(count.value):
            name = c_char_p()
            self._library.check(
                self._c.taut_original_name(
                    self._handle, c_size_t(number), byref(name), byref(error)
                ),
                error,
            )
            pieces: list[bytes] = []

            @WRITE
            def write(_context: object, data: int, size: int, pieces: list[bytes] = pieces) -> int:
                pieces.append(ctypes.string_at(data, size))
                return 0

            status = self._c.taut_original_write(
                self._handle, c_size_t(number), write, None, byref(error)
            )
            self._library.check(status, error)
            found[name.value.decode()] = b"".join(pieces)
        return found

    def memory(self) -> tuple[int, int]:
        held, peak = c_uint64(), c_uint64()
        self._c.taut_memory(self._handle, byref(held), byref(peak))
        return held.value, peak.value

    def close(self) -> None:
        self._c.taut_close(self._handle)
        self._handle = None

    def __del__(self) -> None:
        if self._handle:
            self.close()
