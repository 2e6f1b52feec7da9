"""Text for a terminal: nouns in the plural, and tables of aligned columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

_Value = TypeVar("_Value")


def plural(number: int, noun: str) -> str:
    """`number` and `noun`, which takes an s unless the number is one.

    >>> plural(1, "tensor"), plural(98, "tensor")
    ('1 tensor', '98 tensors')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def cell(value: _Value | None, text: Callable[[_Value], str]) -> str:
    """A value as a table shows it, a dash where there is none.

    >>> cell(2, str), cell(None, str)
    ('2', '-')
    """
    return "-" if value is None else text(value)


def any_page(text: str) -> str:
    """The text with hyphens for minus signs, which not every terminal's code page has.

    >>> any_page("\u22120.22 points")
    '-0.22 points'
    """
    return text.replace("\u2212", "-")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows under a head, two spaces between columns, the first `left` columns aligned left."""
    lines = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if column < left else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
