"""`taut diff`: which tensors of two models differ, and how far."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taut.cli._guard import guarded
from taut.cli._options import ForceOption, JsonOption, QuietOption
from taut.cli._streams import refusing_streams

if TYPE_CHECKING:
    from taut.analysis.differences import Differences

_Model = Annotated[
    Path,
    typer.Argument(help="A Taut file, or any model that taut compress reads.", show_default=False),
]


@guarded
@refusing_streams()
def command(
    first: _Model,
    second: _Model,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page, too.")] = None,
    each: Annotated[
        bool, typer.Option("--each", help="Tensors that are the same, too.", show_default=False)
    ] = False,
    top: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="The first N lines alone.")
    ] = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Show what changed from FIRST to SECOND: how many values, how far, and which are zero.

    What changed most stands first. rel_mse is the squared difference over the squares of FIRST;
    ulps is how many numbers of the dtype lie between, at most and in the mean of what changed.
    """
    import taut
    from taut.cli._checks import check_new
    from taut.cli._kinds import INDEX, check_kinds
    from taut.cli._report import print_json
    from taut.cli._signed import facts_now
    from taut.cli._talk import Talk
    from taut.container import check_destination
    from taut.reporting.difference_page import write_difference_page

    if html is not None:
        check_new(html, force=force)
        check_destination(html, force=force)
    check_kinds((("FIRST", first, INDEX), ("SECOND", second, INDEX)))
    found = taut.diff(first, second)
    if html is not None:
        write_difference_page(html, found, facts_now(), force=force)
        Talk(quiet).line("wrote", str(html))
    if json:
        print_json(found)
        return
    _print(found, each=each, top=top, quiet=quiet)


def _print(found: Differences, *, each: bool, top: int | None, quiet: bool) -> None:
    """The tensors as a table, and all in a line; quietly the line alone."""
    from taut.reporting.difference_page import HEAD, row_of, told
    from taut.reporting.plain_text import table

    shown = [tensor for tensor in found.tensors if each or tensor.state != "same"]
    shown.sort(key=lambda tensor: -tensor.relative)
    if shown and not quiet:
        print(table(HEAD, [row_of(tensor) for tensor in shown[:top]], left=4))
        print()
    print(told(found))
    for note in () if quiet else found.notes:
        print(note)
