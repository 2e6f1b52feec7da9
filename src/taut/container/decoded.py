"""How far the decoding of a file is, told as long work tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taut.progress import Progress

if TYPE_CHECKING:
    from taut.container.read import TautFile


def tell_decoded(file: TautFile, progress: Progress | None, stage: str = "decode") -> None:
    """Tell of every byte that is decoded from now on, of all that the file decodes to."""
    if progress is None:
        return
    total = max(1, sum(info.nbytes for info in file.infos))
    done = 0

    def count(nbytes: int) -> None:
        nonlocal done
        done = min(total, done + nbytes)
        progress(stage, done, total)

    progress(stage, 0, total)
    for part in file.parts:
        part.fetcher.tell = count
