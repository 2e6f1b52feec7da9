"""`taut analyze`: what a model holds, and which tensors it minds being rounded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from taut.cli._guard import guarded
from taut.cli._inputs import (
    CalibOption,
    EvalOption,
    LossOption,
    RunnableArgument,
    SeedOption,
    loss_named,
    score_named,
)
from taut.cli._options import (
    ForceOption,
    JsonOption,
    KeyOption,
    QuietOption,
    StrictOption,
    ThreadsOption,
)
from taut.cli._streams import refusing_streams
from taut.cli._talk import Talk


@guarded
@refusing_streams()
def command(
    model: RunnableArgument,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write the report as JSON."),
    ] = None,
    calib: CalibOption = None,
    score: EvalOption = None,
    loss: LossOption = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Round each matrix alone and judge the model, by --score or by its outputs.",
            show_default=False,
        ),
    ] = False,
    scheme: Annotated[
        str, typer.Option(metavar="SCHEME", help="What --measure rounds by.")
    ] = "rd:2",
    top: Annotated[
        int, typer.Option(min=0, metavar="N", help="Tensors to show; 0 shows all.")
    ] = 20,
    key: KeyOption = None,
    strict: StrictOption = False,
    seed: SeedOption = None,
    threads: ThreadsOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Describe a model: structure, distributions, and what rounding would cost.

    With --calib, curvature predicts the loss of each matrix under each scheme.
    """
    import taut
    from taut.cli._checks import check_data, check_model
    from taut.cli._report import print_json
    from taut.cli._tables import facts_table, scheme_table, summary_text
    from taut.container import check_destination

    if output is not None:
        check_destination(output, force=force)
    check_data("--calib", calib)
    check_model(model, runs=calib is not None)
    talk = Talk(quiet)
    with talk.progress() as step:
        report = taut.analyze(
            model,
            calib,
            loss=loss_named(loss),
            measure=scheme if measure else False,
            score=score_named(score),
            threads=threads,
            seed=seed or 0,
            key=key,
            strict=strict,
            progress=step,
        )
    if output is not None:
        _write(output, report.to_json(), force)
        talk.line("wrote", str(output))
    if json:
        print_json(report)
        return
    if not quiet:
        print(facts_table(report, top))
        if schemes := scheme_table(report):
            print(f"\n{schemes}")
        print()
    print(summary_text(report))


def _write(path: Path, tree: dict[str, object], force: bool) -> None:
    import json

    from taut.container import AtomicFile

    with AtomicFile(path, force=force) as file:
        file.write(json.dumps(tree, indent=2).encode() + b"\n")
        file.commit()
