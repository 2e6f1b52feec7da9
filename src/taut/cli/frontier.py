"""`taut frontier`: the model at many sizes, judged; what each byte buys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taut.cli._guard import guarded
from taut.cli._inputs import (
    CalibOption,
    EvalOption,
    LossOption,
    OutputKindOption,
    OutputsOption,
    RunnableArgument,
    SeedOption,
    check_named,
    loss_named,
    score_named,
)
from taut.cli._options import (
    EffortOption,
    ForceOption,
    JsonOption,
    KeyOption,
    QuietOption,
    StrictOption,
    ThreadsOption,
    VerboseOption,
)
from taut.cli._streams import refusing_streams
from taut.cli._talk import Talk, begin, hold_back

if TYPE_CHECKING:
    from taut.sweep.pareto import Frontier


@guarded
@refusing_streams()
def command(
    model: RunnableArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FOLDER", help="Keep the files and finished points here."
        ),
    ] = None,
    bits: Annotated[
        str | None,
        typer.Option(
            metavar="B,B",
            help="Bits per weight to try, as 2,2.5,3; by default eight from 2 to 8.",
        ),
    ] = None,
    sizes: Annotated[
        str | None, typer.Option(metavar="SIZE,SIZE", help="Or sizes, as 8x,4.2MB,12%.")
    ] = None,
    points: Annotated[
        int | None, typer.Option(metavar="N", help="Or N points from --from to --to.")
    ] = None,
    low: Annotated[
        float | None, typer.Option("--from", metavar="B", help="Bits of the first of --points: 2.")
    ] = None,
    high: Annotated[
        float | None, typer.Option("--to", metavar="B", help="Bits of the last of --points: 8.")
    ] = None,
    schemes: Annotated[
        str | None,
        typer.Option(
            metavar="S,S",
            help="Grids of runtimes to hold it against, as int8,int4:g128,int3 (the default); "
            "none leaves them out.",
        ),
    ] = None,
    calib: CalibOption = None,
    score: EvalOption = None,
    loss: LossOption = None,
    output_kind: OutputKindOption = None,
    outputs: OutputsOption = None,
    max_drop: Annotated[
        str | None,
        typer.Option(
            metavar="DROP", help="Name the smallest file that loses at most so much: 0.5% or 0.005."
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the points as CSV.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with the curve.")
    ] = None,
    charts: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write its charts as SVG and PNG, too."),
    ] = None,
    no_finish: Annotated[
        bool,
        typer.Option(
            "--no-finish",
            help="With --calib: leave biases and norms untuned; it takes most of the time.",
            show_default=False,
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on from the points of an earlier sweep.", show_default=False
        ),
    ] = False,
    key: KeyOption = None,
    strict: StrictOption = False,
    seed: SeedOption = None,
    effort: EffortOption = None,
    threads: ThreadsOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Show what size costs: compress at many settings, judge every file, find the knee.

    Files are judged by --score, else by the outputs on --calib, else by their weights.
    """
    import taut
    from taut.cli._checks import check_code, check_data, check_model
    from taut.cli._frontier import (
        CurveAsked,
        Outputs,
        frontier_path,
        frontier_table,
        listed,
        numbers,
    )
    from taut.cli._kept import saying_what_is_kept
    from taut.cli._report import model_text, print_json
    from taut.compression.request import check_words
    from taut.io import open_source
    from taut.networks.sources import built, chosen
    from taut.planning.target import check_target
    from taut.sweep.pareto import check_drop
    from taut.sweep.places import JOURNAL
    from taut.sweep.points import read_settings

    talk = Talk(quiet, verbose)
    check_drop(max_drop)
    check_data("--calib", calib)
    check_model(model, original=True, runs=calib is not None)
    for asked in listed(sizes) or ():
        check_target(size=asked)
    dials, grids = numbers("--bits", bits), listed(schemes)
    read_settings(bits=dials, sizes=listed(sizes), points=points, low=low, high=high, schemes=grids)
    check_code("--score", score)
    check_code("--loss", loss)
    check_words({"calib": calib, "loss": loss, "output": output_kind, "outputs": outputs})
    written = Outputs(csv, html, charts, force)
    written.check()
    journal = frontier_path(model) if output is None else None
    kept = saying_what_is_kept(talk, points=journal or Path(str(output), JOURNAL))
    with kept, talk.progress() as step:
        judge, lost = score_named(score), loss_named(loss)
        check_named(calib)
        src = chosen(built(model), key, strict=strict)
        hold_back(step, [("model", model_text(open_source(src)))])
        found = taut.frontier(
            src,
            output,
            bits=dials,
            sizes=listed(sizes),
            points=points,
            low=low,
            high=high,
            schemes=grids,
            calib=calib,
            score=judge,
            loss=lost,
            output=output_kind,
            outputs=outputs,
            finish=False if no_finish else None,
            seed=seed,
            effort=effort,
            threads=threads,
            journal=journal,
            resume=resume,
            force=force,
            progress=step,
        )
        begin(step)
    _say(talk, found, verbose)
    if json:
        print_json(found)
    else:
        print(frontier_table(found))
    _say_choice(talk, found, max_drop)
    for told in written.write(
        found, src, output, CurveAsked(max_drop, score, calib)
    ):  # last: the table is there if this fails
        talk.line("wrote", told)


def _say(talk: Talk, found: Frontier, verbose: bool) -> None:
    """What is judged, what could not be made, and what went otherwise than asked."""
    from taut.reporting.plain_text import plural

    talk.line("measure", found.measure)
    for one in found.missed:
        talk.line("missed", f"{one.name}: {one.reason}")
    notes = [*found.notes, *(n for point in found.points for n in point.notes if verbose)]
    talk.notes(dict.fromkeys(notes))
    seconds = sum(point.seconds for point in found.points)
    talk.line("cost", f"{plural(len(found.points), 'point')} in {seconds:.0f} s")


def _say_choice(talk: Talk, found: Frontier, max_drop: str | None) -> None:
    """The knee, and what --max-drop asks for."""
    from taut.cli._frontier import point_text

    if found.knee is not None:
        talk.line("knee", point_text(found[found.knee]))
    else:
        talk.line("knee", "none: no point is above the line from the smallest to the largest")
    if max_drop is not None:
        point = found.smallest(max_drop)
        told = "no point loses so little" if point is None else point_text(point)
        talk.line("smallest", f"at most {max_drop} lost: {told}")
