"""One page that shows a story, and its charts as files of their own.

The page holds all it shows: no script, no font, no image from elsewhere, and a content security
policy that would stop any. Names of tensors are nobody's markup: every text is escaped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from taut.container import AtomicFile, check_destination
from taut.errors import ArgumentError
from taut.reporting import numbers as say
from taut.reporting._canvas import need_report
from taut.reporting._svg import image, inline
from taut.reporting.chart import Chart, Table
from taut.reporting.charts import SECTIONS, charts_of
from taut.reporting.headline import sentence_of, tiles_of
from taut.reporting.story import Story
from taut.reporting.tables import (
    export_table,
    fidelity_table,
    metric_table,
    paired_sentences,
    scheme_table,
    tensor_table,
)

if TYPE_CHECKING:
    from markupsafe import Markup

_NAME: Final = re.compile(r"(?<=\w)([._])(?=[A-Za-z])")
_NARROW: Final = 3  # columns of a table that fits beside a chart
_ROWS: Final = 1000  # of a table
_ABOUT: Final = {
    "Size": "What every layer took, and takes.",
    "Values": "What rounding did to the weights.",
    "Distributions": "Weights before and after, and the levels that are left. The largest tensors "
    "and those with the largest error.",
    "Score": "What the model is worth.",
    "Outputs": "What came out of both models, given the same inputs.",
    "Trade-off": "What other sizes of this model are worth.",
}


@dataclass(frozen=True)
class Drawn:
    """A chart as the page shows it."""

    chart: Chart
    svg: str
    alone: bool = False  # nothing stands beside it on a wide screen


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it."""

    title: str
    about: str
    charts: tuple[Drawn, ...]
    tables: tuple[Table, ...] = ()
    sentences: tuple[str, ...] = ()


def write_page(path: Path, story: Story, *, force: bool = False) -> None:
    """Write a story as one HTML file that needs nothing else; the same story, the same bytes.

    Raises:
        ArgumentError: the file exists (and not `force`), its folder does not, or the `report`
            extra is not installed.
    """
    need_report()
    check_destination(path, force=force)
    _write(path, page(story).encode(), force)


def write_charts(
    folder: Path, story: Story, kind: Literal["svg", "png"] = "svg", *, force: bool = False
) -> tuple[Path, ...]:
    """Write every chart of a story as a file in `folder`, which is made; gives their paths.

    Raises:
        ArgumentError: one of the files exists (and not `force`), or the `report` extra is not
            installed.
    """
    if kind not in ("svg", "png"):
        raise ArgumentError(f'charts: kind {kind!r} is unknown; "svg" or "png"')
    charts = charts_of(story)
    if folder.exists() and not folder.is_dir():
        raise ArgumentError(f"{folder}: is no folder; charts are written into one")
    paths = tuple(folder / f"{chart.key}.{kind}" for chart in charts)
    for path in paths:
        if path.exists():
            check_destination(path, force=force)
    folder.mkdir(parents=True, exist_ok=True)
    for chart, path in zip(charts, paths, strict=True):
        _write(path, image(chart.draw(), kind, chart.key), force)
    return paths


def page(story: Story) -> str:
    """The text of the page.

    Raises:
        ArgumentError: the `report` extra is not installed.
    """
    need_report()
    from importlib.resources import files

    import jinja2

    text = (files("taut.reporting") / "report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["safe_text"] = say.printable
    environment.filters["breakable"] = _breakable
    story = story.completed()
    evaluation = story.evaluation
    return environment.from_string(text).render(
        story=story,
        sentence=sentence_of(story),
        tiles=tiles_of(story),
        sections=_sections(story),
        narrow=_NARROW,
        most=_ROWS,
        schemes=scheme_table(story),
        tensors=tensor_table(story),
        exports=export_table(story.exports),
        provenance={**(evaluation.provenance or {} if evaluation else {}), **story.provenance},
        notes=(*story.notes, *(evaluation.notes if evaluation else ())),
    )


def _breakable(text: str) -> Markup:
    """The text, escaped, with places in dotted names where a line may break."""
    from markupsafe import Markup, escape

    return Markup(_NAME.sub(r"\1<wbr>", str(escape(say.printable(text)))))


def _sections(story: Story) -> tuple[Section, ...]:
    drawn = [_drawn(chart) for chart in charts_of(story)]
    tables = {"Score": metric_table(story.evaluation), "Outputs": fidelity_table(story.evaluation)}
    sentences = {"Score": paired_sentences(story.evaluation)}
    found = []
    for title in SECTIONS:
        mine = [one for one in drawn if one.chart.section == title]
        table = tables.get(title)
        if mine or table:
            found.append(
                Section(
                    title=title,
                    about=_ABOUT[title],
                    charts=_laid_out(mine, table),
                    tables=(table,) if table else (),
                    sentences=sentences.get(title, ()),
                )
            )
    return tuple(found)


def _drawn(chart: Chart) -> Drawn:
    title, about = say.printable(chart.title), say.printable(chart.about)
    return Drawn(chart, inline(chart.draw(), chart.key, title, about))


def _laid_out(charts: list[Drawn], table: Table | None) -> tuple[Drawn, ...]:
    """Charts in pairs, beside a narrow table too; the last stands alone where it has no other."""
    narrow = table is not None and len(table.head) <= _NARROW
    if charts and (len(charts) + narrow) % 2:
        return (*charts[:-1], replace(charts[-1], alone=True))
    return tuple(charts)


def _write(path: Path, data: bytes, force: bool) -> None:
    with AtomicFile(path, force=force) as file:
        file.write(data)
        file.commit()
