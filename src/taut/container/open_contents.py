"""The table of contents of a Taut file: found, checked, and bound to the file's entries."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from taut.container.bind import Contents, bind
from taut.container.contents import unpack_index
from taut.container.fetch import Fetcher
from taut.container.format import check_header, xxh3
from taut.container.index import Index
from taut.errors import FormatError, VerifyError
from taut.io.content import kind_of
from taut.io.header import HeaderTensor

_OTHERS: Final = {
    "onnx": "an ONNX model",
    "gguf": "a GGUF model",
    "checkpoint": "a PyTorch checkpoint",
}


def open_file(path: Path) -> Fetcher:
    """The file, open.

    Raises:
        FormatError: it is no Taut file; a model of another format is named for what it is.
    """
    try:
        return Fetcher(path)
    except FormatError:
        kind = _OTHERS.get(kind_of(path) or "")
        if kind is None:
            raise
    raise FormatError(f"{path}: is {kind}, not a Taut file; compress it first (`taut compress`)")


def read_contents(fetcher: Fetcher) -> tuple[Index, Contents]:
    """The index of an open file, and where everything that it lists lies.

    Raises:
        FormatError: header or index break a rule of docs/format.md.
        VerifyError: one of them does not match its checksum.
    """
    where, header = fetcher.where, fetcher.header
    version, expected = check_header(header.raw_json, where)
    if not header.tensors or header.tensors[-1].dtype != "U8":
        raise FormatError(f"{where}: header: the last entry is no index")
    entry = header.tensors[-1]
    blob = fetcher.raw(entry)
    if xxh3(blob) != expected:
        raise VerifyError(
            f"{where}: index ({entry.nbytes} bytes at offset {entry.start}) does not match its "
            "checksum"
        )
    try:
        index, more = unpack_index(blob.tobytes(), version)
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from None
    rest = HeaderTensor(entry.name, "U8", (more,), entry.stop - more, entry.stop)
    return index, bind(index, header.tensors[:-1], header.data_start, where, rest)
