"""What a run that breaks off leaves behind, and how to go on from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taut.errors import TautError

if TYPE_CHECKING:
    from taut.cli._talk import Talk

_ORIGINAL: Final = '"kind": "original"'  # in a line of a sweep's: no point that anybody asked for
_PIECES: Final = "*.safetensors"  # in a journal


@contextmanager
def saying_what_is_kept(
    talk: Talk, output: Path | None = None, points: Path | None = None
) -> Iterator[None]:
    """Where the work inside breaks off, say what of it is kept, and how to go on.

    `output` is the file or folder to be, beside which a journal or a training's state lie; `points`
    is where a sweep keeps those that are finished. With neither, nothing is kept.
    """
    try:
        yield
    except (KeyboardInterrupt, MemoryError, OSError):
        _say(talk, output, points)
        raise
    except TautError as error:
        if type(error) is TautError:  # a full disk, and not what was asked for
            _say(talk, output, points)
        raise


def _say(talk: Talk, output: Path | None, points: Path | None) -> None:
    told = list(_kept(output, points))
    for line in told:
        talk.line("kept", line)
    if told:
        talk.line("go on", "with the same command and --resume")
    else:
        talk.line("kept", "nothing, and nothing is half-written; the same command begins anew")


def _kept(output: Path | None, points: Path | None) -> Iterator[str]:
    from taut.journal.journal import journal_folder
    from taut.reporting.numbers import size
    from taut.reporting.plain_text import plural

    if output is not None:
        folder = journal_folder(output)
        pieces = len(list(folder.glob(_PIECES)))
        if pieces:
            whole = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            yield f"{plural(pieces, 'finished piece')}, {size(whole)}, in {folder}"
        states = sorted(output.parent.glob(f"{output.name}.train*.npz"))
        if states:
            yield f"the training's state as of its last finished epoch, in {states[-1]}"
    if points is not None and points.is_file():
        lines = points.read_text(errors="replace").splitlines()[1:]  # the first is a head
        found = sum(_ORIGINAL not in line for line in lines)
        if found:
            yield f"{plural(found, 'finished point')} in {points}"
