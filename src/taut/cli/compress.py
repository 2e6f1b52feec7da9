"""`taut compress`: a model in, one smaller verified file (or folder) out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taut.cli._guard import guarded
from taut.cli._inputs import (
    CalibOption,
    EpochsOption,
    EvalOption,
    LossOption,
    OutputKindOption,
    OutputsOption,
    RateOption,
    RunnableArgument,
    SeedOption,
    TeacherOption,
    TrainOption,
    check_named,
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
    RayOption,
    StrictOption,
    ThreadsOption,
    VerboseOption,
)
from taut.cli._streams import is_standard_output, streaming
from taut.cli._talk import Talk, begin, hold_back

if TYPE_CHECKING:
    from taut.cli._report import AskedFor
    from taut.networks.sources import Model


@guarded
@streaming
def command(
    model: RunnableArgument,
    output: OutputOption = None,
    base: Annotated[
        list[Path] | None,
        typer.Option(
            "--base",
            metavar="MODEL",
            help="Write a delta: what the model differs by from this one, which is then needed to "
            "read it. Once more for the base of a base that is a delta itself.",
        ),
    ] = None,
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
    output_kind: OutputKindOption = None,
    outputs: OutputsOption = None,
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
    no_fold: Annotated[
        bool,
        typer.Option(
            "--no-fold",
            help="Lossy: leave batch norms as they are. By default those of a network are folded "
            "into the weights before them, and the file has identities in their place.",
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
    most_memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            metavar="SIZE",
            help="With --calib: memory that may be taken, as 8GB; a run that takes more is refused "
            "before it starts. By default what the machine has free.",
        ),
    ] = None,
    scratch: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="With --calib: where large temporary files go; they vanish with the run.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE",
            help="With --calib: collect the curvature on this device, as cuda, a block at a time.",
        ),
    ] = None,
    shard_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Write a folder of shards, each of at most so much of the model, as 5GB; by "
            "default as the source has them.",
        ),
    ] = None,
    ray: RayOption = None,
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
    from taut.cli._checks import check_new, check_shards
    from taut.cli._kept import saying_what_is_kept
    from taut.cli._report import AskedFor, print_json
    from taut.cli._said import say_result
    from taut.compression.request import check_purpose, check_words
    from taut.container.default_names import compressed_path
    from taut.networks.sources import built, chosen
    from taut.planning.target import parse_bytes

    asked = AskedFor(
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
        finish=not no_finish,
    )
    _check(asked, model, score, base)
    folds, finishes = _denied(no_fold), _denied(no_finish)
    words = {
        **vars(asked),
        "memory": most_memory,
        "scratch": scratch,
        "device": device,
        "output": output_kind,
        "outputs": outputs,
        "loss": loss,
        "finish": finishes,
        "fold": folds,
    }
    check_words(words)
    check_purpose(words)
    if most_memory is not None:
        parse_bytes(most_memory, "memory (--memory)")
    talk = Talk(quiet, verbose)
    target = output or compressed_path(model)
    kept = None if dry_run or is_standard_output(output) else target
    check_shards(target, shard_size)
    if kept is not None and kept.resolve() != Path(model).resolve():  # else refused for what it is
        check_new(kept, force=force, told=asked.in_short)
    with saying_what_is_kept(talk, kept), talk.progress(("verify",), asked.costs) as step:
        judge, lost = score_named(score), loss_named(loss)
        check_training(train, {"epochs": epochs, "lr": lr, "teacher": teacher})
        check_named(calib, train, teacher)
        # Once: a file of code may build another network each time.
        src = chosen(built(model), key, strict=strict)
        nbytes, lines = _introduction(
            asked, src, target, named=output is not None or dry_run, base=base
        )
        hold_back(step, lines, nbytes)
        result = taut.compress(
            src,
            target,
            bits=bits,
            size=size,
            max_drop=max_drop,
            calib=calib,
            score=judge,
            loss=lost,
            output=output_kind,
            outputs=outputs,
            train=train,
            teacher=teacher,
            epochs=epochs,
            lr=lr,
            plan=plan,
            finish=finishes,
            fold=folds,
            resume=resume,
            memory=most_memory,
            scratch=scratch,
            device=device,
            shard_size=shard_size,
            ray=ray,
            base=base or None,
            seed=seed,
            effort=effort,
            threads=threads,
            force=force,
            dry_run=dry_run,
            progress=step,
        )
        begin(step)
    say_result(talk, result, dry_run=dry_run)
    if json:
        print_json(result)


def _denied(flag: bool) -> bool | None:
    """False where a `--no-` option is given, None where nothing is said."""
    return False if flag else None


def _check(
    asked: AskedFor, model: str, score: str | None, base: Sequence[str | Path] | None
) -> None:
    """Whether the options make sense by themselves; raises ArgumentError if not."""
    from taut.cli._checks import check_asked, check_base, check_data, check_model, check_plan
    from taut.errors import ArgumentError

    check_asked(asked.bits, asked.size, asked.max_drop)
    check_base(base, vars(asked))
    if asked.max_drop is not None and score is None:
        raise ArgumentError("--max-drop: give the score that may fall so far (--score)")
    check_data("--calib", asked.calib)
    check_plan(asked.plan)
    check_model(model, original=True, runs=bool(asked.calib or asked.train))


def _introduction(
    asked: AskedFor,
    src: Model,
    target: Path,
    *,
    named: bool,
    base: Sequence[str | Path] | None,
) -> tuple[int, list[tuple[str, str]]]:
    """The model's bytes, and what is said before the work: the model, what it becomes, and where.

    Raises:
        ArgumentError: it cannot become that.
    """
    from taut.cli._checks import check_fits
    from taut.cli._report import model_text, needs_text, plan_text
    from taut.io import open_source
    from taut.io.quantized import as_floats

    stored = source = open_source(src)
    if asked.loses:
        source = as_floats(source)
    check_fits(source, asked.bits, asked.size)
    stands = str(base[0]) if base else None
    lines = [
        ("model", f"{model_text(source, stored)}    {needs_text(asked, source)}"),
        ("plan", plan_text(asked, roomy=asked.has_room(source), base=stands)),
    ]
    if not named:
        lines.append(("output", f"{target}    (-o names another)"))
    return source.nbytes, lines
