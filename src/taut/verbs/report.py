"""The verb `report`: one page on a file, and on whatever else is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from taut.analysis.tensor_facts import Report
from taut.container import check_destination
from taut.container.find import as_path
from taut.container.through_stores import through_stores
from taut.exporting.result import Export
from taut.networks.sources import chosen
from taut.reporting.made import written_now
from taut.reporting.tell import Evidence, tell
from taut.scoring.results import Evaluation
from taut.sweep.pareto import Frontier

if TYPE_CHECKING:
    from taut.networks.sources import Model


@through_stores(("file", "original"))
def report(
    file: str | Path,
    out: str | Path,
    *,
    original: Model | None = None,
    evaluation: Evaluation | str | Path | None = None,
    frontier: Frontier | str | Path | None = None,
    analysis: Report | str | Path | None = None,
    exports: Sequence[Export | str | Path] = (),
    plan: str | Path | None = None,
    title: str | None = None,
    key: str | None = None,
    force: bool = False,
) -> Path:
    """Write one HTML page on a Taut file, and on what else is given (see `tell`); its path.

    `key` names the part of a checkpoint that `original` is, as in `compress`.

    Raises:
        ArgumentError: as `tell`; `out` exists and `force` is not given; the extra is missing.
    """
    from taut.reporting.page import write_page

    check_destination(as_path(out, "a page"), force=force)
    evidence = Evidence(
        evaluation=evaluation, frontier=frontier, analysis=analysis, exports=exports, plan=plan
    )
    whole = None if original is None else chosen(original, key)
    story = tell(file, evidence, original=whole, title=title)
    write_page(Path(out), replace(story, date=written_now()), force=force)
    return Path(out)
