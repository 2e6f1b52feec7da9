"""One finished piece of work: arrays by name in a safetensors file that proves itself.

Surprises first. The file is named by a hash of the key, so that no key can name a path. The sum
is over what the file means (seal, key, names, dtypes, shapes, values), so that a file that was
damaged, renamed, or brought from other work is none. Nothing is followed: a link is no piece.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import numpy as np

from taut.container import AtomicFile
from taut.container.format import as_bytes, header_entry
from taut.errors import ArgumentError, FormatError, VerifyError
from taut.io import dtype_name, storage
from taut.io.digest import Digest
from taut.io.header import read_header_from
from taut.io.in_memory import native, numpy_entry


def piece_name(key: str) -> str:
    """The name of a piece's file.

    >>> piece_name("../../etc/passwd")
    '03d915744132df301bb7f67f4e92a4e9.safetensors'
    """
    try:
        return blake2b(key.encode(), digest_size=16).hexdigest() + ".safetensors"
    except UnicodeEncodeError:
        raise ArgumentError(f"the key {key!r} is not valid Unicode") from None


def write_piece(path: Path, seal: str, key: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a piece, whole or not at all; equal arrays give equal bytes.

    Raises:
        ArgumentError: an array has a name or a dtype that cannot be written.
        TautError: the disk is full; what was there before still is.
    """
    values = {name: _plain(key, name, array) for name, array in arrays.items()}
    header = _header(seal, key, values)
    if path.is_symlink():  # the file that it names is not ours
        path.unlink()
    with AtomicFile(path, force=True) as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        for array in values.values():
            file.write(as_bytes(array).data)
        file.commit()


def read_piece(path: Path, seal: str, *, keep: bool = True) -> tuple[str, dict[str, np.ndarray]]:
    """The key and the arrays of a piece, checked; without `keep` it is only checked.

    Raises:
        FormatError: it is no piece, or cut short.
        VerifyError: it is damaged, or a piece of other work.
        OSError: it cannot be read.
    """
    arrays: dict[str, np.ndarray] = {}
    with open_plain(path) as file:
        header = read_header_from(file, str(path))
        key = header.metadata.get("key", "")
        digest = _digest(seal, key)
        for tensor in header.tensors:
            dtype, shape = storage(tensor.dtype, tensor.shape)
            array = np.empty(shape, dtype)
            if file.readinto(as_bytes(array).data) != tensor.nbytes:  # type: ignore[attr-defined]
                raise FormatError(f"{path}: the file ended while it was read")
            _add(digest, tensor.name, array)
            if keep:
                arrays[tensor.name] = array
    if digest.text() != header.metadata.get("sum"):
        raise VerifyError(f"{path}: is damaged, or a piece of other work")
    return key, arrays


def map_piece(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a piece that was checked before, as read-only maps of its file.

    Raises:
        FormatError: it is no piece, or cut short.
        OSError: it cannot be read.
    """
    with open_plain(path) as file:
        header = read_header_from(file, str(path))
        begin = file.tell()
        values = np.memmap(file, np.uint8, "r")
    found = {}
    for tensor in header.tensors:
        dtype, shape = storage(tensor.dtype, tensor.shape)
        part = values[begin : begin + tensor.nbytes]
        found[tensor.name] = part.view(dtype).reshape(shape)
        begin += tensor.nbytes
    return found


def open_plain(path: Path) -> BinaryIO:
    """Open a plain file to read: neither through a link, nor waiting for what a pipe may bring.

    Raises:
        FormatError: it is something else.
        OSError: it cannot be opened.
    """
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, os.O_RDONLY | flags | getattr(os, "O_BINARY", 0))
    file = os.fdopen(handle, "rb")
    if path.is_symlink() or not stat.S_ISREG(os.fstat(handle).st_mode):
        file.close()
        raise FormatError(f"{path}: is not a plain file")
    return file


def _plain(key: str, name: str, array: np.ndarray) -> np.ndarray:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ArgumentError(f"{key}: the name {name!r} is not valid Unicode") from None
    if name == "__metadata__":
        raise ArgumentError(f'{key}: "__metadata__" cannot be an array\'s name')
    try:
        return native(numpy_entry(name, array).load())
    except ArgumentError as error:
        raise ArgumentError(f"{key}: {error}") from None


def _header(seal: str, key: str, values: Mapping[str, np.ndarray]) -> bytes:
    digest, end = _digest(seal, key), 0
    entries = []
    for name, array in values.items():
        _add(digest, name, array)
        begin, end = end, end + array.nbytes
        entries.append(header_entry(name, dtype_name(array.dtype), array.shape, begin, end))
    metadata = json.dumps({"key": key, "sum": digest.text()}, ensure_ascii=False)
    text = ("{" + ",".join([f'"__metadata__":{metadata}', *entries]) + "}").encode()
    return text.ljust(len(text) + -len(text) % 8)


def _digest(seal: str, key: str) -> Digest:
    digest = Digest()
    digest.add(("piece 1", seal, key), key)
    return digest


def _add(digest: Digest, name: str, array: np.ndarray) -> None:
    digest.add(name, name)
    digest.add(array, name)
