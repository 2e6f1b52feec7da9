"""Calibration texts from a file: one a line, as they are or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from taut.errors import ArgumentError
from taut.io.names import nearest

SUFFIXES: Final = (".txt", ".jsonl")
_FIELD: Final = "text"


def read_texts(path: str | Path, limit: int | None = None) -> list[str]:
    """The texts of a `.txt` file, one a line, or of a `.jsonl` file, one object a line.

    Of an object the field "text" is taken, or else its first field that is a text. Blank lines
    and texts are passed over; only the first `limit` texts are read.

    Raises:
        ArgumentError: the file cannot be read, a line is not UTF-8 or no such object (the message
            has its number), or there is no text at all.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ArgumentError(f"{path}: texts come as {' or '.join(SUFFIXES)}, one a line")
    if not path.is_file():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ArgumentError(f"{path}: no such file{nearest(path.name, beside)}")
    texts = []
    is_json = path.suffix.lower() == ".jsonl"
    for number, line in _lines(path):
        text = _text_of(line, f"{path}, line {number}") if is_json else line
        if text.strip():
            texts.append(text.strip())
        if len(texts) == limit:
            break
    if not texts:
        raise ArgumentError(f"{path}: has no texts")
    return texts


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers; only a line feed ends a line."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")  # how some editors mark UTF-8
                if line.strip():
                    yield number, line.decode()
    except UnicodeDecodeError as error:
        where = f"{path}, line {number}, byte {error.start + 1}"
        raise ArgumentError(f"{where}: is not UTF-8; save the file as such") from None
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read ({error.strerror})") from error


def _text_of(line: str, where: str) -> str:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{where}: is not JSON ({error})") from None
    if not isinstance(entry, dict):
        raise ArgumentError(f'{where}: is no object as {{"{_FIELD}": "..."}}')
    for value in (entry.get(_FIELD), *entry.values()):
        if isinstance(value, str):
            return value
    names = ", ".join(f'"{name}"' for name in list(entry)[:8]) or "none"
    raise ArgumentError(f'{where}: has no text as "{_FIELD}" nor in another field (it has {names})')
