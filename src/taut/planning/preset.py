"""Plans that come with Taut, each a file in `presets/` that says what it does and needs."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Final

from taut.errors import ArgumentError

_FOLDER: Final = Path(__file__).parent / "presets"
_SUFFIX: Final = ".yaml"


def preset_names() -> tuple[str, ...]:
    """The names of all presets.

    >>> preset_names()
    ('edge', 'lossless', 'server', 'tiny')
    """
    return tuple(sorted(path.stem for path in _FOLDER.glob(f"*{_SUFFIX}")))


def find_preset(name: str) -> Path | None:
    """The file of the preset that a text names; None if a file is there of that name, or no preset.

    >>> find_preset("edge").name, find_preset("edge.yaml")
    ('edge.yaml', None)
    """
    if Path(name).is_file() or name not in preset_names():
        return None
    return _FOLDER / (name + _SUFFIX)


def preset_text(name: str) -> str:
    """A preset as YAML with its comments, to be changed by hand.

    Raises:
        ArgumentError: there is no such preset; the message has them all.
    """
    if name not in preset_names():
        raise ArgumentError(f'preset: no "{name}"{_nearest(name)}; all: {_all()}')
    return (_FOLDER / (name + _SUFFIX)).read_text(encoding="utf-8")


def preset_hint(name: str) -> str:
    """What to say of a plan that is not there and could have been meant as a preset, or ""."""
    bare = name and not any(sign in name for sign in "/\\.")
    return f"; nor is it a preset{_nearest(name)}; all: {_all()}" if bare else ""


def _nearest(name: str) -> str:
    near = get_close_matches(name.lower(), preset_names(), n=1, cutoff=0.5)
    return f"; nearest: {near[0]}" if near else ""


def _all() -> str:
    return ", ".join(preset_names())
