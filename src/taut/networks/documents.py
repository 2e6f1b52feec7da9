"""One document of calibration data: a text, a chat, or the numbers of its tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

import numpy as np

from taut.errors import ArgumentError
from taut.io.names import nearest

_TEXT: Final = "text"
_CHATS: Final = ("messages", "conversations")
_TOKENS: Final = "input_ids"
_ROLES: Final = {"human": "user", "gpt": "assistant"}  # as some data sets call them


@dataclass(frozen=True)
class Chat:
    """Messages in order, each with "role" and "content", as chat templates take them."""

    messages: tuple[Mapping[str, object], ...]


Document: TypeAlias = "str | Chat | np.ndarray"
"""A text, a chat, or int64 tokens of shape (n,)."""


def document_of(entry: object, where: str, column: str | None = None) -> Document:
    """The document that a row of data holds: a text itself, or a field of an object.

    `column` names the field. Without it that is "text", "messages" (or "conversations"), or
    "input_ids", the first that is there, or else the first field that is a text.

    Raises:
        ArgumentError: there is no such field, or what it holds is none of these.

    >>> document_of({"id": 3, "text": "Once"}, "line 1")
    'Once'
    >>> document_of({"messages": [{"role": "user", "content": "Hi"}]}, "line 1").messages[0]["role"]
    'user'
    """
    if isinstance(entry, str) and column is None:
        return entry
    if not isinstance(entry, Mapping):
        raise ArgumentError(f'{where}: is no object as {{"{_TEXT}": "..."}}')
    if column is None:
        return _usual(entry, where)
    if column not in entry:
        names = [str(name) for name in entry]
        has = ", ".join(names[:8]) or "none"
        raise ArgumentError(
            f'{where}: has no column "{column}" (it has {has}){nearest(column, names)}'
        )
    return _document(entry[column], f'{where}, "{column}"')


def is_empty_document(document: Document) -> bool:
    """Whether nothing is in it."""
    if isinstance(document, Chat):
        return not document.messages
    return not document.strip() if isinstance(document, str) else not document.size


def _usual(entry: Mapping[object, object], where: str) -> Document:
    """What the first field holds that usually has it, or else the first text."""
    for name in (_TEXT, *_CHATS, _TOKENS):
        value = entry.get(name)
        if isinstance(value, str) or (name != _TEXT and value is not None):
            return _document(value, f'{where}, "{name}"')
    text = next((value for value in entry.values() if isinstance(value, str)), None)
    if text is not None:
        return text
    kinds = [f'"{name}", {_kind(value)}' for name, value in [*entry.items()][:8]]
    told = "; ".join(kinds) or "none"
    raise ArgumentError(f'{where}: has no text as "{_TEXT}" nor in another field (it has {told})')


def _kind(value: object) -> str:
    """What a value of a row is, for people who know JSON."""
    if value is None:
        return "which is empty"
    if isinstance(value, bool | int | float):
        return "which is no text"
    return "a list" if isinstance(value, list | tuple) else "an object"


def _document(value: object, where: str) -> Document:
    if isinstance(value, str):
        return value
    if isinstance(value, (Sequence, np.ndarray)):
        if len(value) == 0:
            return ""
        if isinstance(value[0], Mapping):
            return Chat(tuple(_message(one, where) for one in value))
        tokens = np.asarray(value)
        if tokens.ndim == 1 and tokens.dtype.kind in "iu":
            return tokens.astype(np.int64)
    raise ArgumentError(
        f"{where}: is no text, no list of messages with role and content, and no list of tokens"
    )


def _message(one: object, where: str) -> Mapping[str, object]:
    """A message as templates take it; "from" and "value" are "role" and "content" elsewhere."""
    message = cast("Mapping[str, object]", one if isinstance(one, Mapping) else {})
    if "role" in message and ("content" in message or "tool_calls" in message):
        return message
    if isinstance(message.get("from"), str) and "value" in message:
        role = str(message["from"])
        return {"role": _ROLES.get(role, role), "content": message["value"]}
    names = ", ".join(f'"{name}"' for name in [*message][:8]) or "none"
    raise ArgumentError(f'{where}: a message has no "role" and "content" (it has {names})')
