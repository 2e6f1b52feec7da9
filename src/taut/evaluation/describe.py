"""What a model holds, what it could take, and which tensors it minds: a report, step after step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from taut.analysis.curvature import Curvature
from taut.analysis.grids import check_scheme
from taut.analysis.sensitivity import rank_correlation
from taut.analysis.tensor_facts import Calibrated, Measured, Report, TensorFacts
from taut.calibration.collected import curvature_of
from taut.container.find import is_taut_source
from taut.encoding.facts import read_report
from taut.errors import ArgumentError
from taut.evaluation.measured_drops import (
    SAMPLES,
    DropJudge,
    OutputJudge,
    Score,
    ScoreJudge,
    measure_drops,
)
from taut.evaluation.outputs_judge import OutputsJudge
from taut.io import Source, TensorInfo, check_unchanged, open_source
from taut.io.pairs import paired
from taut.io.pytorch import is_module
from taut.io.quantized import as_floats, floats_in
from taut.io.stamp import blaming_changes
from taut.machine import checked_threads
from taut.networks import (
    Calibration,
    CalibrationSpec,
    LoadedModel,
    check_loss,
    open_calibration,
    open_model,
)
from taut.networks.callables import names_callable
from taut.networks.outputs import Loss
from taut.networks.sources import without_masks
from taut.planning import quantisable
from taut.progress import Progress
from taut.scheme import Scheme, parse_scheme

if TYPE_CHECKING:
    import torch

    from taut.networks.sources import Model

SCHEMES: Final = ("rd:2", "rd:3", "rd:4", "int3", "int4:g128", "int8", "fp16")
"""The schemes whose cost is predicted for every matrix."""

MEASURED: Final = "rd:2"  # coarse, so that a single tensor shows


@dataclass(frozen=True, kw_only=True)
class DescribeRequest:
    """A model to describe, with what is to be found out of it, as the verb `analyze` takes it."""

    src: Model
    calib: CalibrationSpec | None = None
    loss: Loss | None = None
    measure: bool | str = False
    score: Score | None = None
    threads: int | None = None
    seed: int = 0
    progress: Progress | None = None


@dataclass(frozen=True, kw_only=True)
class Described:
    """The model that was opened: its tensors, and the network and data, where they are needed."""

    source: Source
    model: LoadedModel | None
    module: torch.nn.Module | None
    calibration: Calibration | None


def describe(request: DescribeRequest) -> Report:
    """Describe a model; with calibration data, predict which tensors it minds being rounded.

    Raises:
        ArgumentError: there is no such model or data, or the two do not fit.
        FormatError: a file is damaged.
        VerifyError: a file of the model changed while it was read.
    """
    scheme = _measured_scheme(request.measure)
    _check(request, scheme)
    opened = _opened(request, runs=request.calib is not None or scheme is not None)
    stamps = opened.source.stamps
    with blaming_changes(stamps), _torch_threads(opened.module, request.threads):
        report = _read(request, opened, scheme)
        if scheme is not None and opened.model is not None:
            judge = _judge(request, opened)
            report = _with_drops(report, opened.model, scheme, judge, request.progress)
    check_unchanged(stamps)
    return report


def _check(request: DescribeRequest, scheme: Scheme | None) -> None:
    """Whether what is asked for can be found out; raises ArgumentError if not."""
    if scheme is not None and request.calib is None and request.score is None:
        raise ArgumentError("measure: give calib or score to judge the model by")
    if request.loss is not None and request.calib is None:
        raise ArgumentError("loss: is for calibration; give calib too")


def _opened(request: DescribeRequest, *, runs: bool) -> Described:
    """The model, as a network that runs where it is to."""
    src, calib = request.src, request.calib
    model, source = _open(src, runs)
    if model is None:
        module = src if is_module(src) else None
        return Described(source=source, model=None, module=module, calibration=None)
    calibration = (
        None if calib is None else open_calibration(calib, model, progress=request.progress)
    )
    if calibration is not None:
        check_loss(request.loss, calibration)
    return Described(source=source, model=model, module=model.module, calibration=calibration)


def _read(request: DescribeRequest, opened: Described, scheme: Scheme | None) -> Report:
    """The report on all tensors, before any of them is rounded by itself."""
    schemes = [parse_scheme(text) for text in SCHEMES]
    if scheme is not None and str(scheme) not in SCHEMES:
        schemes.append(scheme)
    data, curvatures = opened.calibration, _curvatures(request, opened)
    kinds = _kinds(opened.module, opened.model)
    report = read_report(opened.source, kinds, curvatures, schemes, request.progress)
    if (floats := floats_in(opened.source)) is not None:
        report = replace(report, notes=(floats.told, *report.notes))
    if opened.model is not None:
        report = replace(report, notes=(*opened.model.notes, *report.notes))
    if data is None:
        return report
    told = Calibrated(data.name, data.samples, len(data), data.digest)
    return replace(report, calibrated=told, notes=(*data.notes, *report.notes))


def _judge(request: DescribeRequest, opened: Described) -> DropJudge:
    """What tells how much worse the model is: the user's score, or else its outputs."""
    assert opened.model is not None
    module = opened.model.module
    if request.score is not None:
        return ScoreJudge.of(module, request.score)
    assert opened.calibration is not None
    several = OutputsJudge.of(module, opened.calibration, SAMPLES)
    return several or OutputJudge.of(module, opened.calibration)


