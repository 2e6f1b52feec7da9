"""Batch norms folded before a model is rounded, as the tensors that the file will hold."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from taut.calibration.overlay import Overlay, as_stored
from taut.compression.request import Asked, Call, CompressRequest
from taut.encoding.data_free import lossy_schemes
from taut.errors import ArgumentError, TargetError
from taut.io import Source
from taut.io.pytorch import is_module
from taut.scheme import Scheme
from taut.transform.runtime import GRIDS

if TYPE_CHECKING:
    import torch

    from taut.networks import Calibration, LoadedModel
    from taut.networks.fold_norms import FoldedNorms

_DTYPES: Final = ("F32", "F64", "F16")
_KINDS: Final = ("rd", "fp16", *GRIDS)
_SIDES: Final = (64, 32, 224, 28, 96, 299)  # of images that a network may take
_LOOKED_AT: Final = 64  # batches
_UNTRIED: Final = (
    "batch norms stay as they are: without data no input is known on which the network runs; with "
    "calib (--calib) they are folded into the weights before them"
)


def folded_with_data(
    source: Source,
    asked: Asked,
    schemes: Mapping[str, Scheme],
    model: LoadedModel,
    data: Calibration,
) -> tuple[Source, LoadedModel]:
    """The tensors and the network with its norms folded; the network is changed in place."""
    if not model.gradients:
        return source, model
    from taut.networks.fold_norms import fold_norms_

    free = _free(source, schemes, model.names, asked.settled)
    found = fold_norms_(model.module, _some(data), free)
    return _over(source, model.names, found), replace(model, folded=replace(found, values={}))


def folded_without_data(
    source: Source, asked: Asked, request: CompressRequest
) -> tuple[Source, tuple[str, ...]]:
    """The tensors of a module with its norms folded, found on inputs of noise; and notes.

    What is no module is weights alone, of which nobody can tell what comes before a norm. Without
    convolutions in groups scales stay with the norms: a ResNet lost by folding (docs/method.md).
    """
    spec = request.src if request.base is None else None
    if not _sized(asked.call) or not is_module(spec) or not _has_norms(spec):
        return source, ()
    try:
        schemes = lossy_schemes(source, asked.schemes, asked.settled)
    except TargetError:  # it is told where it is carried out
        return source, ()
    from taut.networks import open_model
    from taut.networks.fold_norms import fold_norms_

    model = open_model(spec)
    for batch in _noise(model.module):
        with suppress(ArgumentError):  # it takes something else
            found = fold_norms_(
                model.module,
                [batch, -2 * batch],
                _free(source, schemes, model.names, asked.settled),
                grouped=True,
            )
            return _over(source, model.names, found), (found.note,) if found.note else ()
    return source, (_UNTRIED,)


def _some(data: Calibration) -> Iterator[object]:
    """The first batch of calibration data, and of many some, drawn at random."""
    drawn = random.Random(0).sample(range(len(data)), min(len(data), _LOOKED_AT))
    return (batch for number, batch in enumerate(data) if number in {0, *drawn})


def _free(
    source: Source,
    schemes: Mapping[str, Scheme],
    names: Mapping[str, str],
    settled: Collection[str],
) -> Callable[[str], bool]:
    """Whether a parameter or buffer has a tensor of its own, which is to be rounded."""
    tied = {*source.aliases, *source.aliases.values()}
    found = {
        names[info.name]
        for info in source.infos
        if info.name in names
        and info.name not in tied
        and info.dtype in _DTYPES
        and (_suits(schemes[info.name]) or (len(info.shape) == 1 and info.name not in settled))
    }
    return found.__contains__


def _suits(scheme: Scheme) -> bool:
    """Whether rows may differ in scale: with one step for all of a grid they must not."""
    return scheme.kind in _KINDS and not scheme.per_tensor


def _over(source: Source, names: Mapping[str, str], found: FoldedNorms) -> Source:
    if not found.values:
        return source
    values = {
        info.name: as_stored(info, found.values[names[info.name]].numpy())
        for info in source.infos
        if names.get(info.name) in found.values
    }
    return Overlay(source, values)


def _sized(call: Call) -> bool:
    """Whether a call has a model rounded to a size, without data, and norms may be folded."""
    return call.fold is not False and not call.runs and (call.bits, call.size) != (None, None)


def _has_norms(module: torch.nn.Module) -> bool:
    """Whether any part keeps the statistics of a batch norm."""
    return any(getattr(part, "running_mean", None) is not None for part in module.modules())


def _noise(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Inputs that the first layer with a weight might take: images, signals, volumes, vectors."""
    import torch
    from torch import nn

    first = next((one for one in module.modules() if hasattr(one, "in_channels")), None)
    wide = next((one for one in module.modules() if hasattr(one, "in_features")), None)
    generator = torch.Generator().manual_seed(0)
    if isinstance(first, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        axes = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
        count = next(number for kind, number in axes.items() if isinstance(first, kind))
        for side in _SIDES:
            yield torch.randn(2, first.in_channels, *[side] * count, generator=generator)
    if isinstance(wide, nn.Linear):
        yield torch.randn(2, wide.in_features, generator=generator)
