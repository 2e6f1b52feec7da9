"""Typed access to JSON that nobody vouches for: a surprise is a `FormatError` that says where."""

from __future__ import annotations

import json
import math
import re

import numpy as np

from taut.errors import FormatError

# Sizes and counts above this are no file's; the cap also keeps products inside 64 bits elsewhere.
_LARGEST = 1 << 48
_DIGITS = frozenset("0123456789abcdef")

_DEEPEST = 64  # lists and objects in one another; an index has seven, a model's config ten
_BLOCK = 1 << 16
# A string, or what begins like one: possessive, so that no hostile text is scanned twice.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.S)
_OTHER = bytes(set(range(256)) - set(b"[]{}"))
_STEP = np.zeros(256, np.int8)
_STEP[list(b"[{")], _STEP[list(b"]}")] = 1, -1


def load_json(text: bytes, where: str) -> object:
    """Parse UTF-8 JSON; duplicate keys, NaN, deep nesting and bad UTF-8 are `FormatError`s.

    Nesting is measured before the text is parsed: parsers differ in how much of it they bear.
    """
    if _depth(text) > _DEEPEST:
        raise FormatError(f"{where}: JSON nested too deeply")
    try:
        return json.loads(
            text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise FormatError(f"{where}: not JSON ({error})") from None


def _depth(text: bytes) -> int:
    """How many lists and objects are open at once, at most.

    >>> _depth(b'{"[[": [[], {}]}')
    3
    """
    brackets = _STRING.sub(b"", text).translate(None, _OTHER)
    depth = deepest = 0
    for begin in range(0, len(brackets), _BLOCK):  # a bomb is brackets by the gigabyte
        steps = _STEP[np.frombuffer(brackets[begin : begin + _BLOCK], np.uint8)]
        depths = depth + np.cumsum(steps, dtype=np.int64)
        depth, deepest = int(depths[-1]), max(deepest, int(depths.max()))
    return deepest


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise ValueError("an object has the same key twice")
    return tree


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def get_object(value: object, where: str) -> dict[str, object]:
    """Give `value` as an object, or raise `FormatError`."""
    if not isinstance(value, dict):
        raise FormatError(f"{where} is not a JSON object")
    return value


def check_keys(
    tree: dict[str, object], needed: tuple[str, ...], optional: tuple[str, ...], where: str
) -> None:
    """Raise `FormatError` unless `tree` has all `needed` keys and no others than `optional`."""
    for key in needed:
        if key not in tree:
            raise FormatError(f'{where}: no "{key}"')
    for key in tree:
        if key not in needed and key not in optional:
            raise FormatError(f"{where}: unknown key {key!r:.80}")


def get_list(tree: dict[str, object], key: str, where: str) -> list[object]:
    """Give the list at `key`, or raise `FormatError`."""
    value = tree.get(key)
    if not isinstance(value, list):
        raise FormatError(f'{where}: "{key}" is not a list')
    return value


def get_text(tree: dict[str, object], key: str, where: str) -> str:
    """Give the string at `key`, free of lone surrogates, or raise `FormatError`."""
    value = tree.get(key)
    if not isinstance(value, str):
        raise FormatError(f'{where}: "{key}" is not a string')
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise FormatError(f'{where}: "{key}" is not Unicode text') from None
    return value


def get_checksum(tree: dict[str, object], key: str, where: str) -> str:
    """Give the 16 hexadecimal digits at `key`, or raise `FormatError`."""
    value = tree.get(key)
    if not isinstance(value, str) or len(value) != 16 or not _DIGITS.issuperset(value):
        raise FormatError(f'{where}: "{key}" is not 16 hexadecimal digits')
    return value


def get_integer(tree: dict[str, object], key: str, where: str) -> int:
    """Give the integer from 0 to 2^48 at `key`, or raise `FormatError`."""
    value = tree.get(key)
    if type(value) is not int or not 0 <= value <= _LARGEST:
        raise FormatError(f'{where}: "{key}" is not an integer from 0 to 2^48')
    return value


def get_number(tree: dict[str, object], key: str, where: str) -> float:
    """Give the finite number at `key`, at least 0, or raise `FormatError`."""
    value = tree.get(key)
    if type(value) not in (int, float) or not isinstance(value, int | float):
        raise FormatError(f'{where}: "{key}" is not a number')
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and number >= 0):
        raise FormatError(f'{where}: "{key}" is not a finite number of at least 0')
    return number


def numbered(items: list[object], what: str) -> list[tuple[str, object]]:
    """Each item with what to call it in errors."""
    return [(f"{what} {number}", item) for number, item in enumerate(items)]
