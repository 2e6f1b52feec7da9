"""The options of work that runs a model, declared once so that they read the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from laconic.analyze.losses import Loss
    from laconic.trial import Score

RunnableArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A .safetensors file, a sharded index, a Hugging Face folder, a .pt/.bin file, or "
        "file.py:function that gives a module. With --calib, a folder or file.py:function.",
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
