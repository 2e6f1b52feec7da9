"""The options of work that runs a model, declared once so that they read the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taut.evaluation.measured_drops import Score
    from taut.networks.outputs import Loss

RunnableArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A .safetensors file, a sharded index, a Hugging Face folder, a .pt/.bin file, an "
        ".onnx model, a .gguf file, or file.py:function that gives a module. To be run (--calib, "
        "--train), a folder, a .gguf file, file.py:function, or, with --calib, an .onnx.",
        show_default=False,
    ),
]
CalibOption = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="What the model is run on: texts or chats (.txt, .jsonl, .parquet, a folder of them, "
        "or default: those that come with Taut), tokens or arrays (.npy, .npz, .pt), or "
        "file.py:function that gives batches. Options follow: chats.jsonl,length=512,blend=0.",
    ),
]
EvalOption = Annotated[
    str | None,
    typer.Option(
        "--score",
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
OutputKindOption = Annotated[
    str | None,
    typer.Option(
        "--output-kind",
        metavar="KIND",
        help="With --calib: what the output holds: logits, probabilities or features; of "
        "several outputs policy=logits,value=features. By default told by its values.",
    ),
]
OutputsOption = Annotated[
    str | None,
    typer.Option(
        "--outputs",
        metavar="NAMES",
        help="With --calib: what several outputs count, by name or number: policy=1,value=0.1; "
        "names alone (policy) choose those that count. By default all count alike.",
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
        help="With --train: file.py:function that gives the network to learn from, or that is "
        "called as one; by default it is the original.",
    ),
]
SeedOption = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Where random numbers begin; 0 if not given.")
]


def score_named(spec: str | None) -> Score | None:
    """The score function that `--score` names."""
    from typing import cast

    from taut.networks import load_callable

    return None if spec is None else cast("Score", load_callable(spec))


def loss_named(spec: str | None) -> Loss | None:
    """The loss function that `--loss` names."""
    from typing import cast

    from taut.networks import load_callable

    return None if spec is None else cast("Loss", load_callable(spec))


def check_named(*specs: str | None) -> None:
    """Whether functions that options name as file.py:function are there; this runs their files.

    Raises:
        ArgumentError: there is no such file or name, or the file fails.
    """
    from taut.networks.callables import load_named, names_callable

    for spec in specs:
        if spec is not None and names_callable(spec) and spec.rpartition(":")[2].isidentifier():
            load_named(spec)


def check_training(train: str | None, beside: Mapping[str, object]) -> None:
    """Whether the options beside `--train` go with it, and with what it names.

    Raises:
        ArgumentError: one goes with what is not there, or would change nothing.
    """
    from typing import cast

    from taut.errors import ArgumentError
    from taut.transform.settings import Training

    given = [name for name, value in beside.items() if value is not None]
    if train is None and given:
        raise ArgumentError(f"--{given[0]}: goes with --train; give what the model is trained on")
    settings = [name for name in given if name != "teacher"]
    Training(lr=cast("float | None", beside.get("lr")))
    if train is not None and settings and _says_itself(train):
        raise ArgumentError(
            f"--{settings[0]}: {train} says itself how long it trains, and how fast; leave it out, "
            "or name a function that gives batches"
        )


def _says_itself(train: str) -> bool:
    """Whether what `--train` names is a loop, and no batches for the built-in one."""
    from taut.training import open_train
    from taut.transform.settings import Training

    training = Training()
    return getattr(open_train(train, training), "training", None) is not training
