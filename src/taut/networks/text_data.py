"""Texts for calibration, and how they are read: a name with options behind it."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from numbers import Real
from pathlib import Path
from typing import Any, Final, get_args

from taut.errors import ArgumentError
from taut.io.names import nearest
from taut.networks.texts import Apart

_OPTIONS: Final = re.compile(r"(.+?)((?:,[a-z]+=[^,=]*)+)", re.DOTALL)
BLEND: Final = 0.1
"""Of all windows: with it other texts lose less, and the caller's own no more (calibration.md)."""

_SWITCH: Final = {"yes": True, "no": False}


@dataclass(frozen=True)
class TextData:
    """Where texts are, and how they become batches.

    `source` is a file, a folder, `default`, or documents in a list. `length` is of a window in
    tokens (at most 512 and what the network takes, if not given); `windows` how many of them to
    use at most, spread evenly; `column` the field of rows and objects; `apart` what a text of a
    `.txt` ends with: a "line", a "paragraph", a "file". With `pack` texts follow one another in
    full windows, without it each is a sample of its own; by default they are packed for networks
    that see only what stands before a token. `blend` is the share of windows that are taken from
    the texts that come with the package: `BLEND` of packed texts, and none of others, if not given.
    `generated` is the share of windows that a language model generates itself, none if not given.
    """

    source: object
    length: int | None = None
    windows: int | None = None
    column: str | None = None
    apart: Apart = "line"
    pack: bool | None = None
    blend: float | None = None
    generated: float | None = None

    def __post_init__(self) -> None:
        for name in ("length", "windows"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ArgumentError(f"{name}: {value} is less than 1")
        for name in ("blend", "generated"):
            share = getattr(self, name)
            if share is None:
                continue
            if not isinstance(share, Real) or not 0 <= float(share) < 1:
                told = f"{share:g}" if isinstance(share, Real) else repr(share)
                raise ArgumentError(f"{name}: {told} is no share; give 0 or more, and below 1")
        if self.apart not in get_args(Apart):
            raise ArgumentError(f"apart: {self.apart} is none of {', '.join(get_args(Apart))}")

    def with_apart(self, apart: Apart) -> TextData:
        """The same, where texts end otherwise, unless that was said."""
        return replace(self, apart=apart) if self.apart == "line" else self


def text_data(spec: str | Path) -> TextData:
    """A name, and the options behind it: `chats.jsonl,length=1024,column=messages`.

    A name that is there as it stands has no options.

    Raises:
        ArgumentError: there is no such option, or its value is none.

    >>> text_data("a.txt,length=128,blend=0.1")
    TextData(source='a.txt', length=128, windows=None, column=None, apart='line', pack=None,
             blend=0.1, generated=None)
    """
    name, options = split_options(spec)
    known = [field.name for field in fields(TextData) if field.name != "source"]
    given: dict[str, Any] = {}
    for option in options:
        key, _, value = option.partition("=")
        if key not in known:
            raise ArgumentError(
                f'{name}: no option "{key}"; there are {", ".join(known)}{nearest(key, known)}'
            )
        given[key] = _value(key, value)
    return TextData(name, **given)


def split_options(spec: str | Path) -> tuple[str, list[str]]:
    """The name of a spec, and its options as they stand."""
    text = str(spec)
    found = _OPTIONS.fullmatch(text)
    if found is None or Path(text).exists():
        return text, []
    return found[1], found[2][1:].split(",")


def _value(key: str, value: str) -> Any:
    try:
        if key in ("length", "windows"):
            return int(value)
        if key in ("blend", "generated"):
            return float(value)
        return _SWITCH[value] if key == "pack" else value
    except (ValueError, KeyError):
        share = "a share below 1"
        wants = {"blend": share, "generated": share, "pack": "yes or no"}.get(key, "a whole number")
        raise ArgumentError(f'{key}={value}: "{value}" is not {wants}') from None
