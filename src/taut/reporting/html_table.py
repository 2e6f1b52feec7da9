"""Tables as HTML: sortable by their heads, and on a phone rows that hide nothing."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from taut.reporting.chart import Table
from taut.reporting.numbers import exact, printable

_ROWS: Final = 1000  # of a table that a page shows
_PLAIN: Final = 3  # columns that fit on a phone as they are
_MANY: Final = 7  # columns of which four stand side by side on a phone
_NONE: Final = ("", "-")  # cells that a phone leaves out
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def table_html(
    found: Table, key: str, caption: str = "", *, quiet: bool = False, left: str = "taut info shows"
) -> str:
    """A table with the id `key`, which no other has; `caption` says what it is of.

    A `quiet` caption is for screen readers alone. Of more than a thousand rows the first are
    shown, and `left` says who shows the others. Every text is escaped.
    """
    caption = found.caption or caption
    wide = len(found.head) > _PLAIN
    classes = ["rows" if wide else "fit", *(["many"] if len(found.head) > _MANY else [])]
    classes += ["sorts"] if found.sorts and len(found.rows) > 1 else []
    hidden = ' class="quiet"' if quiet else ""
    named = f"<caption{hidden}>{_text(caption)}</caption>" if caption else ""
    head = "".join(
        f'<th scope="col"{_side(place, found.left)}{_order(found, place)}>{_text(cell)}</th>'
        for place, cell in enumerate(found.head)
    )
    labels = f"<style>{''.join(_labels(found, key))}</style>" if wide else ""
    return (
        f'{labels}<table id="{key}" class="{" ".join(classes)}">{named}'
        f"<thead><tr>{head}</tr></thead><tbody>\n{''.join(_rows(found, left))}</tbody></table>"
    )


def _rows(found: Table, left: str) -> Iterator[str]:
    for row in found.rows[:_ROWS]:
        cells = "".join(
            f"<td{_side(place, found.left, cell)}>{_lines(cell)}</td>"
            for place, cell in enumerate(row)
        )
        yield f"<tr>{cells}</tr>\n"
    if len(found.rows) > _ROWS:
        more = f"and {exact(len(found.rows) - _ROWS)} more, which {left}"
        yield f'<tr class="more"><td colspan="{len(found.head)}">{_text(more)}</td></tr>\n'


def _labels(found: Table, key: str) -> Iterator[str]:
    """What a narrow screen writes above each cell: the column's head."""
    for place, cell in enumerate(found.head[1:], 2):
        text = "".join(
            char if char in _LETTERS else f"\\{ord(char):x} " for char in printable(cell)
        )
        yield f'#{key} td:nth-child({place}){{--head:"{text}"}}'


def _order(found: Table, place: int) -> str:
    """That a column is sorted already, as those of numbers are: the largest first."""
    return ' aria-sort="descending"' if found.sorted_by == place else ""


def _side(place: int, left: int, cell: str = "x") -> str:
    """The class of a cell: numbers stand on the right, and what is nothing is left out."""
    classes = (["n"] if place >= left else []) + (["none"] if cell in _NONE else [])
    return f' class="{" ".join(classes)}"' if classes else ""


def _lines(cell: str) -> str:
    first, *others = cell.split("\n")
    return _text(first) + "".join(f"<small>{_text(line)}</small>" for line in others)


def _text(text: str) -> str:
    return escape(printable(text))
