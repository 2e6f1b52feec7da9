"""`taut compress`: a model in, one smaller verified file (or folder) out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taut.cli._guard import guarded
from taut.cli._inputs import (
    CalibOption,
    EpochsOption,
    EvalOption,
    LossOption,
    RateOption,
    RunnableArgument,
    SeedOption,
    TeacherOption,
    TrainOption,
    check_training,
    loss_named,
    score_named,
)
from taut.cli._options import (
    DryRunOption,
    EffortOption,
    ForceOption,
    JsonOption,
    KeyOption,
    OutputOption,
    QuietOption,
    StrictOption,
    ThreadsOption,
    VerboseOption,
)
from taut.cli._streams import shown, streaming
from taut.cli._talk import Step, Talk

if TYPE_CHECKING:
    from taut.compression.result import Result

_NOTES = 3  # that are shown without -v


@guarded
@streaming
def command(
    model: RunnableArgument,
    output: OutputOption = None,
    bits: Annotated[
        float | None,
        typer.Option(metavar="B", help="Lossy: bits per weight, everything in the file counted."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Lossy: the size of the file, as 8x, 4.2MB or 12%."),
    ] = None,
    max_drop: Annotated[
        str | None,
        typer.Option(
            metavar="DROP", help="Lossy: what --score may lose: 0.5% of the score, or 0.005 off it."
        ),
    ] = None,
    calib: CalibOption = None,
    score: EvalOption = None,
    loss: LossOption = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A plan, as `taut plan` writes it, or a preset: edge, lossless, server, tiny "
            "(`taut plan --presets` says what they do).",
        ),
    ] = None,
    train: TrainOption = None,
    epochs: EpochsOption = None,
    lr: RateOption = None,
    teacher: TeacherOption = None,
    no_finish: Annotated[
        bool,
        typer.Option(
            "--no-finish",
            help="With --calib: leave biases and norms untuned.",
            show_default=False,
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with a run that broke off, from what it kept beside the output.",
            show_default=False,
        ),
    ] = False,
    shard_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Write a folder of shards, each of at most so much of the model, as 5GB; by "
            "default as the source has them.",
        ),
    ] = None,
    key: KeyOption = None,
    strict: StrictOption = False,
    seed: SeedOption = None,
    effort: EffortOption = None,
    threads: ThreadsOption = None,
    force: ForceOption = False,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Compress a model: bit-exact, or lossy to --bits, --size or --max-drop.

    With --calib, rounding minds what the model makes of its data: far less is lost. With --train
    the model itself learns to be small: that takes longest, and goes furthest.
    """
    import taut
    from taut.cli._paths import compressed_path
    from taut.cli._report import AskedFor, model_text, plan_text, print_json, tensor_table
    from taut.encoding.estimate import estimate_memory
    from taut.io import open_source
    from taut.networks.sources import built, chosen
    from taut.reporting.numbers import size as size_text

    talk = Talk(quiet)
    judge, lost = score_named(score), loss_named(loss)
    check_training(train, {"epochs": epochs, "lr": lr, "teacher": teacher})
    src = chosen(
        built(model), key, strict=strict
    )  # once: a file of code may build another network each time
    source = open_source(src)
    peak = estimate_memory(source, calibrated=bool(calib or train))
    talk.line("model", f"{model_text(source)}    peak memory about {size_text(peak)}")
    wanted = AskedFor(
        bits=bits,
        size=size,
        effort=effort,
        max_drop=max_drop,
        calib=calib,
        plan=plan,
        train=train,
        epochs=epochs,
        lr=lr,
        teacher=teacher,
    )
    talk.line("plan", plan_text(wanted))
    with talk.progress(hide=("verify",)) as step:
        result = taut.compress(
            src,
            output or compressed_path(model),
            bits=bits,
            size=size,
            max_drop=max_drop,
            calib=calib,
            score=judge,
            loss=lost,
            train=train,
            teacher=teacher,
            epochs=epochs,
            lr=lr,
            plan=plan,
            finish=False if no_finish else None,
            resume=resume,
            shard_size=shard_size,
            seed=seed,
            effort=effort,
            threads=threads,
            force=force,
            dry_run=dry_run,
            progress=_telling_scores(talk, step),
        )
    if verbose:
        print(tensor_table(result), file=sys.stderr)
    _say_notes(talk, result, verbose)
    _say_score(talk, result)
    (_say_estimate if dry_run else _say_done)(talk, result)
    if json:
        print_json(result)


def _telling_scores(talk: Talk, step: Step | None) -> Step | None:
    """`step`, but for the scores: they are no stage, and each of them is a line."""
    if step is None:
        return None

    def told(stage: str, done: int, total: int) -> None:
        label, _, score = stage.partition(" ")
        if label == "score" and score:
            talk.line(label, f"{score}    try {done} of at most {total}")
        else:
            step(stage, done, total)

    return told


def _say_notes(talk: Talk, result: Result, verbose: bool) -> None:
    shown = result.notes if verbose else result.notes[:_NOTES]
    for note in shown:
        talk.line("note", note)
    if left := len(result.notes) - len(shown):
        talk.line("note", f"and {left} more, which -v shows")


def _say_score(talk: Talk, result: Result) -> None:
    from taut.cli._report import scores_text

    if result.score is not None and result.original_score is not None:
        talk.line("accuracy", scores_text(result.original_score, result.score))


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
