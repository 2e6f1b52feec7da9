"""Whether the machine has the memory and the disk that a calibrated run takes, before it starts."""

from __future__ import annotations

import math
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import psutil

from taut.encoding.estimate import estimate_disk, estimate_memory
from taut.encoding.run_needs import DataShapes
from taut.errors import ArgumentError
from taut.io import Source
from taut.machine.peak_memory import held_memory


def check_room(
    source: Source,
    data: DataShapes,
    *,
    memory: int | None = None,
    scratch: Path | None = None,
    beside: Path | None = None,
) -> None:
    """Refuse a calibrated run on such data that does not fit.

    `memory` is what it may take in bytes (None: what the machine has free), `scratch` the folder
    of its temporary files (None: where the system has them), `beside` the file to come, beside
    which a journal keeps what the run has found (None: there is none).

    Raises:
        ArgumentError: memory or disk is too small; the message says what would make it fit.
    """
    needed, tokens = estimate_memory(source, calibrated=True, data=data), data.positions
    free = int(psutil.virtual_memory().available) + held_memory()
    if needed > (free if memory is None else memory):
        kept = data.kept * data.sample // max(1, data.batch)
        single = replace(data, batch=data.sample, kept=kept)
        least = estimate_memory(source, calibrated=True, data=single) if data.sample else needed
        raise ArgumentError(_too_little(needed, free, memory, least))
    folder = Path(tempfile.gettempdir()) if scratch is None else scratch
    check_scratch(folder)
    files, journal = estimate_disk(source, tokens, journal=beside is not None)
    fewer = f"or give fewer batches to calib ({tokens:,} tokens now)"
    elsewhere = f"name a larger folder as scratch (--scratch), {fewer}"
    if beside is None:
        _check_disk(files, "temporary files", folder, elsewhere)
        return
    own = beside.absolute().parent
    if _disk_of(own) == _disk_of(folder):
        words = "temporary files and finished work"
        _check_disk(files + journal, words, own, f"write to a larger disk, {fewer}")
        return
    _check_disk(files, "temporary files", folder, elsewhere)
    _check_disk(journal, "finished work", own, f"write to a larger disk, {fewer}")


def check_scratch(folder: Path) -> None:
    """Whether temporary files can go to `folder`; raises ArgumentError if not."""
    if not folder.is_dir():
        raise ArgumentError(f"scratch (--scratch): {folder} is no folder")


def _disk_of(folder: Path) -> int | None:
    """What tells one disk from another; None of a folder that is not there."""
    return folder.stat().st_dev if folder.is_dir() else None


def _check_disk(nbytes: int, what: str, folder: Path, way_out: str) -> None:
    """Whether a folder has room for so much; one that is not there is refused elsewhere."""
    if not folder.is_dir():
        return
    left = shutil.disk_usage(folder).free
    if nbytes > left:
        raise ArgumentError(
            f"calibrating writes about {_size(nbytes)} of {what}, and {folder} has room for "
            f"{_size(left)}; {way_out}"
        )


def _too_little(needed: int, free: int, memory: int | None, least: int) -> str:
    """What is told; `least` bytes would do with a sample a batch."""
    told = f"calibrating takes about {_size(needed)} of memory, and "
    if memory is not None and needed <= free:
        return told + (
            f"memory (--memory) allows {_size(memory)}; allow {_size(needed)}: so much is free"
        )
    has = f"{_size(free)} are free" if memory is None else f"memory allows {_size(memory)}"
    if least <= (free if memory is None else memory):
        return told + f"{has}; give calib in batches of one sample: {_size(least)} are enough then"
    return told + (
        f"{has}; run it on a machine with more, or leave out calib (--calib): without data a model "
        "is rounded tensor by tensor. memory (--memory) given as more runs it all the same"
    )


def _size(nbytes: int) -> str:
    """Bytes to two digits or so, rounded up: what is told to be enough is to be enough.

    >>> _size(612_000_000), _size(1_000_000), _size(3_000)
    ('0.7 GB', '1 MB', '1 MB')
    """
    if nbytes >= 10**8:
        return f"{math.ceil(nbytes / 1e8) / 10:.1f} GB"
    return f"{math.ceil(nbytes / 1e6)} MB"
