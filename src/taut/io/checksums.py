"""The checksums that a PyTorch file has of its parts, which torch itself does not look at.

A flipped bit in a tensor would else be stored for ever as if it were the model's.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Final

from taut.errors import FormatError

_STEP: Final = 1 << 20


def checked_once(path: Path) -> Callable[[], None]:
    """What compares all parts of a zip archive with their checksums, at its first call alone.

    Where the writer left the checksums out (0, an option of torch.save), nothing is compared.

    Raises:
        FormatError: when it is called, where a part is damaged; the message names it.
    """
    lock = Lock()

    @cache
    def compare() -> str:
        return next(_wrong(path), "") if zipfile.is_zipfile(path) else ""

    def check() -> None:
        with lock:
            wrong = compare()
        if wrong:
            raise FormatError(
                f"{path}: is damaged: {wrong} is not what its checksum says; fetch or save it again"
            )

    return check


def _wrong(path: Path) -> Iterator[str]:
    """The parts that differ from their checksums, by name."""
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for record in archive.infolist():
            if not record.CRC or record.compress_type != zipfile.ZIP_STORED:
                continue
            file.seek(record.header_offset)
            head = file.read(30)  # its last two numbers are the lengths of what lies between
            names = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
            file.seek(record.header_offset + 30 + names)
            left, found = record.file_size, 0
            while left and (part := file.read(min(_STEP, left))):
                found, left = zlib.crc32(part, found), left - len(part)
            if left or found != record.CRC:
                yield record.filename.partition("/")[2] or record.filename
