"""Where a sweep keeps its files, and its finished points."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Final

from taut.container import check_destination
from taut.errors import ArgumentError
from taut.io.stores import store_hint
from taut.sweep.request import SweepRequest
from taut.sweep.saved import check_journal

JOURNAL: Final = "frontier.jsonl"
"""The finished points, in the folder of the files."""


def place_of_points(request: SweepRequest) -> Path | None:
    """Where finished points are kept, if anywhere.

    Raises:
        ArgumentError: an earlier sweep's are there, or there is no such folder.
    """
    resume, force = request.resume, request.force
    if request.out is not None:
        return _within(Path(request.out), resume=resume, force=force)
    if request.journal is None:
        if resume:
            raise ArgumentError("resume: wants the place of the points; give out, or journal")
        return None
    check_journal(Path(request.journal), resume=resume, force=force)
    return Path(request.journal)


def _within(folder: Path, *, resume: bool, force: bool) -> Path:
    """The journal in the folder of the files, which may be made yet."""
    if folder.exists() and not folder.is_dir():
        raise ArgumentError(f"{folder}: is no folder; name one for the files")
    if not folder.parent.is_dir():
        hint = store_hint(folder) or "; make it"
        raise ArgumentError(f"{folder}: the folder {folder.parent} does not exist{hint}")
    if folder.is_dir():
        check_journal(folder / JOURNAL, resume=resume, force=force)
    return folder / JOURNAL


def check_files(request: SweepRequest) -> None:
    """Whether every file may be written; raises ArgumentError if not."""
    if request.out is None or not Path(request.out).is_dir():
        return
    for setting in request.settings:
        path = Path(request.out) / setting.file_name
        check_destination(path, force=request.force or request.resume)


def made_files(out: str | Path | None, stack: contextlib.ExitStack) -> Path:
    """Where the files are made: in the caller's folder, or in one that goes with the stack."""
    if out is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taut-")))
    Path(out).mkdir(exist_ok=True)
    return Path(out)
