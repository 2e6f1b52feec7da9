"""Gathers what a report tells: from a Taut file, and from whatever else is at hand."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from taut.analysis.tensor_facts import Report
from taut.container import TautFile, open_taut
from taut.container.info import Info, describe
from taut.errors import ArgumentError
from taut.exporting.result import Export
from taut.io import SAFETENSORS_DTYPES, Source, open_source
from taut.io.dtypes import tensor_nbytes
from taut.io.quantized import as_floats
from taut.loading.float_view import float_view
from taut.loading.gguf_by_network import as_network, weights_of
from taut.reporting.charts_values import histogram
from taut.reporting.origins import name_of, provenance_of
from taut.reporting.reading import read_json
from taut.reporting.story import Exported, Histogram, Story, TensorCost
from taut.scoring.results import Evaluation
from taut.sweep.pareto import Frontier

if TYPE_CHECKING:
    from taut.networks.sources import Model

_Kind = TypeVar("_Kind")

_LARGEST: Final = 3  # tensors whose values are shown, and as many of those with the largest error
_SAMPLE: Final = 2_000_000  # values of a tensor that are counted
_EXPLAINED: Final = 0.25  # of the squared difference may be left where a scale is what differs
_BY: Final = "rd:3"  # the scheme whose predicted loss tells sensitivity


@dataclass(frozen=True)
class Evidence:
    """What is known of a file besides itself.

    Each is what a verb gave, or a file with what `taut eval --json`, `taut frontier --json`,
    `taut export --json` printed and `taut analyze -o` wrote; `plan` is a plan's file, shown as it
    is.
    """

    evaluation: Evaluation | str | Path | None = None
    frontier: Frontier | str | Path | None = None
    analysis: Report | str | Path | None = None
    exports: Sequence[Export | str | Path] = ()
    plan: str | Path | None = None


_NONE: Final = Evidence()


def tell(
    file: str | Path,
    evidence: Evidence = _NONE,
    *,
    original: Model | None = None,
    title: str | None = None,
) -> Story:
    """Gather the story of a Taut file, or of the one in a folder.

    `original` is what was compressed: with it, values are shown before and after. One tensor is
    held at a time.

    Raises:
        ArgumentError: there is no such file, or it holds something else; `original` is of another
            model.
        FormatError, VerifyError: a file is damaged.
    """
    opened = open_taut(file)
    judged = _given(evidence.evaluation, Evaluation)
    curve = _given(evidence.frontier, Frontier)
    sensitivity, by = _sensitivity(_given(evidence.analysis, Report))
    left = tuple(_exported(_given(one, Export)) for one in evidence.exports)
    text = None if evidence.plan is None else _text(Path(evidence.plan))
    found = describe(opened)
    tensors = costs_of(found)
    with _matching(original, opened) as (source, before):
        histograms = _histograms(tensors, opened, before)
    return Story(
        title=title or name_of(opened.path),
        size=found.size,
        original_size=found.original_size,
        parameters=found.parameters,
        evaluation=judged,
        tensors=tensors,
        histograms=histograms,
        sensitivity=sensitivity,
        sensitivity_by=by,
        frontier=curve,
        chosen=_chosen(curve, found.size),
        exports=left,
        plan=text,
        provenance=provenance_of(opened, source),
        notes=_notes(judged, found),
    )


def _given(found: _Kind | str | Path | None, kind: type[_Kind]) -> _Kind | None:
    """What was given, or what the file that was given holds."""
    if isinstance(found, str | Path):
        return read_json(Path(found), kind)
    return found


def _exported(found: Export | None) -> Exported:
    assert found is not None
    check = found.check
    plain = Exported(
        name=found.path.name,
        format=found.format,
        size=found.size,
        exact=found.exact,
        rounded=found.rounded,
    )
    if check is None:
        return plain
    return replace(
        plain,
        runtime=check.runtime,
        max_error=check.max_error,
        rel_mse=check.rel_mse,
        cosine=check.cosine,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"{path}: cannot be read ({error})") from None


@contextmanager
def _matching(
    original: Model | None, file: TautFile
) -> Iterator[tuple[Source | None, Source | None]]:
    """The original as it was given, and by the file's names, as floats where the file has them.

    Raises `ArgumentError` where it has no tensor in common with the file.
    """
    if original is None:
        yield None, None
        return
    source = open_source(original)
    with as_network(source, weights_of(file)) as network:
        if not float_view(file, str(file.path)).forms:
            network = as_floats(network)
        if not any(info.name in file for info in network.infos):
            raise ArgumentError(
                f"{source.identity}: has none of the tensors of {file.path}; give the model that "
                "was compressed"
            )
        yield source, network


def costs_of(found: Info) -> tuple[TensorCost, ...]:
    """What each tensor costs; a tied one is data of another, so that it takes no bytes."""
    return tuple(
        TensorCost(
            name=tensor.name,
            shape=tensor.shape,
            scheme=tensor.scheme,
            before=tensor_nbytes(tensor.dtype, tensor.shape),
            bytes=tensor.bytes,
            bits=tensor.bits,
            rel_mse=tensor.rel_mse,
            dtype=tensor.dtype,
        )
        for tensor in found.tensors
    )


def _histograms(
    tensors: tuple[TensorCost, ...], file: TautFile, source: Source | None
) -> tuple[Histogram, ...]:
    """The values of the largest lossy matrices, and of those with the largest error."""
    lossy = _lossy(tensors, file)
    largest = sorted(lossy, key=lambda tensor: -tensor.values)[:_LARGEST]
    others = [tensor for tensor in lossy if tensor not in largest]
    worst = sorted(others, key=lambda tensor: -tensor.rel_mse)[:_LARGEST]
    held = {info.name for info in source.infos} if source is not None else set()
    folded = source is not None and _folds(file, source, held)
    found = []
    for tensor in (*largest, *worst):
        before, after = None, file[tensor.name]
        if source is not None and tensor.name in held:
            before = source.view(tensor.name)
            before = _sampled(_on_scale(before, after) if folded else before)
        found.append(histogram(tensor.name, before, _sampled(after)))
    return tuple(found)


def _folds(file: TautFile, source: Source, held: Collection[str]) -> bool:
    """Whether a batch norm of the original is an identity in the file."""
    norms = (info.name for info in file.infos if info.name.endswith("running_var"))
    return any(
        bool((file[name] == 1).all()) and not bool((source.view(name) == 1).all())
        for name in norms
        if name in held
    )


def _on_scale(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The values before with the scale that a folded norm gave each row, where that explains them.

    >>> weight = np.arange(1.0, 7.0).reshape(2, 3)
    >>> _on_scale(weight, weight * [[0.5], [4.0]]).tolist()
    [[0.5, 1.0, 1.5], [16.0, 20.0, 24.0]]
    """
    if before.shape != after.shape or before.ndim < 2:
        return before
    a, b = (one.reshape(len(one), -1).astype(np.float32) for one in (before, after))
    scale = (a * b).sum(1) / np.maximum((a * a).sum(1), np.finfo(np.float32).tiny)
    scaled = a * scale[:, None]
    explains = ((scaled - b) ** 2).sum() < _EXPLAINED * ((a - b) ** 2).sum()
    return scaled.reshape(before.shape) if explains else before


