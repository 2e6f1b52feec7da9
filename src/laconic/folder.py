"""Model folders: how config and tokenizer files travel along."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from laconic.container import AtomicFile, check_destination
from laconic.container.find import SUFFIX
from laconic.errors import ArgumentError, LaconicError

FILE_NAME = f"model{SUFFIX}"


@contextlib.contextmanager
def made_folder(path: Path) -> Iterator[None]:
    """Make a folder if it is missing; whatever goes wrong then, it does not stay."""
    missing = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        if missing:
            shutil.rmtree(path, ignore_errors=True)
        raise


def check_copies(pairs: Iterable[tuple[Path, Path]], *, force: bool) -> None:
    """Raise `ArgumentError` unless each second path of (from, to) may be written."""
    for source, target in pairs:
        if target.exists() and os.path.samefile(source, target):
            raise ArgumentError(f"{target}: is an input; name another folder")
        if target.parent.is_dir():
            check_destination(target, force=force)


def copy_files(pairs: Iterable[tuple[Path, Path]], *, force: bool) -> int:
    """Copy small files, each whole or not at all; gives the bytes copied."""
    total = 0
    for source, target in pairs:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            data = source.read_bytes()
        except OSError as error:
            raise LaconicError(f"{source}: cannot be read ({error.strerror})") from error
        write_file(target, data, force=force)
        total += len(data)
    return total


def write_file(path: Path, data: bytes, *, force: bool) -> None:
    """Write a small file, whole or not at all."""
    with AtomicFile(path, force=force) as file:
        file.write(data)
        file.commit()
