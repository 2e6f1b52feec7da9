"""The verb `report`: one page on a file, and on whatever else is at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from taut.analysis.tensor_facts import Report
from taut.container import check_destination
from taut.container.default_names import page_path
from taut.container.find import as_path
from taut.container.through_stores import through_stores
from taut.errors import ArgumentError
from taut.evaluation.contenders import is_taut
from taut.exporting.result import Export
from taut.networks.sources import chosen
from taut.reporting.made import PageFacts, written_now
from taut.reporting.tell import Evidence, tell
from taut.scoring.results import Evaluation
from taut.sweep.pareto import Frontier

if TYPE_CHECKING:
    from taut.io.file_objects import BinaryFile
    from taut.loading.load import FileSpec
    from taut.networks.sources import Model

Judged: TypeAlias = Evaluation | str | Path | None
"""An evaluation, or a file with its JSON."""


@through_stores(("file", "other", "original"), "out", suffix=lambda given: ".html")
def report(
    file: FileSpec,
    out: str | Path | BinaryFile | None = None,
    *,
    other: FileSpec | None = None,
    original: Model | BinaryFile | bytes | None = None,
    evaluation: Judged | Sequence[Judged] = None,
    frontier: Frontier | str | Path | None = None,
    analysis: Report | str | Path | None = None,
    exports: Sequence[Export | str | Path] = (),
    plan: str | Path | None = None,
    title: str | None = None,
    key: str | None = None,
    force: bool = False,
) -> Path:
    """Write one HTML page on a Taut file, and on what else is given; gives its path.

    Without `out` it lies beside the file, under its name: net.html. `evaluation`, `frontier`,
    `analysis` and `exports` are what these verbs gave, or their JSON; `original` is a model, whose
    part of a checkpoint `key` names. With `other`, another file of the same model, both stand side
    by side: `evaluation` is then one of each, or of the other against the file.

    Raises:
        ArgumentError: `out` exists and `force` is not given, or it is a Taut file; something given
            is not of this file, or not for two; the extra is missing.
        FormatError, VerifyError: a file is damaged.
    """
    source, second = as_path(file), None if other is None else as_path(other)
    page = page_path(source, second) if out is None else as_path(out, "a page")
    _check_page(page, force=force)
    evidence = Evidence(
        evaluation=None, frontier=frontier, analysis=analysis, exports=exports, plan=plan
    )
    judged = _judged(evaluation)
    if second is not None:
        _check_alone({**vars(evidence), "original": original, "title": title, "key": key})
        _compare(source, second, judged, page, force=force)
        return page
    if len(judged) > 1:
        raise ArgumentError("evaluation: one file has one; two are for a report with other")
    from taut.reporting.page import write_page

    whole = None if original is None else chosen(cast("Model", original), key)
    evidence = replace(evidence, evaluation=next(iter(judged), None))
    story = tell(source, evidence, original=whole, title=title)
    write_page(page, replace(story, date=written_now()), force=force)
    return page


def _judged(given: Judged | Sequence[Judged]) -> tuple[Judged, ...]:
    """Evaluations that were given: none, one, or one of each file."""
    if given is None:
        return ()
    return (given,) if isinstance(given, Evaluation | str | Path) else tuple(given)


def _check_page(page: Path, *, force: bool) -> None:
    """Whether a page may be written; a Taut file is not replaced by one, even with `force`."""
    if page.is_file() and is_taut(page):
        raise ArgumentError(f"{page}: is a Taut file, and no page; to compare it give it as other")
    check_destination(page, force=force)


def _check_alone(given: Mapping[str, object]) -> None:
    """Whether two files are asked for with nothing that is about one alone."""
    for name, value in given.items():
        if value is not None and value != ():
            raise ArgumentError(f"{name}: is for a report on one file; leave it out, or other")


def _compare(
    file: Path, other: Path, judged: tuple[Judged, ...], page: Path, *, force: bool
) -> None:
    """Write the page on two files."""
    from taut.reporting.comparison import compare_files
    from taut.reporting.comparison_page import write_comparison

    if len(judged) > 2:
        raise ArgumentError(f"evaluation: {len(judged)} of two files; give one or two")
    found = compare_files(file, other, judged)
    write_comparison(page, found, PageFacts(date=written_now()), force=force)
