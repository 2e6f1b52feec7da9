"""What a compression came to, in lines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from taut.cli._streams import shown
from taut.cli._talk import Talk

if TYPE_CHECKING:
    from taut.compression.foreseen import Result


def say_result(talk: Talk, result: Result, *, dry_run: bool) -> None:
    """Say notes, score and sizes; of a dry run what is foreseen. With -v every tensor too."""
    from taut.cli._lines_table import lines_table
    from taut.reporting.alike_layers import each_line

    if talk.verbose and not talk.quiet:
        print(lines_table(each_line(result.tensors)), file=sys.stderr)
    talk.notes(result.notes)
    _say_score(talk, result)
    (_say_estimate if dry_run else _say_done)(talk, result)


def _say_score(talk: Talk, result: Result) -> None:
    from taut.cli._report import scores_text

    if result.score is not None and result.original_score is not None:
        talk.line("judged", scores_text(result.original_score, result.score))


def _say_estimate(talk: Talk, result: Result) -> None:
    from taut.reporting.numbers import digits, size

    talk.line(
        "estimate",
        f"{size(result.original_size)} -> {size(result.size)} ({digits(result.ratio)}x, "
        f"{digits(result.bits)} bits per weight)",
    )
    talk.line("memory", f"peak about {size(result.peak_memory)}")
    talk.line("dry run", "nothing written")


def _say_done(talk: Talk, result: Result) -> None:
    from taut.reporting.numbers import digits, size

    tensors = len(result.tensors)
    exact = sum(not tensor.rel_mse for tensor in result.tensors)
    same = "identical to the original" if exact == tensors else f"as encoded, {exact} bit-exact"
    if result.score is not None:
        same = "identical to what was evaluated"
    talk.line("verify", f"decoded, {tensors}/{tensors} tensors {same}")
    talk.line(
        "size",
        f"{size(result.original_size)} -> {size(result.size)} ({digits(result.ratio)}x)    "
        f"wrote {shown(result.path)}    {result.seconds:.1f} s, "
        f"peak memory {size(result.peak_memory)}",
    )
