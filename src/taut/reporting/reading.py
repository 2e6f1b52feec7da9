"""Reads back what `to_json` wrote: JSON values into the frozen data they came from."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from taut.errors import ArgumentError

_Kind = TypeVar("_Kind")


def read_json(path: Path, kind: type[_Kind]) -> _Kind:
    """Read a file that holds the JSON of one dataclass of this package.

    Raises:
        ArgumentError: there is no such file, it is no JSON, or JSON of something else; says where.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{path}: is no JSON ({error})") from None
    return read_as(kind, tree, str(path))


def read_as(kind: type[_Kind], tree: object, where: str) -> _Kind:
    """JSON values as a dataclass; keys that it does not know are left out, null is NaN in a float.

    Raises:
        ArgumentError: a value is missing or of another type; the message names it by its path.

    >>> from taut.scoring.results import Metric
    >>> read_as(Metric, {"name": "accuracy", "value": 1}, "scores.json").value
    1.0
    """
    found = _read(kind, tree, where)
    assert isinstance(found, kind)
    return found


def _read(kind: object, value: object, where: str) -> object:
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _read_union(inside, value, where)
    if origin is Literal:
        if value not in inside:
            raise _wrong(f"one of {', '.join(map(str, inside))}", value, where)
        return value
    if origin is tuple:
        return _read_tuple(inside, value, where)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _read_mapping(inside[1], value, where)
    if isinstance(kind, type) and is_dataclass(kind):
        return _read_fields(kind, value, where)
    return _read_plain(kind, value, where)


def _read_union(kinds: tuple[object, ...], value: object, where: str) -> object:
    if value is None and type(None) in kinds:
        return None
    (kind,) = (one for one in kinds if one is not type(None))  # the records have T | None alone
    return _read(kind, value, where)


def _read_tuple(inside: tuple[object, ...], value: object, where: str) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong("a list", value, where)
    return tuple(_read(inside[0], one, f"{where}: {place}") for place, one in enumerate(value))


def _read_mapping(kind: object, value: object, where: str) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise _wrong("an object", value, where)
    return {str(key): _read(kind, one, f"{where}: {key}") for key, one in value.items()}


def _read_fields(kind: type, value: object, where: str) -> object:
    if not isinstance(value, Mapping):
        raise _wrong(f"an object ({kind.__name__})", value, where)
    hints = get_type_hints(kind)
    known = {field.name for field in fields(kind)}
    given = {
        name: _read(hints[name], value[name], f"{where}: {name}") for name in value if name in known
    }
    try:
        return kind(**given)
    except TypeError:
        missing = ", ".join(sorted(known - given.keys()))
        raise ArgumentError(f"{where}: is no {kind.__name__}; it lacks some of {missing}") from None


def _read_plain(kind: object, value: object, where: str) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float:
        value = _float(value)
    if isinstance(kind, type) and isinstance(value, kind) and _is_bool(value) == (kind is bool):
        return value
    raise _wrong(getattr(kind, "__name__", str(kind)), value, where)


def _float(value: object) -> object:
    """A number as a float, null as NaN: JSON has no numbers that are not finite."""
    if value is None:
        return math.nan
    return float(value) if isinstance(value, int) and not _is_bool(value) else value


def _is_bool(value: object) -> bool:
    """Whether a value is true or false, which count as whole numbers in Python, and not here."""
    return isinstance(value, bool)


def _wrong(wanted: str, value: object, where: str) -> ArgumentError:
    return ArgumentError(f"{where}: {json.dumps(value, default=str)[:60]} is not {wanted}")
