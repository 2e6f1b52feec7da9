"""Writes folders, and files that other libraries write, so that they are whole or not there.

They are made in a temporary folder beside their place (temporary.py), under their own name, and
moved at a good end.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from taut.container.atomic import check_destination, explained, place, sync_folder
from taut.container.free_name import free_name
from taut.container.temporary import WORK, new_folder, remove_folder
from taut.errors import ArgumentError, TautError
from taut.io.stores import store_hint

# Within a folder that is there: on its disk, whatever is mounted where, and nobody's companion.
_INSIDE: Final = ".taut"
_WEIGHTS: Final = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".gguf")


@contextlib.contextmanager
def scratch_folder(beside: Path, shown: str | Path | None = None) -> Iterator[Path]:
    """Give an empty folder on the disk of `beside`, in the same folder; it is gone afterwards.

    An error of ours that names a path in it names what was meant: `shown`, or what the path is to
    become, beside `beside`.

    Raises:
        TautError: the system would not let it be written.
    """
    real = Path(os.path.realpath(beside))
    with explained(beside):
        folder, handle = new_folder(real)
        try:
            with _naming(folder / WORK, beside, shown):
                yield folder / WORK
        finally:
            remove_folder(folder, handle)


@contextlib.contextmanager
def _naming(folder: Path, beside: Path, shown: str | Path | None) -> Iterator[None]:
    """Put other words for the paths in a folder into the messages of errors that pass."""
    try:
        yield
    except TautError as error:
        said = str(error)
        if str(folder) in said:
            paths = re.compile(re.escape(str(folder)) + r"(/[^\s:;,\"']*)?")
            error.args = (paths.sub(lambda one: _meant(one[1] or "", beside, shown), said),)
        raise


def _meant(inner: str, beside: Path, shown: str | Path | None) -> str:
    return str(beside.parent / inner[1:] if shown is None else shown)


@contextlib.contextmanager
def made_file(out: Path, *, force: bool, suffix: str = "") -> Iterator[Path]:
    """Give a path to write to; it becomes `out` if the body ends well, and is removed if not.

    It has the name of `out`, and ends in `suffix` for readers that go by it. Other files that the
    body writes beside it are moved beside `out`, and before it.

    Raises:
        ArgumentError: `out`, or a file beside it, may not be written.
        TautError: the system would not let it be written.
    """
    real = check_destination(out, force=force)
    with scratch_folder(out) as folder:
        main = folder / (real.name if real.name.endswith(suffix) else f"{real.name}{suffix}")
        with _named(folder, real.parent):
            yield main
        pairs = [
            (path, real.parent / path.relative_to(folder))
            for path in _files(folder)
            if path != main
        ]
        _move([*pairs, (main, real)], force=force)


@contextlib.contextmanager
def made_folder(out: Path, *, force: bool, sole: bool = False) -> Iterator[Path]:
    """Give an empty folder to fill; it becomes `out` if the body ends well.

    A folder that exists gets the files one by one, each in one step. With `sole` it is to hold
    nothing but this model: it may exist only if it is empty, or by `force`, and weights of
    another name in it, which a loader could take for the model's, are an error.

    Raises:
        ArgumentError: `out`, or a file in it, may not be written.
        TautError: the system would not let it be written.
    """
    real = check_folder(out, force=force) if sole else Path(os.path.realpath(out))
    if not sole:
        with explained(out):
            real.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(real / _INSIDE if real.is_dir() else out) as folder:
        made = folder / real.name
        made.mkdir()
        with _named(made, real):
            yield made
        files = _files(made)
        if real.exists():
            pairs = [(path, real / path.relative_to(made)) for path in files]
            if sole:
                _check_sole(real, {target for _, target in pairs})
            _move(pairs, force=force)
        else:
            for path in files:
                _sync(path)
            os.rename(made, real)
            sync_folder(real.parent)


def check_folder(out: Path, *, force: bool) -> Path:
    """Give the folder that `out` stands for, through symbolic links, if it may be written.

    Raises:
        ArgumentError: it exists (and not `force`), is a file, or its own folder is missing.
    """
    real = Path(os.path.realpath(out))
    if real.exists() and not real.is_dir():
        raise ArgumentError(f"{out}: is not a folder; the model becomes several files in one")
    if not real.parent.is_dir():
        hint = store_hint(out) or "; make it first"
        raise ArgumentError(f"{out}: the folder {real.parent} does not exist{hint}")
    if real.exists() and not force and any(real.iterdir()):
        raise ArgumentError(
            f"{out}: exists; give -f (force=True) to replace its files, or write to "
            f"{free_name(out)}"
        )
    return real


@contextlib.contextmanager
def _named(work: Path, final: Path) -> Iterator[None]:
    """Name a file by the place that it was for, in errors of whoever wrote it."""
    try:
        yield
    except TautError as error:
        error.args = tuple(
            one.replace(str(work), str(final)) if isinstance(one, str) else one
            for one in error.args
        )
        raise


def _check_sole(real: Path, new: set[Path]) -> None:
    for path in sorted(real.iterdir()):
        if path.name.endswith(_WEIGHTS) and path not in new:
            raise ArgumentError(
                f"{path}: holds weights that are not of this export, and a loader could take them "
                "for the model; move it away, or name another folder"
            )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _move(pairs: list[tuple[Path, Path]], *, force: bool) -> None:
    """Give finished files their names, in order; none of them if one of them may not have it."""
    for path, target in pairs:
        target.parent.mkdir(parents=True, exist_ok=True)
        check_destination(target, force=force)
        _sync(path)
    for path, target in pairs:
        place(path, Path(os.path.realpath(target)), force=force)
    for folder in {target.parent for _, target in pairs}:
        sync_folder(folder)


def _sync(path: Path) -> None:
    """Have the disk hold a file's bytes."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
