"""`taut report`: one page that shows what a compression cost, and bought."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taut.cli._guard import guarded
from taut.cli._options import FileArgument, ForceOption, JsonOption, KeyOption, QuietOption
from taut.cli._streams import refusing_streams
from taut.cli._talk import Talk
from taut.errors import ArgumentError

if TYPE_CHECKING:
    from taut.networks.sources import Model
    from taut.reporting.story import Story


@guarded
@refusing_streams()
def command(
    file: FileArgument,
    other: Annotated[
        Path | None,
        typer.Argument(
            metavar="OTHER",
            help="Another Taut file of the same model: both on one page.",
            show_default=False,
        ),
    ] = None,
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
        list[Path] | None,
        typer.Option(
            "--score",
            metavar="JSON",
            help="What taut eval --json printed; of two files twice, FILE's first.",
        ),
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

    With OTHER, both files stand side by side. With --json, names of the files written are on
    stdout.
    """
    from taut.cli._checks import check_new
    from taut.cli._kinds import PLAN, check_kinds
    from taut.cli._signed import signed
    from taut.container import check_destination
    from taut.container.default_names import page_path
    from taut.reporting.page import write_page
    from taut.reporting.tell import Evidence, tell

    check_kinds(
        [
            ("FILE", file, ""),
            ("OTHER", other, ""),
            *(("--score", one, "evaluation") for one in evaluation or ()),
            ("--frontier", frontier, "frontier"),
            ("--analysis", analysis, "analysis"),
            ("--plan", plan, PLAN),
            *(("--export", one, "export") for one in exports or ()),
        ]
    )
    page = output or page_path(file, other)
    check_new(page, force=force)
    check_destination(page, force=force)
    judged = evaluation or []
    written: list[Path] = []
    if other is not None:
        _check_alone(
            ("--original", original),
            ("--frontier", frontier),
            ("--analysis", analysis),
            ("--export", exports),
            ("--plan", plan),
            ("--charts", charts),
            ("--title", title),
        )
        _compare(file, other, judged, page, force=force)
    else:
        evidence = Evidence(
            evaluation=_only(judged),
            frontier=frontier,
            analysis=analysis,
            exports=exports or (),
            plan=plan,
        )
        story = signed(tell(file, evidence, original=_whole(original, key), title=title))
        write_page(page, story, force=force)
        written += _charts(charts, story, force=force)
    talk = Talk(quiet)
    _say(talk, page, written)
    if json:
        _print(page, written)


def _whole(original: str | None, key: str | None) -> Model | None:
    """What was compressed."""
    from taut.networks.sources import built, chosen

    return None if original is None else chosen(built(original), key)


def _say(talk: Talk, page: Path, written: Sequence[Path]) -> None:
    talk.line("wrote", str(page))
    if written:
        talk.line("wrote", f"{len(written)} files in {written[0].parent}")


def _only(judged: Sequence[Path]) -> Path | None:
    """The evaluation of one file."""
    if len(judged) > 1:
        raise ArgumentError("--score: twice is for two files; one file has one evaluation")
    return judged[0] if judged else None


def _charts(folder: Path | None, story: Story, *, force: bool) -> list[Path]:
    """Write every chart as files of both kinds, where a folder is given for them."""
    from taut.reporting.page import write_charts

    if folder is None:
        return []
    svgs = write_charts(folder, story, "svg", force=force)
    return [*svgs, *write_charts(folder, story, "png", force=force)]


def _check_alone(*options: tuple[str, object]) -> None:
    """Whether two files are asked for with nothing that is about one alone."""
    given = [name for name, value in options if value]
    if given:
        raise ArgumentError(f"{given[0]}: is for a report on one file; leave it out, or OTHER")


def _compare(file: Path, other: Path, judged: Sequence[Path], page: Path, *, force: bool) -> None:
    """Write the page on two files."""
    from taut.cli._signed import facts_now
    from taut.reporting.comparison import compare_files
    from taut.reporting.comparison_page import write_comparison

    if len(judged) > 2:
        raise ArgumentError("--score: give it once or twice, for two files")
    found = compare_files(file, other, tuple(judged))
    write_comparison(page, found, facts_now(), force=force)


def _print(page: Path, charts: list[Path]) -> None:
    import json

    tree = {"page": str(page), "size": page.stat().st_size, "charts": [str(p) for p in charts]}
    print(json.dumps(tree, indent=2))