def _measured_scheme(measure: bool | str) -> Scheme | None:
    if measure is False or measure is None:
        return None
    scheme = parse_scheme(MEASURED if measure is True else measure)
    check_scheme(scheme)
    return scheme


def _open(src: Model, runs: bool) -> tuple[LoadedModel | None, Source]:
    code = isinstance(src, (str, Path)) and names_callable(str(src))
    if code or runs:
        if isinstance(src, Mapping):
            raise ArgumentError("a dict of tensors cannot be run; give the module, or no calib")
        model = open_model(src)
        return model, paired(as_floats(open_source(model.source)))
    source = open_source(without_masks(src)[0])
    if is_taut_source(source):
        raise ArgumentError(f"{source.identity}: is a Taut file; decompress it first, or use info")
    return None, paired(as_floats(source))


@contextmanager
def _torch_threads(module: object, threads: int | None) -> Iterator[None]:
    """Run torch with so many threads, and give it back its own number."""
    if threads is None or module is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(checked_threads(threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _kinds(module: torch.nn.Module | None, model: LoadedModel | None) -> dict[str, str]:
    """The class of the layer that holds each tensor, by the tensor's name in the source."""
    if module is None or (model is not None and not model.gradients):  # ONNX has no modules
        return {}
    kinds = {
        f"{path}.{name}" if path else name: str(
            getattr(layer, "original_name", type(layer).__name__)
        )
        for path, layer in module.named_modules(remove_duplicate=False)
        for name in (*layer._parameters.keys(), *layer._buffers.keys())  # scripted: no other way
    }
    if model is None:
        return kinds
    return {name: kinds[inner] for name, inner in model.names.items() if inner in kinds}


def _curvatures(request: DescribeRequest, opened: Described) -> dict[str, Curvature]:
    """The curvature of each matrix that may be quantised, by its name in the source."""
    model, data = opened.model, opened.calibration
    if model is None or data is None:
        return {}
    names = _matrices(model, opened.source.infos)
    if not names:
        return {}
    found = curvature_of(
        model,
        lambda: data,
        loss=request.loss,
        seed=request.seed,
        names=set(names.values()),
        progress=request.progress,
    )
    return {name: found[inner] for name, inner in names.items() if inner in found}


def _matrices(model: LoadedModel, tensors: Iterable[TensorInfo | TensorFacts]) -> dict[str, str]:
    """Of these tensors those that may be quantised and are parameters, to the parameters' names."""
    parameters = dict(model.module.named_parameters(remove_duplicate=False))
    return {
        one.name: model.names[one.name]
        for one in tensors
        if quantisable(one.dtype, one.shape) and model.names.get(one.name) in parameters
    }


def _with_drops(
    report: Report, model: LoadedModel, scheme: Scheme, judge: DropJudge, progress: Progress | None
) -> Report:
    """The report with what each matrix alone cost, and how well that was predicted."""
    predicted = (facts for facts in report.stored if str(scheme) in facts.predictions)
    names = _matrices(model, predicted)
    if not names:
        raise ArgumentError("measure: the model has no float matrix of at least 1,024 values")
    drops = measure_drops(model.module, names, scheme, judge, progress)
    tensors = tuple(replace(facts, drop=drops.get(facts.name)) for facts in report.tensors)
    correlation = _correlation(tensors, scheme)
    told = Measured(str(scheme), judge.by, judge.base, judge.samples, len(drops), correlation)
    return replace(report, tensors=tensors, measured=told)


def _correlation(tensors: Iterable[TensorFacts], scheme: Scheme) -> float | None:
    """How well the predicted losses order the measured drops; None of fewer than two."""
    pairs = [
        (cost, facts.drop)
        for facts in tensors
        if facts.drop is not None and (cost := facts.predictions[str(scheme)].loss) is not None
    ]
    predicted, measured = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    return rank_correlation(predicted, measured) if len(pairs) > 1 else None
