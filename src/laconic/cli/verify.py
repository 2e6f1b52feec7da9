"""`laconic verify`: every checksum checked, everything decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from laconic.cli._guard import DAMAGED, guarded
from laconic.cli._options import JsonOption, QuietOption, ThreadsOption
from laconic.cli._talk import Talk


@guarded
def command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Laconic files or folders.", show_default=False),
    ],
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Check files to the last byte; exit 4 if one is damaged.

    Every checksum is compared and every tensor decoded; damage is named by tensor and chunk.
    """
    from laconic.cli._report import print_json_list

    outcomes = [_check(file, threads, quiet) for file in files]
    if json:
        print_json_list(outcomes)
    if not all(outcome["ok"] for outcome in outcomes):
        raise typer.Exit(DAMAGED)


def _check(file: Path, threads: int | None, quiet: bool) -> dict[str, object]:
    """Verify one file, say how it went, and give that as JSON values; damage is no exception."""
    import laconic
    from laconic.cli._guard import say
    from laconic.cli._units import plural, size
    from laconic.errors import FormatError, VerifyError

    outcome: dict[str, object] = {"file": str(file), "ok": True}
    try:
        report = laconic.verify(file, threads=threads)
    except (FormatError, VerifyError) as error:
        say(str(error))
        outcome |= {"ok": False, "error": str(error), "kind": type(error).__name__}
        if isinstance(error, VerifyError):
            outcome |= {"tensor": error.tensor, "chunk": error.chunk}
    else:
        Talk(quiet).line(
            "whole",
            f"{file}: {plural(report.tensors, 'tensor')}, {plural(report.chunks, 'chunk')}, "
            f"{size(report.size)} -> {size(report.decoded)}",
        )
    return outcome