def _lossy(tensors: tuple[TensorCost, ...], file: TautFile) -> list[TensorCost]:
    """The matrices of floats with values that are not the original's."""
    dtypes = {info.name: info.dtype for info in file.infos}

    def floats(tensor: TensorCost) -> bool:
        dtype = SAFETENSORS_DTYPES.get(dtypes[tensor.name], np.dtype(bool))
        return len(tensor.shape) > 1 and tensor.values > 0 and dtype.kind in "fV"

    return [t for t in tensors if floats(t) and t.bytes and t.rel_mse > 0]


def _sampled(values: np.ndarray) -> np.ndarray:
    """At most two million of the values, evenly spaced."""
    flat = values.reshape(-1)
    if flat.size <= _SAMPLE:
        return flat
    return flat[np.linspace(0, flat.size - 1, _SAMPLE).astype(np.int64)]


def _sensitivity(report: Report | None) -> tuple[Mapping[str, float], str]:
    """What each tensor costs when it is rounded: measured, or else predicted."""
    if report is None:
        return {}, ""
    if report.measured is not None:
        found = {facts.name: facts.drop for facts in report.stored if facts.drop is not None}
        what = "score lost" if report.measured.by == "score" else report.measured.by
        return found, f"{what}, rounded alone by {report.measured.scheme}"
    return {
        facts.name: prediction.loss
        for facts in report.stored
        if (prediction := facts.predictions.get(_BY)) is not None and prediction.loss is not None
    }, f"predicted loss at {_BY}"


def _chosen(frontier: Frontier | None, size: int) -> str | None:
    """The point of the curve that is this file: the one of its very size."""
    points = frontier.points if frontier is not None else ()
    return next((point.name for point in points if point.size == size), None)


def _notes(judged: Evaluation | None, found: Info) -> tuple[str, ...]:
    """What a reader should doubt: numbers of another file than this one."""
    size = judged.model.size if judged is not None else None
    if size is None or size == found.size:
        return ()
    return (
        f"The evaluation is of a file of {size:,} bytes; this one has {found.size:,}: it may be of "
        "another compression.",
    )
