"""Where an export is made: under a temporary name beside its place, until it was checked."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from taut.container import check_destination
from taut.errors import ArgumentError, TautError

WEIGHTS: Final = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".gguf")


@contextlib.contextmanager
def made_file(out: Path, *, force: bool, suffix: str = "") -> Iterator[Path]:
    """Give a path to write to; it becomes `out` if the body ends well, and is removed if not.

    Its name ends in `suffix`, for readers that go by it.

    Raises:
        ArgumentError: `out` may not be written.
        TautError: the system would not let it be written.
    """
    real = check_destination(out, force=force)
    temporary = real.with_name(f"{real.name}.{os.getpid()}.tmp{suffix}")
    try:
        with explained(out):
            temporary.unlink(missing_ok=True)  # of an earlier process with our id
            yield temporary
            check_destination(out, force=force)
            _sync(temporary)
            os.replace(temporary, real)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def made_folder(out: Path, *, force: bool) -> Iterator[Path]:
    """Give an empty folder to fill; it becomes `out` if the body ends well.

    A folder that exists (`force`) gets the files one by one, each in one step; weights of another
    name in it, which a loader could take for the model's, are an error.

    Raises:
        ArgumentError: `out` may not be written.
        TautError: the system would not let it be written.
    """
    real = check_folder(out, force=force)
    temporary = real.with_name(f"{real.name}.{os.getpid()}.tmp")
    try:
        with explained(out):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            yield temporary
            files = sorted(path for path in temporary.rglob("*") if path.is_file())
            for path in files:
                _sync(path)
            if real.exists():
                _fill(real, temporary, files)
            else:
                os.replace(temporary, real)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_folder(out: Path, *, force: bool) -> Path:
    """Give the folder that `out` stands for, through symbolic links, if it may be written.

    Raises:
        ArgumentError: it exists (and not `force`), is a file, or its own folder is missing.
    """
    real = Path(os.path.realpath(out))
    if real.exists() and not real.is_dir():
        raise ArgumentError(f"{out}: is not a folder; the model becomes several files in one")
    if not real.parent.is_dir():
        raise ArgumentError(f"{out}: the folder {real.parent} does not exist; make it first")
    if real.exists() and not force and any(real.iterdir()):
        raise ArgumentError(f"{out}: exists; give -f (force=True) to replace its files")
    return real


def _fill(real: Path, temporary: Path, files: list[Path]) -> None:
    """Move files into a folder that is there already."""
    pairs = [(path, real / path.relative_to(temporary)) for path in files]
    new = {target for _, target in pairs}
    for path in sorted(real.iterdir()):
        if path.name.endswith(WEIGHTS) and path not in new:
            raise ArgumentError(
                f"{path}: holds weights that are not of this export, and a loader could take them "
                "for the model; move it away, or name another folder"
            )
    for path, target in pairs:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)


def _sync(path: Path) -> None:
    """Have the disk hold a file's bytes."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextlib.contextmanager
def explained(out: Path) -> Iterator[None]:
    """Say of a system's error what it kept from being written, as a `TautError`."""
    try:
        yield
    except OSError as error:
        raise TautError(
            f"{out}: cannot be written ({error.strerror or error}); what was there before is "
            "untouched"
        ) from error
