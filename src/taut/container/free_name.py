"""A name for an output where there is something under the one that it was to have."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_MOST_NAMES: Final = 1000


def free_name(path: Path, told: str = "") -> Path:
    """A name beside `path` that says what is in it, and that nothing has yet.

    >>> free_name(Path("none/net.taut.safetensors"), "8x").as_posix()
    'none/net.8x.taut.safetensors'
    >>> free_name(Path("none/bert-taut"), "8x").as_posix()  # a folder
    'none/bert-taut-8x'
    """
    stem, suffix = path.name, ""
    for one in (".taut.safetensors", path.suffix):
        if one and path.name.endswith(one):
            stem, suffix = path.name.removesuffix(one), one
            break
    words = [told] if told else []
    for number in range(2, _MOST_NAMES):
        found = path.with_name(("." if suffix else "-").join([stem, *words]) + suffix)
        if words and not found.exists():
            return found
        words = [*([told] if told else []), str(number)]
    return path.with_name(f"{stem}.new{suffix}")
