"""Open files, BytesIO and bytes as models: files of this machine for as long as work takes.

A model is read more than once, and a Taut file's header is written last: neither goes through a
stream. So what comes in lies in a temporary file meanwhile, and what goes out is sent when it is
whole. A stream is left where it stood, so that it can be read again.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Literal, TypeAlias

from taut.errors import ArgumentError, TautError
from taut.io.staged import naming

BinaryFile: TypeAlias = "IO[bytes]"
"""An open binary file, or what behaves as one: BytesIO, a socket's file, a member of an archive."""

_BYTES: Final = (bytes, bytearray, memoryview)
_STEP: Final = 1 << 20


def is_stream(value: object) -> bool:
    """Whether a value is an open file, or the bytes of one, and no path or model.

    >>> is_stream(io.BytesIO()), is_stream(b"..."), is_stream("m.safetensors"), is_stream({})
    (True, True, False, False)
    """
    return isinstance(value, _BYTES) or _acts(value, "read") or _acts(value, "write")


def _acts(value: object, how: str) -> bool:
    return not isinstance(value, type) and callable(getattr(value, how, None))


def stream_name(stream: object) -> str:
    """What a stream is called in messages.

    >>> stream_name(io.BytesIO())
    '<BytesIO>'
    """
    name = getattr(stream, "name", None)
    return f"<{name}>" if isinstance(name, str) and name else f"<{type(stream).__name__}>"


@contextmanager
def held(stream: Any) -> Iterator[Path]:
    """A temporary file with what a stream holds from where it stands; of one at its end, all.

    Raises:
        ArgumentError: it is closed, of text, empty, or cannot be read.
        TautError: there is no room for it.
    """
    name = stream_name(stream)
    check_stream(stream, "read")
    with tempfile.TemporaryDirectory(prefix="taut-") as folder:
        path = Path(os.path.realpath(folder), "stream")
        _fill(path, stream, name)
        with naming(path, name):
            yield path


def _fill(path: Path, stream: Any, name: str) -> None:
    """Write what a stream holds to a file, and leave the stream where it stood."""
    source = io.BytesIO(stream) if isinstance(stream, _BYTES) else stream
    place = source.tell() if _seekable(source) else None
    try:
        with path.open("wb") as file:
            _copy(source, file, name)
            if not file.tell() and place:  # it was just written, and stands at its end
                source.seek(0)
                _copy(source, file, name)
            nbytes = file.tell()
    except OSError as error:
        raise TautError(f"{name}: cannot be held in a temporary file ({error})") from error
    finally:
        if place is not None:
            source.seek(place)
    if not nbytes:
        raise ArgumentError(f"{name}: holds nothing, so there is no model in it")


def _copy(source: Any, file: IO[bytes], name: str) -> None:
    while data := source.read(_STEP):
        if not isinstance(data, _BYTES):
            raise ArgumentError(
                f"{name}: its read gives a {type(data).__name__}, not bytes; open it in binary "
                'mode ("rb")'
            )
        file.write(data)


def _seekable(stream: Any) -> bool:
    seekable = getattr(stream, "seekable", None)
    return bool(seekable()) if callable(seekable) else False


@contextmanager
def sent(stream: Any, file_name: str) -> Iterator[Path]:
    """A path to write one file to, which is sent to the stream when the body ends well.

    Raises:
        ArgumentError: the stream is closed, of text, or cannot be written, before the body runs;
            or the body wrote several files.
        TautError: the stream takes no more.
    """
    name = stream_name(stream)
    check_stream(stream, "write")
    with tempfile.TemporaryDirectory(prefix="taut-") as folder:
        path = Path(os.path.realpath(folder), file_name)
        with naming(path, name):
            yield path
            _send(path, stream, name)


def _send(path: Path, stream: Any, name: str) -> None:
    if path.is_dir():
        raise ArgumentError(
            f"{name}: the model becomes several files, and a stream takes one; name a folder"
        )
    if not path.exists():  # a process that trains beside the one that writes
        return
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, stream, _STEP)
    except OSError as error:
        raise TautError(f"{name}: cannot be written ({error})") from error


def check_stream(stream: Any, how: Literal["read", "write"]) -> None:
    """Raise `ArgumentError` for a stream that cannot be read, or written, for a reason it tells."""
    name = stream_name(stream)
    mode, done = ("rb", "read") if how == "read" else ("wb", "written to")
    if isinstance(stream, _BYTES):
        if how == "write":
            raise ArgumentError(f"{name}: cannot be written to; give a path, or io.BytesIO()")
        return
    if getattr(stream, "closed", False) is True:
        raise ArgumentError(f"{name}: is closed; open it again")
    if isinstance(stream, io.TextIOBase) or _is_text(stream):
        raise ArgumentError(
            f'{name}: is a stream of text, and a model is bytes; open it in binary mode ("{mode}")'
        )
    able = getattr(stream, {"read": "readable", "write": "writable"}[how], None)
    if not _acts(stream, how) or (callable(able) and not able()):
        raise ArgumentError(f'{name}: cannot be {done}; open it with "{mode}"')


def _is_text(stream: Any) -> bool:
    """Whether a wrapper of a file, as `tempfile` has them, was opened for text."""
    mode = getattr(stream, "mode", None)
    return isinstance(mode, str) and "b" not in mode and hasattr(stream, "encoding")
