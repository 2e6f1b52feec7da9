"""Pages of the command line say what command made them, when, and of which data."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from taut.reporting.made import PageFacts, told_command, written_now

if TYPE_CHECKING:
    from taut.reporting.story import Story


def facts_now() -> PageFacts:
    """The command that is running, and the time."""
    return PageFacts(told_command(["taut", *sys.argv[1:]]), written_now())


def signed(story: Story, *, score: str | None = None, data: str | None = None) -> Story:
    """A story with the command that is running, the time, and the names of score and data."""
    named = {"score": score, "data": data}
    told = {name: told_command([text]) for name, text in named.items() if text}
    facts = facts_now()
    return replace(
        story,
        command=facts.command,
        date=facts.date,
        provenance={**told, **story.provenance},
    )
