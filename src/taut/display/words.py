"""Pieces, times and bytes as lines and bars tell them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from taut.reporting.numbers import count, size

if TYPE_CHECKING:
    from taut.display.course import Course

_MANY: Final = 100_000


def pieces(done: int, total: int) -> str:
    """How far it is; weights, of which there are millions, are rounded.

    >>> pieces(3, 31), pieces(2_400_000, 22_713_216)
    ('3/31', '2.40 M/22.7 M')
    """
    return f"{done}/{total}" if total < _MANY else f"{count(done)}/{count(total)}"


def clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> clock(75.2)
    '0:01:15'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def bytes_text(course: Course) -> str:
    """Bytes so far, and those that were asked for; "" where nobody told."""
    if course.nbytes is None:
        return ""
    if course.target is None:
        return f"{size(course.nbytes)} so far"
    return f"{size(course.nbytes)} of {size(course.target)}"
