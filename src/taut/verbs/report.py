"""The verb `report`: one page on a file, and on whatever else is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from taut.analysis.tensor_facts import Report
from taut.container import check_destination
from taut.container.default_names import page_path
from taut.container.find import as_path
from taut.container.through_stores import through_stores
from taut.exporting.result import Export
from taut.networks.sources import chosen
from taut.reporting.made import written_now
from taut.reporting.tell import Evidence, tell
from taut.scoring.results import Evaluation
from taut.sweep.pareto import Frontier

if TYPE_CHECKING:
    from taut.io.file_objects import BinaryFile
    from taut.loading.load import FileSpec
    from taut.networks.sources import Model


@through_stores(("file", "original"), "out", suffix=lambda given: ".html")
def report(
    file: FileSpec,
    out: str | Path | BinaryFile | None = None,
    *,
    original: Model | BinaryFile | bytes | None = None,
    evaluation: Evaluation | str | Path | None = None,
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
    part of a checkpoint `key` names.

    Raises:
        ArgumentError: `out` exists and `force` is not given; something given is not of this file;
            the extra is missing.
        FormatError, VerifyError: a file is damaged.
    """
    from taut.reporting.page import write_page

    source = as_path(file)
    page = page_path(source) if out is None else as_path(out, "a page")
    check_destination(page, force=force)
    evidence = Evidence(
        evaluation=evaluation, frontier=frontier, analysis=analysis, exports=exports, plan=plan
    )
    whole = None if original is None else chosen(cast("Model", original), key)
    story = tell(source, evidence, original=whole, title=title)
    write_page(page, replace(story, date=written_now()), force=force)
    return page
