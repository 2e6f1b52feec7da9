"""`taut plan --presets` and `--preset NAME`: the plans that come with Taut."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping

_WIDTH = 88


def show_presets(as_json: bool) -> None:
    """Print the name of every preset and what it says of itself."""
    from taut.planning import preset_names, preset_text
    from taut.planning.plan import read_plan

    abouts = {name: read_plan(preset_text(name)).about or "" for name in preset_names()}
    if as_json:
        print(json.dumps([{"name": n, "about": about} for n, about in abouts.items()], indent=2))
        return
    indent = 2 + max(map(len, abouts))
    for name, about in abouts.items():
        print(
            textwrap.fill(
                about,
                _WIDTH,
                initial_indent=f"{name:<{indent}}",
                subsequent_indent=" " * indent,
                break_on_hyphens=False,
            )
        )


def check_alone(option: str, others: Mapping[str, object]) -> None:
    """Refuse what goes with a model, beside an option that takes none.

    Raises:
        ArgumentError: one of the others is given.
    """
    from taut.errors import ArgumentError

    for name, value in others.items():
        if value is not None:
            raise ArgumentError(
                f"{option}: goes without {name}; write a preset with -o, change it by hand, and "
                "give it to compress --plan"
            )
