"""Words for errors: the names nearest to one that was not found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from taut.errors import ArgumentError

_PATTERN = "*?["
MAX_NAMES = 10_000  # names compared at most: an error message may not take long


def nearest(name: str, names: Iterable[str]) -> str:
    """`; nearest: a, b, c` for the end of a message, or "" where nothing is near.

    >>> nearest("layer.wieght", ["layer.weight", "head.bias"])
    '; nearest: layer.weight'
    """
    found = get_close_matches(name, islice(names, MAX_NAMES), n=3, cutoff=0.6)
    return f"; nearest: {', '.join(found)}" if found else ""


def as_text(name: str) -> str:
    """A file's name as it can be stored: what is not valid Unicode becomes question marks.

    >>> as_text("caf\\udce9.safetensors")
    'caf?.safetensors'
    """
    return name.encode(errors="replace").decode()


def check_plain(path: Path) -> None:
    """Raise `ArgumentError` if something is at `path` that is neither a plain file nor a folder."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ArgumentError(
            f"{path}: is a pipe or a device, and a model is read more than once; save it as a file "
            "first (or give - and pipe it into standard input, where the command takes it)"
        )


def pattern_hint(path: Path) -> str:
    """What to do about a name that was to be a pattern, for the end of a message, or ""."""
    if not any(sign in path.name for sign in _PATTERN):
        return ""
    try:
        found = sorted(one.name for one in path.parent.glob(path.name))
    except (OSError, ValueError):
        found = []
    if not found:
        return "; as a pattern it matches nothing"
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"; as a pattern, which the shell did not expand, it is {', '.join(found[:3])}{more}"


def some_names(names: Sequence[str], most: int = 8) -> str:
    """Names for a note: quoted, and how many there are beside.

    >>> some_names(["a", "b", "c"], 2)
    '"a", "b" and 1 more'
    """
    said = ", ".join(f'"{name}"' for name in names[:most])
    return f"{said} and {len(names) - most} more" if len(names) > most else said
