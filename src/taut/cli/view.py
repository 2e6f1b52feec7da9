"""`taut view`: a page with the bytes, bits and values of a file, opened in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from taut.cli._guard import guarded
from taut.cli._options import BaseOption, ForceOption, QuietOption
from taut.cli._streams import refusing_streams


@guarded
@refusing_streams()
def command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A Taut, safetensors or GGUF file, or a folder of shards.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Keep the page there, and open no browser; by default, in a temporary file.",
        ),
    ] = None,
    base: BaseOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show what a file holds in the browser: a treemap, bits by layer, histograms, a list.

    The page is one file that needs no network and no server.
    """
    from taut.cli._checks import check_new
    from taut.cli._kinds import INDEX, check_kind
    from taut.container import check_destination, write_file
    from taut.reporting.viewer import view_page

    check_kind("FILE", file, INDEX)
    if output is not None:
        check_new(output, force=force)
        check_destination(output, force=force)
        write_file(output, view_page(file, base=base or None).encode(), force=force)
        if not quiet:
            print(output)
        return
    _open(file, base or None, quiet)


def _open(file: Path, base: list[Path] | None, quiet: bool) -> None:
    """Put the page into a temporary folder, and hand it to the browser."""
    import tempfile
    import webbrowser

    from taut.errors import TautError
    from taut.reporting.viewer import view_page

    text = view_page(file, base=base)
    page = Path(tempfile.mkdtemp(prefix="taut-view-"), "view.html")
    page.write_text(text, encoding="utf-8")
    if not quiet:
        print(page)
    if not webbrowser.open(page.as_uri()):
        raise TautError(f"no browser could be opened here; the page is {page}")
