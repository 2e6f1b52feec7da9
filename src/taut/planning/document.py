"""A YAML text as plain values and the line of each: only what a plan needs, and no surprises.

Surprises of YAML that end here: two equal keys (the last would win silently), anchors and aliases
(a few lines grow to gigabytes), tags (they name types to build), and texts that turn into numbers
or dates (`2:4` is 124 in YAML 1.1, so a mask would be lost). The text is read as events, so nothing
is built before it is checked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import yaml

from taut.errors import ArgumentError

MAX_BYTES: Final = 16_000_000  # a rule for each of 200,000 tensors
_DEEPEST: Final = 8  # mappings in lists in mappings; a plan has three

_TOO_DEEP: Final = "nested too deeply for a plan"

# Brackets; quoted texts and comments are passed over as one.
_FLOW: Final = re.compile(
    r""""(?:[^"\\]|\\.)*"|'[^']*'|(?:^|(?<=\s))#[^\n]*|[\[\]{}]""", re.S | re.M
)
# A word that begins with a star, cut off where the parser gave up: no name of an anchor.
_STAR: Final = re.compile(r"(?<![^\s\[{,])\*[^\s,\[\]{}]*\Z")
_FRAME: Final = (
    *(yaml.StreamStartEvent, yaml.StreamEndEvent),
    *(yaml.DocumentStartEvent, yaml.DocumentEndEvent),
)
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})")
_FLOAT: Final = re.compile(
    r"([-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?|[-+]?[0-9]+[eE][-+]?[0-9]{1,3}"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"
)
_WORDS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}

At = tuple[int | str, ...]  # ("rules", 0, "match")


@dataclass(frozen=True)
class Document:
    """What a text says: a mapping, and the line where each value (or its key) begins."""

    where: str
    values: dict[str, object]
    lines: dict[At, int]

    def line(self, at: At) -> int:
        """The line of what is nearest around `at`."""
        while at and at not in self.lines:
            at = at[:-1]
        return self.lines.get(at, 1)


def read_document(text: str, where: str) -> Document:
    """Read one YAML mapping; `where` begins every message.

    Raises:
        ArgumentError: the text is not YAML, not one mapping, or uses what is refused here.

    >>> read_document("mask: 2:4 # N:M", "plan").values
    {'mask': '2:4'}
    """
    lines: dict[At, int] = {}
    try:
        events = _events(text, where)
        first = next(events)
        if not isinstance(first, yaml.MappingStartEvent):
            raise ArgumentError(f"{_place(where, first)}: not a mapping; begin with: taut: 1")
        values = _mapping(events, (), lines, where)
        for more in events:
            raise ArgumentError(f"{_place(where, more)}: a second document; a plan is one")
    except StopIteration:
        raise ArgumentError(f"{where}: is empty; begin with: taut: 1") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ArgumentError(_unreadable(error, text, where)) from None
    return Document(where, values, lines)


def write_document(values: dict[str, object]) -> str:
    """YAML that `read_document`, and any reader of YAML 1.1 or 1.2, takes for the same values."""
    return yaml.dump(
        values,
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=False,  # NEL and its like are line breaks to some readers only
        width=math.inf,
    )


class _Dumper(yaml.SafeDumper):
    """Quotes the texts that are numbers in YAML 1.2 only."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def _events(text: str, where: str) -> Iterator[yaml.Event]:
    """The events of the content, each checked to be harmless."""
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor:
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            raise ArgumentError(
                f"{_place(where, event)}: {sign}{anchor}: anchors and aliases are refused; write "
                f'the value out (a text that begins with {sign} wants quotes: "{sign}{anchor}")'
            )
        if tag not in (None, "!"):
            raise ArgumentError(f"{_place(where, event)}: {tag}: tags are refused; leave it out")
        if not isinstance(event, _FRAME):
            yield event


def _value(
    event: yaml.Event, events: Iterator[yaml.Event], at: At, lines: dict[At, int], where: str
) -> object:
    if len(at) > _DEEPEST:
        raise ArgumentError(f"{_place(where, event)}: {_TOO_DEEP}")
    if isinstance(event, yaml.MappingStartEvent):
        return _mapping(events, at, lines, where)
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[object] = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            below = (*at, len(items))
            lines[below] = _line(item)
            items.append(_value(item, events, below, lines, where))
        return items
    assert isinstance(event, yaml.ScalarEvent)
    return _scalar(event.value) if event.implicit[0] else event.value


def _mapping(
    events: Iterator[yaml.Event], at: At, lines: dict[At, int], where: str
) -> dict[str, object]:
    values: dict[str, object] = {}
    while not isinstance(key := next(events), yaml.MappingEndEvent):
        if not isinstance(key, yaml.ScalarEvent):
            raise ArgumentError(f"{_place(where, key)}: a key must be a word")
        below = (*at, key.value)
        if key.value in values:
            raise ArgumentError(
                f'{_place(where, key)}: the key "{key.value}" comes twice, first in line '
                f"{lines[below]}; keep one"
            )
        lines[below] = _line(key)
        values[key.value] = _value(next(events), events, below, lines, where)
    return values


def _scalar(text: str) -> object:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
    return text


def _unreadable(error: Exception, text: str, where: str) -> str:
    """Why the parser gave up, in words that do not depend on its version where depth is the cause.

    Parsers look ahead in a flow collection, so they meet their own limit before `_value` does.
    """
    mark = getattr(error, "problem_mark", None)
    line = _too_deep(text[: mark.index + 1] if mark else text)
    if line is not None:
        return f"{where}, line {line}: {_TOO_DEEP}"
    if isinstance(error, yaml.YAMLError):
        return _syntax(error, text, where)
    return f"{where}: {_TOO_DEEP}"


def _too_deep(text: str) -> int | None:
    """The line where more flow collections are open than a plan may nest; None if that never is.

    >>> _too_deep("a: 1\\nb: [[[[[[[[[")
    2
    """
    depth = 0
    for found in _FLOW.finditer(text):
        depth = max(depth + {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0), 0)
        if depth > _DEEPEST:
            return text.count("\n", 0, found.start()) + 1
    return None


def _syntax(error: yaml.YAMLError, text: str, where: str) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:  # a character that YAML has not
        problem = " ".join(str(error).split())
        return f"{where}: not valid YAML: {problem[:200]}"
    problem = getattr(error, "problem", None) or "cannot be read"
    hint = ""
    if _STAR.search(text, 0, mark.index):
        hint = '; a text that begins with * wants quotes, as in "*.weight"'
    return f"{where}, line {mark.line + 1}, column {mark.column + 1}: not YAML: {problem}{hint}"


def _place(where: str, event: yaml.Event) -> str:
    return f"{where}, line {_line(event)}"


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1
