"""Lines of `taut info` as a table that fits the terminal: what says least is left out first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from taut.reporting.alike_layers import Line
from taut.reporting.numbers import digits, size
from taut.reporting.plain_text import table

_LEAST_NAME: Final = 16  # columns of a name, however narrow the terminal
_COLUMNS: Final[dict[str, Callable[[Line], str]]] = {
    "name": lambda line: line.name,
    "tensors": lambda line: str(line.count),
    "dtype": lambda line: line.dtype,
    "shape": lambda line: line.shape,
    "scheme": lambda line: line.scheme,
    "bytes": lambda line: str(line.bytes),
    "size": lambda line: size(line.bytes),
    "bits": lambda line: digits(line.bits),
    "rel_mse": lambda line: f"{line.rel_mse:.2e}" if line.rel_mse else "0",
}
_TEXTS: Final = ("name", "tensors", "dtype", "shape", "scheme")
_FULL: Final = ("name", "tensors", "dtype", "shape", "scheme", "bytes", "bits", "rel_mse")
_NARROW: Final = ("name", "tensors", "shape", "scheme", "size", "bits", "rel_mse")
_NARROWEST: Final = ("name", "tensors", "scheme", "size", "bits", "rel_mse")


def lines_table(
    lines: Sequence[Line],
    width: int | None = None,
    cut: Callable[[int], Sequence[Line]] | None = None,
) -> str:
    """Tensors, or layers that are alike, on a line each, under a head.

    Where `width` columns are given and are too few, exact bytes and dtypes go, then shapes; then
    `cut` gives lines whose names, of several tensors, have at most so many columns; then names lose
    their middle.
    """
    for columns in (_FULL, _NARROW, _NARROWEST):
        text = _table(lines, columns)
        over = _width(text) - (width or _width(text))
        if over <= 0:
            return text
    room = max(_LEAST_NAME, max(len(line.name) for line in lines) - over)
    if cut is not None:
        lines = cut(room)
    return _table(lines, _NARROWEST, room)


def shortened(name: str, room: int) -> str:
    """A name in so many columns, its middle left out: the end tells tensors apart.

    >>> shortened("encoder.layer.0.attention.self.query.weight", 24)
    'encoder…elf.query.weight'
    """
    if len(name) <= room:
        return name
    end = 2 * room // 3
    return f"{name[: room - end - 1]}…{name[-end:]}"


def _table(lines: Sequence[Line], columns: Sequence[str], room: int | None = None) -> str:
    several = any(line.count > 1 for line in lines)
    shown = [name for name in columns if several or name != "tensors"]
    rows = [[_COLUMNS[name](line) for name in shown] for line in lines]
    if room is not None:
        rows = [[shortened(row[0], room), *row[1:]] for row in rows]
    return table(shown, rows, left=sum(name in _TEXTS for name in shown))


def _width(text: str) -> int:
    return max(map(len, text.splitlines()))
