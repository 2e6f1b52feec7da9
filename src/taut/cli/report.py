"""`taut report`: one page that shows what a compression cost, and bought."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from taut.cli._guard import guarded
from taut.cli._options import FileArgument, ForceOption, JsonOption, KeyOption, QuietOption
from taut.cli._streams import refusing_streams
from taut.cli._talk import Talk
from taut.container.default_names import page_path


@guarded
@refusing_streams()
def command(
    file: FileArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The page; by default, FILE with .html."
        ),
    ] = None,
    original: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="What was compressed, a file, a folder or file.py:function: shows values before "
            "and after.",
        ),
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option("--score", metavar="JSON", help="What taut eval --json printed."),
    ] = None,
    frontier: Annotated[
        Path | None,
        typer.Option(metavar="JSON", help="What taut frontier --json printed."),
    ] = None,
    analysis: Annotated[
        Path | None,
        typer.Option(metavar="JSON", help="What taut analyze -o wrote: shows sensitivity."),
    ] = None,
    exports: Annotated[
        list[Path] | None,
        typer.Option(
            "--export", metavar="JSON", help="What taut export --json printed; may be repeated."
        ),
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(metavar="YAML", help="The plan, shown as it is.")
    ] = None,
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The page's title; by default, FILE's name.")
    ] = None,
    charts: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write every chart as SVG and PNG, too."),
    ] = None,
    key: KeyOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Write a report on a Taut file: one HTML page that needs no network.

    With --json, names of the files written are on stdout.
    """
    from taut.cli._checks import check_new
    from taut.cli._kinds import PLAN, check_kinds
    from taut.container import check_destination
    from taut.networks.sources import built, chosen
    from taut.reporting.page import write_charts, write_page
    from taut.reporting.tell import Evidence, tell

    check_kinds(
        [
            ("FILE", file, ""),
            ("--score", evaluation, "evaluation"),
            ("--frontier", frontier, "frontier"),
            ("--analysis", analysis, "analysis"),
            ("--plan", plan, PLAN),
            *(("--export", one, "export") for one in exports or ()),
        ]
    )
    page = output or page_path(file)
    check_new(page, force=force)
    check_destination(page, force=force)
    evidence = Evidence(
        evaluation=evaluation,
        frontier=frontier,
        analysis=analysis,
        exports=exports or (),
        plan=plan,
    )
    whole = None if original is None else chosen(built(original), key)
    story = tell(file, evidence, original=whole, title=title)
    talk = Talk(quiet)
    write_page(page, story, force=force)
    talk.line("wrote", str(page))
    written: list[Path] = []
    if charts is not None:
        written += write_charts(charts, story, "svg", force=force)
        written += write_charts(charts, story, "png", force=force)
        talk.line("wrote", f"{len(written)} files in {charts}")
    if json:
        _print(page, written)


def _print(page: Path, charts: list[Path]) -> None:
    import json

    tree = {"page": str(page), "size": page.stat().st_size, "charts": [str(p) for p in charts]}
    print(json.dumps(tree, indent=2))
