"""`taut info`: what is in a file, layer by layer or tensor by tensor."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from taut.cli._guard import guarded
from taut.cli._options import FileArgument, JsonOption, QuietOption
from taut.cli._streams import streaming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taut.container.info import Info, TensorReport
    from taut.reporting.alike_layers import Line


@guarded
@streaming
def command(
    file: FileArgument,
    tensor: Annotated[
        str | None,
        typer.Option(
            metavar="GLOB", help="The tensors with such names alone, each on a line; or re:PATTERN."
        ),
    ] = None,
    each: Annotated[
        bool,
        typer.Option("--each", help="Every tensor on a line of its own.", show_default=False),
    ] = False,
    sort: Annotated[
        Literal["file", "name", "bytes", "bits", "error"] | None,
        typer.Option(
            help="What comes first: as in the file, or the most of it. By default as in the file; "
            "with --top, the most bytes."
        ),
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="The first N lines alone.")
    ] = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Show scheme, bytes and error of what is in a file, and the totals.

    Layers that are alike in all but their number stand on one line, with their bytes together and
    the error of the worst.
    """
    import taut
    from taut.cli._kinds import INDEX, check_kind
    from taut.cli._report import print_json, totals_text

    check_kind("FILE", file, INDEX)
    found = taut.info(file)
    if json:
        print_json(found)
        return
    if not quiet:
        order = sort or ("bytes" if top else "file")
        print(_table(found, _tensors(found, tensor), each or tensor is not None, order, top))
        print()
    print(_fitted(totals_text(found)))


def _fitted(text: str) -> str:
    """A line, broken between words where the terminal is narrower."""
    import textwrap

    if not sys.stdout.isatty():
        return text
    return textwrap.fill(text, max(20, shutil.get_terminal_size().columns))


def _table(
    found: Info, tensors: Sequence[TensorReport], each: bool, sort: str, top: int | None
) -> str:
    """What is to be shown, in order, as wide as the terminal where there is one."""
    from taut.cli._lines_table import lines_table
    from taut.reporting.alike_layers import MOST_LINES, SORTS, each_line, layer_lines

    def ordered(lines: list[Line]) -> list[Line]:
        return lines if sort == "file" else sorted(lines, key=SORTS[sort])

    lines = ordered(each_line(tensors) if each else layer_lines(tensors))
    whole = len(lines)

    def cut(room: int) -> list[Line]:
        nonlocal whole
        fewer = ordered(layer_lines(tensors, MOST_LINES, room))
        whole = len(fewer)
        return fewer[:top]

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    text = lines_table(lines[:top], width, None if each else cut)
    left = whole - min(whole, top or whole)
    return f"{text}\nand {left} more" if left else text


def _tensors(found: Info, pattern: str | None) -> Sequence[TensorReport]:
    return found.tensors if pattern is None else _matching(found, pattern)


def _matching(found: Info, pattern: str) -> tuple[TensorReport, ...]:
    """The tensors of such names; ArgumentError if there are none, or it is no pattern."""
    import re

    from taut.errors import ArgumentError
    from taut.io.names import nearest
    from taut.planning.pattern import matching

    by_name = {tensor.name: tensor for tensor in found.tensors}
    try:
        names = matching(pattern, by_name)
    except re.error as error:
        raise ArgumentError(f'--tensor: "{pattern}" is no pattern ({error})') from None
    if not names:
        near = nearest(pattern.strip("*"), by_name)
        raise ArgumentError(f'--tensor: "{pattern}" matches no tensor of {found.path}{near}')
    return tuple(by_name[name] for name in names)
