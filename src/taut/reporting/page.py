"""One page that shows a story, and its charts as files of their own.

The page holds all it shows: one script that sorts tables, no font, no image from elsewhere, and a
content security policy that would stop any. Names of tensors are nobody's markup: every text is
escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
from taut.reporting.frame import document, facts_html, table_html
from taut.reporting.headline import sentence_of, tiles_of
from taut.reporting.made import made_of
from taut.reporting.next_steps import next_steps
from taut.reporting.story import Story
from taut.reporting.tables import (
    export_table,
    fidelity_table,
    metric_table,
    paired_sentences,
    scheme_table,
    tensor_table,
)
from taut.reporting.verdict import verdict_of

if TYPE_CHECKING:
    from markupsafe import Markup

_NAME: Final = re.compile(r"(?<=\w)([._])(?=[A-Za-z])")
_NARROW: Final = 3  # columns of a table that fits beside a chart
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
    """A chart as the page shows it: `markup` is its drawing."""

    chart: Chart
    markup: str
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
    environment.globals["table"] = _table
    story = story.completed()
    parts = _parts(story)
    body = environment.from_string(text).render(**parts)
    return document(f"{story.title}: {verdict_of(story).headline}", body)


def _parts(story: Story) -> dict[str, object]:
    """What the template takes."""
    from markupsafe import Markup

    sections = _sections(story)
    parts: dict[str, object] = {
        "story": story,
        "kind": "trade-off" if story.frontier and not story.evaluation else "report",
        "verdict": verdict_of(story),
        "sentence": sentence_of(story),
        "share": say.percent(1 / story.ratio) if story.ratio else "",
        "made": Markup(facts_html(made_of(story))),
        "tiles": tiles_of(story),
        "steps": next_steps(story),
        "sections": sections,
        "narrow": _NARROW,
        "schemes": scheme_table(story),
        "tensors": tensor_table(story),
        "exports": export_table(story.exports),
        **_origins(story),
    }
    return {**parts, "contents": _contents(parts, sections)}


def _origins(story: Story) -> dict[str, object]:
    """What the page was made from, and what a reader should know of it."""
    evaluation = story.evaluation
    if evaluation is None:
        return {"provenance": story.provenance, "notes": story.notes}
    return {
        "provenance": {**(evaluation.provenance or {}), **story.provenance},
        "notes": (*story.notes, *evaluation.notes),
    }


def _contents(parts: Mapping[str, object], sections: Sequence[Section]) -> list[str]:
    """The headings that the page has."""
    ends = {
        "Exports": ("exports",),
        "Tensors": ("tensors", "schemes"),
        "Provenance": ("provenance", "notes"),
    }
    found = ["Next"] if parts["steps"] else []
    found += [section.title for section in sections]
    return found + [title for title, names in ends.items() if any(parts[one] for one in names)]


def _table(found: Table, key: str, caption: str = "", *, quiet: bool = False) -> Markup:
    """A table as markup, with an id that CSS and links can take."""
    from markupsafe import Markup

    key = re.sub(r"[^a-z0-9-]", "-", key.lower())
    return Markup(table_html(found, key, caption, quiet=quiet))


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
    if chart.html is not None:
        return Drawn(chart, chart.html(), alone=True)
    title, about = say.printable(chart.title), say.printable(chart.about)
    return Drawn(chart, inline(chart.draw(), chart.key, title, about), alone=chart.opened)


def _laid_out(charts: list[Drawn], table: Table | None) -> tuple[Drawn, ...]:
    """Charts in pairs, beside a narrow table too; the last stands alone where it has no other."""
    narrow = table is not None and len(table.head) <= _NARROW
    paired = [one for one in charts if not one.alone]
    if paired and (len(paired) + narrow) % 2:
        last = paired[-1]
        return tuple(replace(one, alone=True) if one is last else one for one in charts)
    return tuple(charts)


def _write(path: Path, data: bytes, force: bool) -> None:
    with AtomicFile(path, force=force) as file:
        file.write(data)
        file.commit()
