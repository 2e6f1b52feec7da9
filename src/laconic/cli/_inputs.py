"""The options of work that runs a model, declared once so that they read the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from laconic.analyze.losses import Loss
    from laconic.trial import Score

RunnableArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A .safetensors file, a sharded index, a Hugging Face folder, a .pt/.bin file, or "
        "file.py:function that gives a module. To be run (--calib, --train), a folder or "
        "file.py:function.",
        show_default=False,
    ),
]
CalibOption = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="What the model is run on: .txt or .jsonl of texts, .npz of arrays, or "
        "file.py:function that gives batches.",
    ),
]
EvalOption = Annotated[
    str | None,
    typer.Option(
        "--eval",
        metavar="FILE:NAME",
        help="file.py:function that takes the model and gives its score, higher being better.",
    ),
]
LossOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE:NAME",
        help="file.py:function that takes an output and its batch and gives the loss to keep low; "
        "by default the model's own output is kept.",
    ),
]
TrainOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE:NAME",
        help="file.py:function that gives batches to train on, as (input, target), or that is "
        "itself fit(model, loss): it trains the model with the loss.",
    ),
]
EpochsOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="With --train batches: how often all are gone through."),
]
RateOption = Annotated[
    float | None, typer.Option("--lr", metavar="X", help="With --train batches: the learning rate.")
]
TeacherOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE:NAME",
        help="With --train: file.py:function that gives the model to learn from; by default it is "
        "the original.",
    ),
]
SeedOption = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Where random numbers begin; 0 if not given.")
]


def score_named(spec: str | None) -> Score | None:
    """The score function that `--eval` names."""
    from typing import cast

    from laconic.inputs import load_callable

    return None if spec is None else cast("Score", load_callable(spec))


def loss_named(spec: str | None) -> Loss | None:
    """The loss function that `--loss` names."""
    from typing import cast

    from laconic.inputs import load_callable

    return None if spec is None else cast("Loss", load_callable(spec))


def training_named(
    train: str | None, epochs: int | None, lr: float | None, teacher: str | None
) -> dict[str, object]:
    """What `--train` and the options beside it give the verb `compress`; nothing where not given.

    Raises:
        ArgumentError: an option goes with another that is not there, or a function is of no use.
    """
    from laconic.errors import ArgumentError

    beside: dict[str, object] = {"epochs": epochs, "lr": lr, "teacher": teacher}
    given = {name: value for name, value in beside.items() if value is not None}
    if train is None:
        for name in given:
            raise ArgumentError(f"--{name}: goes with --train; give what the model is trained on")
        return {}
    function, fits = _trainer(train)
    for name in ("epochs", "lr") if fits else ():
        if name in given:
            raise ArgumentError(
                f"--{name}: {train} is a fit(model, loss), which says itself how long and how "
                "fast; leave it out, or name a function that gives batches"
            )
    if lr is not None and not 0 < lr <= 100:
        raise ArgumentError(f"--lr: {lr:g} cannot be; give a positive number, as 0.001")
    if teacher is not None:
        given["teacher"] = _teacher(teacher)
    return {"train": function, **given}


def _trainer(spec: str) -> tuple[Callable[..., object], bool]:
    """The function that `--train` names, and whether it is a fit(model, loss)."""
    import inspect

    from laconic.errors import ArgumentError
    from laconic.inputs import load_callable

    function = load_callable(spec)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of C code: no parameters are known
        return function, False
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in parameters if p.default is p.empty and p.kind in plain]
    asked = [p for p in parameters if p.default is p.empty and p.kind == p.KEYWORD_ONLY]
    if len(needed) not in (0, 2) or asked:
        names = ", ".join(p.name for p in [*needed, *asked])
        raise ArgumentError(
            f"{spec}: takes ({names}); a function that gives batches takes nothing, one that "
            "trains takes (model, loss)"
        )
    return function, len(needed) == 2


def _teacher(spec: str) -> torch.nn.Module:
    """The model that `--teacher` names, in evaluation mode."""
    from laconic.inputs import open_model

    return open_model(spec).module
