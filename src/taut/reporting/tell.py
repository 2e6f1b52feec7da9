"""Gathers what a report tells: from a Taut file, and from whatever else is at hand."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from taut.analysis.tensor_facts import Report
from taut.container import TautFile, find_file
from taut.container.info import Info, describe
from taut.errors import ArgumentError
from taut.exporting.result import Export
from taut.io import SAFETENSORS_DTYPES, Source, open_source
from taut.io.dtypes import tensor_nbytes
from taut.io.identity import model_identity
from taut.reporting.charts_values import histogram
from taut.reporting.reading import read_json
from taut.reporting.story import Exported, Histogram, Story, TensorCost
from taut.scoring.results import Evaluation
from taut.sweep.pareto import Frontier

if TYPE_CHECKING:
    from taut.networks.sources import Model

_Kind = TypeVar("_Kind")

_LARGEST: Final = 3  # tensors whose values are shown, and as many of those with the largest error
_SAMPLE: Final = 2_000_000  # values of a tensor that are counted
_BY: Final = "rd:3"  # the scheme whose predicted loss tells sensitivity
_BLOCK: Final = 1 << 20
_MODEL: Final = "model.taut.safetensors"  # of every folder, which then has the better name
_SHORT: Final = 200  # characters of metadata that are shown


def tell(
    file: str | Path,
    *,
    original: Model | None = None,
    evaluation: Evaluation | str | Path | None = None,
    frontier: Frontier | str | Path | None = None,
    analysis: Report | str | Path | None = None,
    exports: Sequence[Export | str | Path] = (),
    plan: str | Path | None = None,
    title: str | None = None,
) -> Story:
    """Gather the story of a Taut file, or of the one in a folder.

    `original` is what was compressed: with it, values are shown before and after. The others are
    what the verbs gave, or files with what `taut eval --json`, `taut frontier --json`,
    `taut export --json` printed and `taut analyze -o` wrote; `plan` is a plan's file, shown
    as it is. One tensor is held at a time.

    Raises:
        ArgumentError: there is no such file, or it holds something else; `original` is of another
            model.
        FormatError, VerifyError: a file is damaged.
    """
    opened = TautFile(find_file(file))
    judged = _given(evaluation, Evaluation)
    curve = _given(frontier, Frontier)
    sensitivity, by = _sensitivity(_given(analysis, Report))
    left = tuple(_exported(_given(one, Export)) for one in exports)
    text = None if plan is None else _text(Path(plan))
    source = None if original is None else _matching(open_source(original), opened)
    found = describe(opened)
    tensors = _costs(found)
    return Story(
        title=title or _stem(opened.path),
        size=found.size,
        original_size=found.original_size,
        parameters=found.parameters,
        evaluation=judged,
        tensors=tensors,
        histograms=_histograms(tensors, opened, source),
        sensitivity=sensitivity,
        sensitivity_by=by,
        frontier=curve,
        chosen=_chosen(curve, found.size),
        exports=left,
        plan=text,
        provenance=_provenance(opened, source),
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
    return Exported(
        *(found.path.name, found.format, found.size, found.exact, found.rounded),
        *((check.runtime, check.max_error, check.rel_mse, check.cosine) if check else ()),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"{path}: cannot be read ({error})") from None


def _matching(source: Source, file: TautFile) -> Source:
    """The original, if it has a tensor in common with the file."""
    if not any(info.name in file for info in source.infos):
        raise ArgumentError(
            f"{source.identity}: has none of the tensors of {file.path}; give the model that was "
            "compressed"
        )
    return source


def _costs(found: Info) -> tuple[TensorCost, ...]:
    """What each tensor costs; a tied one is data of another, so that it takes no bytes."""
    return tuple(
        TensorCost(
            *(tensor.name, tensor.shape, tensor.scheme),
            tensor_nbytes(tensor.dtype, tensor.shape),
            *(tensor.bytes, tensor.bits, tensor.rel_mse),
        )
        for tensor in found.tensors
    )


def _histograms(
    tensors: tuple[TensorCost, ...], file: TautFile, source: Source | None
) -> tuple[Histogram, ...]:
    """The values of the largest lossy matrices, and of those with the largest error."""
    dtypes = {info.name: info.dtype for info in file.infos}
    lossy = [
        tensor
        for tensor in tensors
        if len(tensor.shape) > 1
        and tensor.values
        and tensor.bytes
        and tensor.rel_mse > 0
        and SAFETENSORS_DTYPES.get(dtypes[tensor.name], np.dtype(bool)).kind in "fV"
    ]
    largest = sorted(lossy, key=lambda tensor: -tensor.values)[:_LARGEST]
    others = [tensor for tensor in lossy if tensor not in largest]
    worst = sorted(others, key=lambda tensor: -tensor.rel_mse)[:_LARGEST]
    held = {info.name for info in source.infos} if source is not None else set()
    found = []
    for tensor in (*largest, *worst):
        before = (
            _sampled(source.view(tensor.name))
            if source is not None and tensor.name in held
            else None
        )
        found.append(histogram(tensor.name, before, _sampled(file[tensor.name])))
    return tuple(found)


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


def _stem(path: Path) -> str:
    """What to call the model."""
    name = path.resolve().parent.name if path.name == _MODEL else path.name
    return name.removesuffix(".safetensors").removesuffix(".taut")


def _provenance(file: TautFile, source: Source | None) -> dict[str, str]:
    """Names, hashes and versions; no paths, which are nobody's business but the machine's."""
    from taut.version import __version__

    found = {
        "file": file.path.name,
        "SHA-256 of the file": _sha256(file.path),
        **{
            f"metadata: {key}": text
            for key, text in file.index.origin.metadata.items()
            if len(text) <= _SHORT
        },
    }
    if source is not None:
        found["original"] = Path(source.identity).name
        found["XXH3 of the original's tensors"] = model_identity(source)
    found["report written by"] = (
        f"Taut {__version__}, Python {platform.python_version()}, numpy {np.__version__}"
    )
    return found


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
