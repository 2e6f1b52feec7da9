"""A model's card on a hub: that of the compressed one, with the original's in it, to the byte.

A card is a `README.md` that begins with YAML between two lines of dashes. Of the original's these
lines stand in a comment, and its text follows as it is; so `decompress` gives the file back.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

CARD: Final = "README.md"

_BEGIN: Final = b"<!-- taut: the original's card follows\n"
_END: Final = b"-->\n"
_FRONT: Final = re.compile(rb"---[ \t]*\r?\n.*?^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


def front_of(card: bytes) -> bytes:
    """The lines of YAML that a card begins with, and the dashes around them; b"" without any.

    >>> front_of(b"---\\nlicense: mit\\n---\\n# A model\\n")
    b'---\\nlicense: mit\\n---\\n'
    """
    found = _FRONT.match(card)
    return found[0] if found else b""


def with_original(card: bytes, original: bytes) -> bytes:
    """A card with the original's behind it; alone where that cannot stand in a comment."""
    front = front_of(original)
    if not original or b"--" + b">" in front or _BEGIN in original or _BEGIN in card:
        return card
    return card + _BEGIN + front + _END + original[len(front) :]


def original_card(path: Path, data: bytes) -> bytes:
    """The bytes of a companion as the original has them: of a card that holds another, that one.

    >>> mine = with_original(b"# Mine\\n", b"---\\nlicense: mit\\n---\\n# Theirs")
    >>> original_card(Path("README.md"), mine)
    b'---\\nlicense: mit\\n---\\n# Theirs'
    """
    if path.as_posix() != CARD:
        return data
    _, begin, rest = data.partition(_BEGIN)
    front = front_of(rest)
    if not begin or not rest[len(front) :].startswith(_END):
        return data
    return front + rest[len(front) + len(_END) :]
