"""`taut verify`: every checksum checked, everything decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from taut.cli._guard import DAMAGED, guarded
from taut.cli._options import BaseOption, JsonOption, QuietOption, ThreadsOption
from taut.cli._streams import shown, streaming
from taut.cli._talk import Talk


@guarded
@streaming
def command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Taut files or folders.", show_default=False),
    ],
    base: BaseOption = None,
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Check files to the last byte; exit 4 if one is damaged.

    Every checksum is compared and every tensor decoded; damage is named by tensor and chunk.
    """
    from taut.cli._report import print_json_list

    outcomes, codes = zip(
        *(_check(file, threads, quiet, base or None) for file in files), strict=True
    )
    if json:
        print_json_list(outcomes)
    if any(codes):
        raise typer.Exit(max(codes))


def _check(
    file: Path, threads: int | None, quiet: bool, base: list[Path] | None
) -> tuple[dict[str, object], int]:
    """Verify one file and say how it went: JSON values, and the exit code if it were alone."""
    import taut
    from taut.cli._guard import exit_code, say
    from taut.cli._kinds import INDEX, check_kind
    from taut.errors import FormatError, TautError, VerifyError
    from taut.reporting.numbers import size
    from taut.reporting.plain_text import plural

    outcome: dict[str, object] = {"file": shown(file), "ok": True}
    try:
        check_kind("FILE", file, INDEX)
        with Talk(quiet).progress(("decode",)) as step:
            report = taut.verify(file, threads=threads, base=base, progress=step)
    except TautError as error:
        message = str(error).replace(str(file), shown(file))
        say(message)
        outcome |= {"ok": False, "error": message, "kind": type(error).__name__}
        if isinstance(error, VerifyError):
            outcome |= {"tensor": error.tensor, "chunk": error.chunk}
        return outcome, DAMAGED if isinstance(error, FormatError) else exit_code(error)
    Talk(quiet).line(
        "whole",
        f"{shown(file)}: {plural(report.tensors, 'tensor')}, {plural(report.chunks, 'chunk')}, "
        f"{size(report.size)} -> {size(report.decoded)}",
    )
    return outcome, 0
