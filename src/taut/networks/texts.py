"""Calibration texts from a file: one a line, as they are or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, TypeAlias

from taut.errors import ArgumentError
from taut.io.names import nearest
from taut.networks.documents import Document, document_of, is_empty_document

SUFFIXES: Final = (".txt", ".jsonl", ".json")
Apart: TypeAlias = Literal["line", "paragraph", "file"]
"""What a text of a `.txt` file ends with."""


def read_texts(
    path: str | Path,
    limit: int | None = None,
    *,
    column: str | None = None,
    apart: Apart = "line",
) -> list[Document]:
    """The documents of a `.txt` file, of a `.jsonl` file (an object a line), or of a `.json` list.

    The texts of a `.txt` end with a line, with a blank line (`apart="paragraph"`), or with the
    file. Of an object the field `column` is taken (`document_of`); a line may also be a text in
    quotes. Blank lines and texts are passed over; only the first `limit` are read.

    Raises:
        ArgumentError: the file cannot be read, a line is not UTF-8 or no such object (the message
            has its number), or there is no text at all.
    """
    path = Path(path)
    _check(path, column)
    read = {".txt": _plain, ".jsonl": _objects, ".json": _list}[path.suffix.lower()]
    texts: list[Document] = []
    for document in read(path, column, apart):
        if not is_empty_document(document):
            texts.append(document.strip("\r\n") if isinstance(document, str) else document)
        if len(texts) == limit:
            break
    if not texts:
        raise ArgumentError(f"{path}: has no texts")
    return texts


def _check(path: Path, column: str | None) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise ArgumentError(f"{path}: texts come as {' or '.join(SUFFIXES)}")
    if not path.is_file():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ArgumentError(f"{path}: no such file{nearest(path.name, beside)}")
    if path.suffix.lower() == ".txt" and column is not None:
        raise ArgumentError(f'{path}: has no columns; leave "column={column}" out')


def _plain(path: Path, column: str | None, apart: Apart) -> Iterator[Document]:
    if apart == "line":
        yield from (line.strip() for _, line in _lines(path))
        return
    lines: list[str] = []
    for _, line in _lines(path, blank=True):
        if apart == "paragraph" and not line.strip():
            yield "".join(lines)
            lines = []
        else:
            lines.append(line)
    yield "".join(lines)


def _objects(path: Path, column: str | None, apart: Apart) -> Iterator[Document]:
    for number, line in _lines(path):
        where = f"{path}, line {number}"
        yield document_of(_parsed(line, where), where, column)


def _list(path: Path, column: str | None, apart: Apart) -> Iterator[Document]:
    """The entries of a list, or of the one list that an object holds."""
    found = _parsed("".join(line for _, line in _lines(path, blank=True)), str(path))
    if isinstance(found, dict):
        lists = [value for value in found.values() if isinstance(value, list)]
        found = lists[0] if len(lists) == 1 and "messages" not in found else [found]
    if not isinstance(found, list):
        raise ArgumentError(f"{path}: is no list of texts or objects")
    for number, entry in enumerate(found, 1):
        yield document_of(entry, f"{path}, entry {number}", column)


def _lines(path: Path, *, blank: bool = False) -> Iterator[tuple[int, str]]:
    """The lines, those that are not `blank`, with numbers; only a line feed ends a line."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")  # how some editors mark UTF-8
                if blank or line.strip():
                    yield number, line.decode()
    except UnicodeDecodeError as error:
        where = f"{path}, line {number}, byte {error.start + 1}"
        raise ArgumentError(f"{where}: is not UTF-8; save the file as such") from None
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read ({error.strerror})") from error


def _parsed(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{where}: is not JSON ({error})") from None
