"""From a module to a graph of floats: PyTorch's own exporter, with legible names.

The exporter folds batch norms into convolutions and transposes the weights of linear layers. The
first keeps the name of the weight; of the second, the name is found again by the values.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taut.errors import ArgumentError
from taut.exporting.onnx.graph import name_weights, prune
from taut.exporting.onnx.legible import clean, name_axes, name_outputs, output_names
from taut.networks.calls import applied, evaluating
from taut.networks.onnx_module import OUTPUTS_KEY
from taut.networks.precision import in_single

if TYPE_CHECKING:
    import onnx
    import torch

_LOGGERS: Final = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")


@dataclass(frozen=True)
class Traced:
    """A float graph and what there is to say of it."""

    model: onnx.ModelProto
    notes: tuple[str, ...]


def trace(module: torch.nn.Module, example: object, *, opset: int | None = None) -> Traced:
    """Export a module in evaluation mode, its first axis (and that of tokens) left open.

    `example` is a batch: a mapping of arguments by name, a sequence of them in order, or one. A
    module of half precision is exported in float32.

    Raises:
        ArgumentError: the exporter cannot follow the module, or `example` does not fit it.
    """
    import torch

    single, example = in_single(module, lambda: [example]), widened(example)
    with evaluating(single), _without_cache(single), torch.no_grad(), _quiet():
        try:
            outputs = applied(single, example)
        except Exception as error:
            raise ArgumentError(
                f"the module does not run on the example: {_line(error)}; give a batch as its "
                "forward takes it"
            ) from error
        names, kind = output_names(outputs)
        program, notes = _exported(single, _arguments(example), opset)
    model: onnx.ModelProto = program.model_proto
    clean(model)
    name_outputs(model, names)
    name_axes(model)
    prune(model.graph)
    name_weights(model.graph, {n: t.detach().cpu().numpy() for n, t in _floats(single)})
    model.producer_name, model.producer_version = "taut", ""
    entry = model.metadata_props.add()
    main = getattr(module, "main_output", "")  # what stands for the whole answer, if one does
    entry.key, entry.value = OUTPUTS_KEY, f"{kind}:{main}" if main in names else kind
    samples = model.graph.input[0].type.tensor_type.shape.dim[0]
    if isinstance(samples.dim_value, int) and not samples.dim_param:
        size = samples.dim_value
        notes = (*notes, f"the graph takes batches of {size} alone: the module fixes that size")
    return Traced(model, notes)


def widened(batch: object) -> object:
    """A batch with its tensors of half precision as float32, as the graph takes them."""
    import torch

    if isinstance(batch, torch.Tensor):
        return batch.float() if batch.dtype in (torch.float16, torch.bfloat16) else batch
    if isinstance(batch, Mapping):
        return {name: widened(value) for name, value in batch.items()}
    if isinstance(batch, tuple | list):
        return tuple(widened(value) for value in batch)
    return batch


@contextlib.contextmanager
def _without_cache(module: torch.nn.Module) -> Iterator[None]:
    """Keep language models of transformers from giving keys and values too, which no graph has."""
    config = getattr(module, "config", None)
    cached = getattr(config, "use_cache", None)
    if cached:
        config.use_cache = False  # type: ignore[union-attr]
    try:
        yield
    finally:
        if cached:
            config.use_cache = cached  # type: ignore[union-attr]


def _floats(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            yield name, tensor


def _arguments(example: object) -> tuple[tuple[object, ...], dict[str, object]]:
    """Positional and keyword arguments, with at least two samples each.

    An axis of one would be taken for one that broadcasts, and fixed.
    """
    import torch

    def wide(value: object) -> object:
        if isinstance(value, torch.Tensor) and value.ndim and value.shape[0] == 1:
            return value.expand(2, *value.shape[1:]).contiguous()
        return value

    if isinstance(example, Mapping):
        return (), {str(name): wide(value) for name, value in example.items()}
    if isinstance(example, tuple | list):
        return tuple(wide(value) for value in example), {}
    return (wide(example),), {}


def _open_axes(value: object) -> object:
    """Which axes of an argument may differ: samples, and positions of tokens or of sequences."""
    import torch

    if not isinstance(value, torch.Tensor):
        return None
    auto = torch.export.Dim.AUTO
    whole = not value.is_floating_point()
    axes = value.ndim if whole and value.ndim <= 2 else 2 if value.ndim == 3 else min(1, value.ndim)
    return dict.fromkeys(range(axes), auto)


def _open_axes_of(args: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
    """The open axes of a forward's arguments, in the form in which the exporter takes them."""
    if args:
        return tuple(_open_axes(value) for value in args)
    return {name: _open_axes(value) for name, value in kwargs.items()}


def _exported(
    module: torch.nn.Module,
    arguments: tuple[tuple[object, ...], dict[str, object]],
    opset: int | None,
) -> tuple[torch.onnx.ONNXProgram, tuple[str, ...]]:
    """Export with open axes, or, where the module allows none, with the example's own sizes."""
    import torch

    args, kwargs = arguments
    first: Exception | None = None
    for shapes in (_open_axes_of(args, kwargs), None):
        try:
            with _named(module, kwargs):
                found = torch.onnx.export(
                    module,
                    args,
                    kwargs=kwargs,
                    dynamo=True,
                    dynamic_shapes=shapes,  # type: ignore[arg-type]
                    opset_version=opset,
                    verbose=False,
                )
            assert found is not None
        except Exception as error:
            first = first or error
        else:
            note = "the graph takes batches of the example's size alone"
            return found, () if shapes is not None else (note,)
    assert first is not None
    raise ArgumentError(
        f"PyTorch's exporter cannot follow {type(module).__name__}: {_line(first)}; its forward "
        "must run under torch.export (no branches on values), or be split into parts that do"
    ) from first


@contextlib.contextmanager
def _named(module: torch.nn.Module, kwargs: Mapping[str, object]) -> Iterator[None]:
    """Have a forward that takes any names (**features) take those of the example.

    The exporter opens no axes of what it cannot find among the parameters.
    """
    forward = module.forward
    known = inspect.signature(forward).parameters
    if kwargs.keys() <= known.keys() or "forward" in vars(module):
        yield
        return

    def named(**given: object) -> object:
        return forward(**given)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    named.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, kind) for name in kwargs]
    )
    module.forward = named
    try:
        yield
    finally:
        del module.forward


def _line(error: BaseException) -> str:
    """The first line that says something of an error, or of what caused it."""
    deepest = error
    while deepest.__cause__ is not None:
        deepest = deepest.__cause__
    lines = [line.strip() for line in str(deepest).splitlines() if line.strip()]
    return f"{type(deepest).__name__}: {lines[0]}" if lines else type(deepest).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's talk of itself from the caller's terminal."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
