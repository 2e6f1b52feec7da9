"""Results as a notebook shows them: a sentence, numbers, charts of the page, tables to open.

What comes out is HTML without a script, with styles of its own class alone, and escaped throughout.
Without the extra `report` there are no charts, and a line says how to get them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch
from hashlib import sha256
from html import escape
from typing import Final

from taut.analysis.differences import Differences
from taut.analysis.tensor_facts import Report
from taut.compression.foreseen import Result
from taut.container.info import Info
from taut.errors import ArgumentError
from taut.reporting import numbers as say
from taut.reporting._svg import inline
from taut.reporting.chart import Chart, Table
from taut.reporting.charts import charts_of
from taut.reporting.headline import Tile, sentence_of, tiles_of
from taut.reporting.in_words import words_of
from taut.reporting.story import Story
from taut.reporting.tables import (
    fidelity_table,
    metric_table,
    paired_sentences,
    scheme_table,
    tensor_table,
)
from taut.reporting.tell import costs_of
from taut.scoring.results import Evaluation
from taut.sweep.pareto import Frontier

_ROWS: Final = 60  # of a table
_RIGHT: Final = ' class="n"'
_CHARTS: Final = 4
_LIGHT: Final = (
    "--ink:#1c2430;--muted:#5c6773;--grid:#e4e8ed;--card:#fff;--before:#aeb8c4;--after:#2563d8;"
    "--warn:#c2571a;--peer:#7a5bb5;--good:#14784f"
)
_DARK: Final = (
    "--ink:#e8ebf0;--muted:#9aa5b3;--grid:#2a313b;--card:#171b22;--before:#566171;--after:#6b9dff;"
    "--warn:#f0925a;--peer:#b394ec;--good:#4cc38a"
)
_HOSTS: Final = ('[data-jp-theme-light="false"]', "body.vscode-dark", 'html[theme="dark"]')
_STYLE: Final = (
    f".taut-cell{{{_LIGHT};color:var(--ink);background:var(--card);padding:10px 12px;"
    "border:1px solid var(--grid);border-radius:8px;max-width:1040px;font:14px/1.45 system-ui,"
    "sans-serif;font-variant-numeric:tabular-nums}"
    f"{','.join(f'{host} .taut-cell' for host in _HOSTS)}{{{_DARK}}}"
    ".taut-cell p{margin:0 0 6px}.taut-cell .muted{color:var(--muted);font-size:12px}"
    ".taut-cell .row{display:flex;flex-wrap:wrap;gap:8px 24px;margin:8px 0}"
    ".taut-cell .row>figure{flex:1 1 320px;max-width:490px;margin:0}"
    ".taut-cell svg{display:block;width:100%;height:auto}"
    ".taut-cell b{font-size:18px}"
    ".taut-cell .good{color:var(--good)}.taut-cell .bad{color:var(--warn)}"
    ".taut-cell table{border-collapse:collapse;font-size:12px;color:inherit}"
    ".taut-cell th,.taut-cell td{padding:2px 10px 2px 0;text-align:left;color:inherit;"
    "background:none;border:0;border-bottom:1px solid var(--grid)}"
    ".taut-cell .n{text-align:right}.taut-cell summary{cursor:pointer;color:var(--after)}"
)


@dataclass(frozen=True)
class _Cell:
    """What a cell shows: a story, whose charts are drawn, a lead, and tables under their titles."""

    lead: str
    story: Story
    tables: tuple[tuple[str, Table | None], ...] = ()
    open: bool = False  # the first table
    tiles: tuple[Tile, ...] = ()
    lines: tuple[str, ...] = ()


def cell_of(found: object) -> str | None:
    """A result as HTML for a notebook's cell; None of one that words tell as well.

    >>> cell_of(3) is None
    True
    """
    shown = _shown(found)
    return None if shown is None else _html(shown)


@singledispatch
def _shown(found: object) -> _Cell | None:
    return None


@_shown.register
def _of_info(found: Info) -> _Cell:
    story = Story(
        size=found.size,
        original_size=found.original_size,
        parameters=found.parameters,
        tensors=costs_of(found),
    )
    notes: tuple[str, ...] = (f"A delta of {found.base}.",) if found.base else ()
    if isinstance(found, Result):
        notes = (*words_of(found).split("\n")[2:], *found.notes)
    tables = (("by scheme", scheme_table(story)), ("every tensor", tensor_table(story)))
    path = words_of(found).partition(": ")[0]
    return _Cell(f"{path}: {sentence_of(story)}", story, tables, lines=notes)


@_shown.register
def _of_evaluation(found: Evaluation) -> _Cell:
    story = Story(evaluation=found).completed()
    tables = (("scores", metric_table(found)), ("outputs", fidelity_table(found)))
    lines = (*paired_sentences(found), *found.notes)
    lead = f"{found.model.name}: {sentence_of(story)}"
    return _Cell(lead, story, tables, True, tiles_of(story), lines)


@_shown.register
def _of_frontier(found: Frontier) -> _Cell:
    story = Story(frontier=found)
    missed = tuple(f"{one.name}: {one.reason}" for one in found.missed)
    first, *others = words_of(found).split("\n")
    return _Cell(first, story, _trade_table(story), True, lines=(*others, *found.notes, *missed))


def _trade_table(story: Story) -> tuple[tuple[str, Table | None], ...]:
    """The points as a table, where no chart has it."""
    found = story.frontier
    if found is None:
        return ()
    rows = tuple(
        (
            *(point.name, say.size(point.size), f"{say.digits(point.ratio)}×"),
            *(say.digits(point.bits), say.score(point.score.value), say.digits(point.drop)),
            "yes" if point.name in found.pareto else "",
        )
        for point in (*found.points, found.original)
    )
    head = ("point", "size", "ratio", "bits", found.original.score.name, "lost", "worth having")
    return (("points", Table(head, rows)),)


@_shown.register
def _of_report(found: Report) -> _Cell:
    losses = {
        facts.name: guess.loss
        for facts in found.stored
        if (guess := facts.predictions.get("rd:3")) is not None and guess.loss is not None
    }
    ordered = sorted(found.stored, key=lambda facts: (-losses.get(facts.name, 0.0), -facts.bytes))
    rows = tuple(
        (
            *(facts.name, "×".join(map(str, facts.shape)) or "scalar", facts.dtype),
            *(say.size(facts.bytes), say.size(facts.lossless)),
            say.digits(losses[facts.name]) if facts.name in losses else "-",
        )
        for facts in ordered
    )
    head = ("tensor", "shape", "dtype", "bytes", "bit-exact", "loss at 3 bits")
    first, *others = words_of(found).split("\n")
    lines = (*others, *found.notes)
    return _Cell(first, Story(), (("tensors", Table(head, rows, 3)),), True, lines=lines)


@_shown.register
def _of_differences(found: Differences) -> _Cell:
    ordered = sorted(found.tensors, key=lambda tensor: (tensor.state == "same", -tensor.relative))
    rows = tuple(
        (
            *(one.name, one.state, "×".join(map(str, one.shape)) or "scalar", one.dtype),
            *(say.count(one.changed), say.digits(one.relative)),
        )
        for one in ordered
    )
    head = ("tensor", "state", "shape", "dtype", "values changed", "relative error")
    first, *others = words_of(found).split("\n")
    return _Cell(first, Story(), (("tensors", Table(head, rows, 4)),), True, lines=tuple(others))


def _html(shown: _Cell) -> str:
    parts = [f"<p>{_text(shown.lead)}</p>", *(_paragraph(line) for line in shown.lines)]
    if shown.tiles:
        parts.append(f'<div class="row">{"".join(map(_tile, shown.tiles))}</div>')
    parts += _drawn(shown.story)
    for number, (title, table) in enumerate(shown.tables):
        if table is not None:
            parts.append(_table(title, table, shown.open and not number))
    return f'<div class="taut-cell"><style>{_STYLE}</style>{"".join(parts)}</div>'


def _drawn(story: Story) -> Iterator[str]:
    """The first charts of a story; how to get them, where they cannot be drawn."""
    try:
        charts = charts_of(story)[:_CHARTS]
    except ArgumentError as error:
        yield _paragraph(str(error))
        return
    if charts:
        yield f'<div class="row">{"".join(map(_figure, charts))}</div>'


def _figure(chart: Chart) -> str:
    # Cells of a notebook are one page: ids that are of this chart's numbers alone.
    key = f"{chart.key}-{sha256(repr(chart.table).encode()).hexdigest()[:12]}"
    title, about = say.printable(chart.title), say.printable(chart.about)
    return f"<figure><p>{_text(title)}</p>{inline(chart.draw(), key, title, about)}</figure>"


def _tile(tile: Tile) -> str:
    was = f' <span class="muted">before {_text(tile.before)}</span>' if tile.before else ""
    change = f' <span class="{tile.tone}">{_text(tile.change)}</span>' if tile.change else ""
    label, now = _text(tile.label), _text(tile.after)
    return f'<div><span class="muted">{label}</span><br><b>{now}</b>{was}{change}</div>'


def _table(title: str, table: Table, is_open: bool) -> str:
    rows = [_row("th", table.head, table.left)]
    rows += [_row("td", row, table.left) for row in table.rows[:_ROWS]]
    left = len(table.rows) - _ROWS
    more = _paragraph(f"and {left:,} more") if left > 0 else ""
    opened = " open" if is_open else ""
    return (
        f"<details{opened}><summary>{_text(title)}</summary><table>{''.join(rows)}</table>{more}"
        "</details>"
    )


def _row(tag: str, cells: Sequence[str], left: int) -> str:
    made = (
        f"<{tag}{_RIGHT if number >= left else ''}>{_lines(cell)}</{tag}>"
        for number, cell in enumerate(cells)
    )
    return f"<tr>{''.join(made)}</tr>"


def _lines(cell: str) -> str:
    return "<br>".join(map(_text, cell.split("\n")))


def _paragraph(line: str) -> str:
    return f'<p class="muted">{_text(line)}</p>'


def _text(text: str) -> str:
    return escape(say.printable(text))
