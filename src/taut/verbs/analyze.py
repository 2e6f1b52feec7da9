"""The verb `analyze`: what a model holds, what it could take, and which tensors it minds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from taut.analysis.curvature import Curvature
from taut.analysis.grids import check_scheme
from taut.analysis.sensitivity import rank_correlation
from taut.analysis.tensor_facts import Calibrated, Measured, Report, TensorFacts
from taut.calibration.collected import curvature_of
from taut.encoding.facts import read_report
from taut.errors import ArgumentError
from taut.evaluation.measured_drops import DropJudge, OutputJudge, Score, ScoreJudge, measure_drops
from taut.io import Source, check_unchanged, open_source
from taut.io.pytorch import is_module
from taut.machine import checked_threads
from taut.networks import Calibration, CalibrationSpec, LoadedModel, open_calibration, open_model
from taut.networks.callables import names_callable
from taut.networks.outputs import Loss
from taut.planning import quantisable
from taut.progress import Progress
from taut.scheme import Scheme, parse_scheme

if TYPE_CHECKING:
    import torch

    from taut.networks.sources import Model

__all__ = ["SCHEMES", "Report", "TensorFacts", "analyze"]

SCHEMES: Final = ("rd:2", "rd:3", "rd:4", "int3", "int4:g128", "int8", "fp16")
"""The schemes whose cost is predicted for every matrix."""

MEASURED: Final = "rd:2"  # coarse, so that a single tensor shows


def analyze(
    src: Model,
    calib: CalibrationSpec | None = None,
    *,
    loss: Loss | None = None,
    measure: bool | str = False,
    evaluate: Score | None = None,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Describe a model; with calibration data, predict which tensors it minds being rounded.

    `src` is what `compress` takes, or `file.py:function`; a file alone needs no torch. `calib` are
    batches, texts or arrays; `src` must then run: a model folder, `file.py:function` or a module,
    which is copied and never changed. `loss(output, batch)` gives one value for each sample, or
    their sum; without it the model's own output is what must be kept. With `measure` (True, or a
    scheme) each matrix alone is rounded by it and the model judged: by `evaluate(model)`, higher
    being better, or else by its outputs on the calibration data. `threads` are those of torch.

    Raises:
        ArgumentError: there is no such model or data, or the two do not fit.
        FormatError: a file is damaged.

    >>> report = analyze({"w": np.eye(64, dtype=np.float32)})
    >>> report.tensors[0].distribution.zeros, report.parameters
    (4032, 4096)
    """
    scheme = _measured_scheme(measure)
    if scheme is not None and calib is None and evaluate is None:
        raise ArgumentError("measure: give calib or evaluate to judge the model by")
    if loss is not None and calib is None:
        raise ArgumentError("loss: is for calibration; give calib too")
    model, source = _open(src, runs=calib is not None or scheme is not None)
    module = model.module if model is not None else src if is_module(src) else None
    calibration = (
        open_calibration(calib, model) if model is not None and calib is not None else None
    )
    with _torch_threads(module, threads):
        curvatures: Mapping[str, Curvature] = {}
        if model is not None and calibration is not None:
            curvatures = _curvatures(model, source, calibration, loss, seed, progress)
        schemes = [parse_scheme(text) for text in SCHEMES]
        if scheme is not None and str(scheme) not in SCHEMES:
            schemes.append(scheme)
        report = read_report(source, _kinds(module, model), curvatures, schemes, progress)
        if calibration is not None:
            told = Calibrated(
                calibration.name, calibration.samples, len(calibration), calibration.digest
            )
            report = replace(report, calibrated=told)
        if scheme is not None and model is not None:
            judge: DropJudge
            if evaluate is not None:
                judge = ScoreJudge.of(model.module, evaluate)
            else:
                assert calibration is not None
                judge = OutputJudge.of(model.module, calibration)
            report = _with_drops(report, model, scheme, judge, progress)
    check_unchanged(source.stamps)
    return report


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
        return model, open_source(model.source)
    source = open_source(src)
    if {"taut", "checksum", "index"} <= source.metadata.keys():
        raise ArgumentError(f"{source.identity}: is a Taut file; decompress it first, or use info")
    return None, source


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
        f"{path}.{name}" if path else name: type(layer).__name__
        for path, layer in module.named_modules(remove_duplicate=False)
        for name in (*layer._parameters, *layer._buffers)
    }
    if model is None:
        return kinds
    return {name: kinds[inner] for name, inner in model.names.items() if inner in kinds}


def _curvatures(
    model: LoadedModel,
    source: Source,
    calibration: Calibration,
    loss: Loss | None,
    seed: int,
    progress: Progress | None,
) -> dict[str, Curvature]:
    """The curvature of each matrix that may be quantised, by its name in the source."""
    parameters = dict(model.module.named_parameters(remove_duplicate=False))
    names = {
        info.name: model.names[info.name]
        for info in source.infos
        if quantisable(info.dtype, info.shape) and model.names.get(info.name) in parameters
    }
    if not names:
        return {}
    found = curvature_of(
        model,
        lambda: calibration,
        loss=loss,
        seed=seed,
        names=set(names.values()),
        progress=progress,
    )
    return {name: found[inner] for name, inner in names.items()}


def _with_drops(
    report: Report, model: LoadedModel, scheme: Scheme, judge: DropJudge, progress: Progress | None
) -> Report:
    """The report with what each matrix alone cost, and how well that was predicted."""
    parameters = dict(model.module.named_parameters(remove_duplicate=False))
    names = {
        facts.name: model.names[facts.name]
        for facts in report.stored
        if str(scheme) in facts.predictions
        and quantisable(facts.dtype, facts.shape)
        and model.names.get(facts.name) in parameters
    }
    if not names:
        raise ArgumentError("measure: the model has no float matrix of at least 1,024 values")
    drops = measure_drops(model.module, names, scheme, judge, progress)
    tensors = tuple(replace(facts, drop=drops.get(facts.name)) for facts in report.tensors)
    pairs = [
        (cost, facts.drop)
        for facts in tensors
        if facts.drop is not None and (cost := facts.predictions[str(scheme)].loss) is not None
    ]
    predicted, measured = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    correlation = rank_correlation(predicted, measured) if len(pairs) > 1 else None
    told = Measured(str(scheme), judge.by, judge.base, judge.samples, len(drops), correlation)
    return replace(report, tensors=tensors, measured=told)
