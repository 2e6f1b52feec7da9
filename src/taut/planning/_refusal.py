"""Why a plan is refused, in a line: where, which key or value, and what would do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, get_args, get_origin

from pydantic import ValidationError

from taut.planning._part import PlanPart, ToldError
from taut.planning.document import Document

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Where = tuple[int | str, ...]


def refusal(error: ValidationError, root: type[PlanPart], document: Document) -> str:
    """The first mistake in the file's order, and how many more there are."""
    found = error.errors(include_url=False, include_input=True)
    first = min(found, key=lambda one: document.line(_where(one)))
    others = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    place, loc = document.where, _where(first)
    if document.lines:
        place += f", line {document.line(loc)}"
    told = _told(first)
    owner = _owner(loc, root, whole=told is not None)
    return f"{place}: {owner}{told or _complaint(first, root)}{others}"


def _model(loc: Where, root: type[PlanPart]) -> type[PlanPart]:
    """The model that a place leads to."""
    model = root
    for part in loc:
        model = model.parts.get(str(part), model)
    return model


def _owner(loc: Where, root: type[PlanPart], whole: bool) -> str:
    """`step 1: train: `: the mappings around a place; it too where all of it is at fault."""
    told, model = "", root
    for i, part in enumerate(loc):
        if isinstance(part, int) and model.entry:
            told += f"{model.entry} {part + 1}: "
        elif part in model.parts:
            model = model.parts[str(part)]
            told += f"{part}: " if not model.entry and (whole or i + 1 < len(loc)) else ""
    return told


def _told(one: ErrorDetails) -> ToldError | None:
    """The error, if its message stands for itself."""
    error = one.get("ctx", {}).get("error")
    return error if isinstance(error, ToldError) else None


def _where(one: ErrorDetails) -> Where:
    told = _told(one)
    return one["loc"] if told is None else (*one["loc"], *told.at)


def _complaint(one: ErrorDetails, root: type[PlanPart]) -> str:
    """What is wrong with one key or value."""
    loc = one["loc"]
    key, model = str(loc[-1]) if loc else "", _model(loc[:-1], root)
    if one["type"] == "extra_forbidden":
        keys = model.model_fields
        return f'unknown key "{key}"{nearest(key, keys)}; all: {", ".join(keys)}'
    if loc and isinstance(loc[-1], int):
        if model.entry:
            return f"{_quoted(one['input'])} is no mapping as {model.shape}"
        key = str(loc[-2])  # an entry of a plain list
    field = model.model_fields.get(key)
    want = "what the schema says" if field is None else field.description
    if one["type"] == "missing" and key == loc[-1]:
        return f'has no "{key}"; give {want}'
    words = () if field is None else _words(field.annotation)
    return f"{key}: {_quoted(one['input'])} cannot be; give {want}{nearest(one['input'], words)}"


def _words(annotation: object) -> tuple[str, ...]:
    """The texts that a field takes, if it takes only some."""
    if get_origin(annotation) is Literal:
        return tuple(word for word in get_args(annotation) if isinstance(word, str))
    return tuple(word for one in get_args(annotation) for word in _words(one))


def nearest(key: object, keys: Iterable[str]) -> str:
    """`; nearest: match`, or "" where nothing is like it."""
    near = get_close_matches(str(key).lower(), keys, n=1, cutoff=0.5)
    return f"; nearest: {near[0]}" if near else ""


def _quoted(value: object) -> str:
    if isinstance(value, (list, tuple, Mapping)):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    text = f'"{value}"' if isinstance(value, str) else f"{value}"
    return text if len(text) <= 80 else f"{text[:77]}..."
