"""Notes of a run, one line a kind and the worst first, so that what matters is not drowned."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from taut.reporting.plain_text import plural

_NUMBER: Final = re.compile(r"\d[\d,]*(?:\.\d+)?")
_SUBJECT: Final = re.compile(r'(?P<name>"[^"]+"|[^\s":]+): (?P<told>.+)', re.DOTALL)
_NAMED: Final = 3  # tensors that a line names
# What a note says of the result, the worst first; the rest comes after.
_WORSE: Final = (
    re.compile(r"NaN|infinit|not finite|damaged|fail|cannot|could not|worse", re.IGNORECASE),
    re.compile(r"never|always|not reached|no gradient|not followed|in place|may be off|missing"),
    re.compile(r"fewer|left (out|alone|as)|stay|first .* are used"),
)


def gathered(notes: Iterable[str]) -> list[str]:
    """Notes that differ by tensor and numbers alone as one, the worst kinds first.

    >>> gathered(["calibration: 8 texts", "a.w: 3 of 9 outputs are always zero",
    ...           "b.w: 5 of 9 outputs are always zero"])
    ['2 tensors: 3 to 5 of 9 outputs are always zero: b.w (5), a.w (3)', 'calibration: 8 texts']
    """
    kinds: dict[tuple[bool, str], list[tuple[str, str]]] = {}
    for note in dict.fromkeys(notes):
        match = _SUBJECT.fullmatch(note)
        name, told = (match["name"], match["told"]) if match else ("", note)
        kinds.setdefault((bool(name), _NUMBER.sub("N", told)), []).append((name, told))
    ordered = sorted(kinds.values(), key=lambda members: (_rank(members[0][1]), -len(members)))
    return [_line(members) for members in ordered]


def _rank(told: str) -> int:
    return next((n for n, words in enumerate(_WORSE) if words.search(told)), len(_WORSE))


def _line(members: Sequence[tuple[str, str]]) -> str:
    """Notes of one kind in a line."""
    name, told = members[0]
    if len(members) == 1:
        return f"{name}: {told}" if name else told
    numbers = [_NUMBER.findall(one) for _, one in members]
    columns = [sorted(set(column), key=_value) for column in zip(*numbers, strict=True)]
    text = _with_ranges(told, columns)
    if not name:
        return f"{text} ({plural(len(members), 'time')})"
    varied = next((at for at, column in enumerate(columns) if len(column) > 1), None)
    shown = _named(members, None if varied is None else [one[varied] for one in numbers])
    return f"{plural(len(members), 'tensor')}: {text}: {shown}"


def _with_ranges(told: str, columns: Sequence[Sequence[str]]) -> str:
    """A note with the least and the largest of its numbers in the place of each."""
    ranges = iter([" to ".join(dict.fromkeys((one[0], one[-1]))) for one in columns])
    return _NUMBER.sub(lambda _: next(ranges), told)


def _named(members: Sequence[tuple[str, str]], numbers: Sequence[str] | None) -> str:
    """Some of the tensors by name, those with the highest numbers first."""
    names = [name for name, _ in members]
    if numbers is not None:
        pairs = sorted(zip(names, numbers, strict=True), key=lambda pair: -_value(pair[1]))
        names = [f"{name} ({number})" for name, number in pairs]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _value(text: str) -> float:
    return float(text.replace(",", ""))
