"""What a call with training writes: the network is opened, made smaller, trained, and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from taut.compression.request import Asked, Decision, allowed_of
from taut.container import Origin
from taut.errors import ArgumentError
from taut.io import Source, open_source
from taut.networks.quick_products import quick_products
from taut.progress import Progress, begin_work, counted
from taut.scheme import Scheme
from taut.transform.settings import Channels, Training

if TYPE_CHECKING:
    import torch

    from taut.networks import LoadedModel
    from taut.planning import Recipe
    from taut.training.epochs import Batches
    from taut.training.loop import Task
    from taut.training.objective import Fit as Loop
    from taut.transform.channels_job import PrunedNetwork


@quick_products()
def decide_trained(
    source: Source,
    asked: Asked,
    origin: Origin,
    spec: object,
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Decision:
    """Train a network towards what is asked for.

    Raises:
        ArgumentError: the model cannot be run, the data does not fit it, the loop fails.
        TargetError: the size or the score cannot be met.
    """
    from taut.networks import open_model
    from taut.training import TrainedRun, TrainRequest, open_teacher

    call, allowed = asked.call, allowed_of(asked.call)
    target = asked.target(source)
    fit, training = _loop(asked)  # first: it may be refused
    opened = counted(progress, "open", 2)
    teacher = open_teacher(call.teacher)
    model = open_model(spec)  # type: ignore[arg-type]  # refused in words there
    if not model.gradients:
        raise ArgumentError("train: an ONNX model has no gradients; train the module it came from")
    opened()
    if asked.recipe is not None and asked.recipe.channels is not None:
        teacher = teacher or model.module
        model, source, origin = _narrowed(model, source, origin, asked.recipe.channels, fit)
    schemes = _schemes(source, asked, model, sized=target is not None or allowed is not None)
    request = TrainRequest(
        fit=fit,
        training=training,
        target=target,
        allowed=allowed,
        score=call.score,
        teacher=teacher,
        effort=call.effort or "max",
        threads=call.threads,
        seed=call.seed or 0,
        checkpoint=checkpoint,
        resume=call.resume,
    )
    begin_work(progress)
    opened()
    ready = TrainedRun(source, schemes, model, request, origin, progress).ready()
    return Decision(
        source=ready.source,
        schemes=ready.schemes or schemes,
        effort=request.effort,
        origin=origin,
        quantize=ready.quantize,
        size=ready.size,
        ready=ready,
    )


def _loop(asked: Asked) -> tuple[Loop, Training]:
    """The loop that trains, and its settings."""
    from taut.training import open_train

    call = asked.call
    assert call.train is not None
    training = _training(asked.recipe, call.epochs, call.lr)
    fit = open_train(call.train, training, call.loss)
    return fit, _said_once(asked, fit, training)


def _schemes(source: Source, asked: Asked, model: LoadedModel, *, sized: bool) -> dict[str, Scheme]:
    """What each tensor is trained towards.

    Raises:
        ArgumentError: tensors lie under the dial, and no size or score sets it (`sized`).
    """
    from taut.training import trained_schemes

    schemes = trained_schemes(source, asked.schemes, model.names, asked.settled)
    dialled = any(scheme.kind == "rd" for name, scheme in schemes.items() if name in asked.fixed)
    if not sized and (dialled or not asked.fixed):
        raise ArgumentError("train: give bits, size or max_drop for what it is to serve")
    return schemes


def _said_once(asked: Asked, fit: Loop, training: Training) -> Training:
    """The training of a loop that brings its own; of another, `training`.

    Raises:
        ArgumentError: the call says epochs or a rate beside a loop that says them itself.
    """
    from taut.training.loop import Fit

    call = asked.call
    own = isinstance(fit, Fit) and fit is call.train
    for name, value in (("epochs", call.epochs), ("lr", call.lr)):
        if value is not None and (own or not isinstance(fit, Fit)):
            raise ArgumentError(
                f"{name}: the loop that was given says itself how it trains; leave {name} out, or "
                "give batches"
            )
    recipe = asked.recipe
    if own and recipe is not None and (recipe.training, recipe.mask) != (None, None):
        raise ArgumentError(
            "plan: its steps train and mask, and the Fit that was given has settings of its own; "
            "leave one of the two out"
        )
    return fit.training if isinstance(fit, Fit) else training


def _training(recipe: Recipe | None, epochs: int | None, lr: float | None) -> Training:
    """The recipe's training, with what the call says itself."""
    training = Training()
    if recipe is not None:
        training = recipe.training or replace(training, mask=recipe.mask)
    given: dict[str, object] = {}
    if epochs is not None:
        given["epochs"] = epochs
    if lr is not None:
        given["lr"] = lr
    return replace(training, **given)  # type: ignore[arg-type]


def _narrowed(
    model: LoadedModel, source: Source, origin: Origin, channels: Channels, fit: object
) -> tuple[LoadedModel, Source, Origin]:
    """The network without the channels that are to go, as a model of its own."""
    from taut.networks import open_model

    pruned = _pruned(model, channels, fit)
    narrow = open_model(pruned.module)
    shapes = open_source(pruned.module)
    names = {info.name for info in source.infos}
    if any(info.name not in names for info in shapes.infos):
        raise ArgumentError(
            "channels: the model's tensors are not those of the network; give the network as "
            "file.py:function"
        )
    attributes: Mapping[str, Mapping[str, int]] = pruned.modules
    return narrow, shapes, replace(origin, files=(), texts=(), modules=attributes)


def _pruned(model: LoadedModel, channels: Channels, fit: object) -> PrunedNetwork:
    from taut.transform.channels import prune_channels

    batches = getattr(fit, "batches", None)
    if batches is None:
        raise ArgumentError(
            "channels: want batches to trace the network with; give train batches, not a loop of "
            "your own"
        )
    pairs = _inputs(batches, model.module, 8)
    targets = {id(given): target for given, target in pairs}
    return prune_channels(
        model.module,
        pairs[0][0],
        fraction=channels.remove,
        size=channels.parameters,
        flops=channels.flops,
        importance=channels.importance,
        batches=[given for given, _ in pairs],
        loss=lambda output, given: _task(output, targets[id(given)], getattr(fit, "loss", None)),
        ignore=channels.ignore,
        round_to=channels.round_to,
    )


def _task(output: object, target: object, own: Task | None) -> torch.Tensor:
    """The loss of a training batch, for the importance of channels."""
    from taut.networks.calls import explained
    from taut.training import task_loss

    with explained("channels: the loss cannot be taken", (output, target)):
        loss = own(output, target) if own is not None else task_loss(output, target)
    if loss is None:
        raise ArgumentError("channels: importance wants batches with targets, or loss")
    return loss


def _inputs(batches: Batches, module: torch.nn.Module, count: int) -> list[tuple[object, object]]:
    """Some batches, each as what the network takes and the target."""
    from itertools import islice

    from taut.training import parts_of, passed

    found = [parts_of(batch, module) for batch in islice(passed(batches), count)]
    if not found:
        raise ArgumentError("train: there are no batches")
    return found
