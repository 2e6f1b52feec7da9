"""Numbers as people read them: decimal units, three significant digits, aligned columns."""

from __future__ import annotations

from collections.abc import Sequence

_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_COUNTS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def size(nbytes: int | float) -> str:
    """Bytes in decimal units.

    >>> size(88_100), size(1_090_000), size(12)
    ('88.1 kB', '1.09 MB', '12 B')
    """
    for unit, name in _SIZES:
        if nbytes >= 0.9995 * unit:
            return f"{significant(nbytes / unit)} {name}"
    return f"{nbytes:.0f} B"


def count(number: int) -> str:
    """A count in decimal units.

    >>> count(272_474), count(22_713_216), count(98)
    ('272 k', '22.7 M', '98')
    """
    for unit, name in _COUNTS:
        if number >= 0.9995 * unit:
            return f"{significant(number / unit)} {name}"
    return str(number)


def significant(number: float) -> str:
    """Three significant digits, never in exponent form.

    >>> significant(1.0903), significant(90.87), significant(272.4)
    ('1.09', '90.9', '272')
    """
    return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f}"


def plural(number: int, noun: str) -> str:
    """`number` and `noun`, which takes an s unless the number is one.

    >>> plural(1, "tensor"), plural(98, "tensor")
    ('1 tensor', '98 tensors')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows under a head, two spaces between columns, the first `left` columns aligned left."""
    lines = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
