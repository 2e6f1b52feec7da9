"""How and when a page was made, and of what: the lines below its verdict."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from taut.io.staged import told_paths

if TYPE_CHECKING:
    from taut.reporting.story import Story


@dataclass(frozen=True)
class PageFacts:
    """How a page came to be: the command, and when."""

    command: str | None = None
    date: str | None = None

    @property
    def named(self) -> tuple[tuple[str, str], ...]:
        """What is known, each with its name."""
        known = (("Command", self.command), ("Made", self.date))
        return tuple((name, text) for name, text in known if text)


_FIRST: Final = ("File", "Original", "Model", "Data", "Score")


def made_of(story: Story) -> tuple[tuple[str, str], ...]:
    """Names and texts: the files and data, the command, the date, and the versions."""
    known = _known(story)
    found = [(name, known[name]) for name in _FIRST if known.get(name)]
    found += PageFacts(story.command, story.date).named
    if known.get("Versions"):
        found.append(("Versions", known["Versions"]))
    return tuple(found)


def _known(story: Story) -> Mapping[str, str]:
    """What provenance says of these, of the file and of its evaluation."""
    evaluation = story.evaluation
    judged = (evaluation.provenance or {}) if evaluation else {}
    told = {**judged, **story.provenance}
    samples = evaluation.model.scores.samples if evaluation and evaluation.model.scores else None
    score = told.get("score", "")
    if samples:
        score = f"{score}, {samples:,} samples".removeprefix(", ")
    return {
        "File": told.get("file", ""),
        "Original": told.get("original", ""),
        "Model": told.get("model", "") if "file" not in told else "",
        "Data": told.get("data", ""),
        "Score": score,
        "Versions": told.get("report written by", ""),
    }


def written_now() -> str:
    """The date and time in UTC; that of SOURCE_DATE_EPOCH where it is set, for the same bytes."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    seconds = int(given) if given.isdecimal() else time.time()
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def told_command(arguments: Sequence[str]) -> str:
    """A command line as a page may show it: names of files and no paths, URLs without secrets.

    >>> told_command(["taut", "report", "/home/me/a b.taut.safetensors", "-o", "x/page.html"])
    "taut report 'a b.taut.safetensors' -o page.html"
    >>> told_command(["taut", "info", "https://me:word@host/m.safetensors?key=1"])
    'taut info https://host/m.safetensors'
    """
    return shlex.join(_told(one) for one in arguments)


def _told(argument: str) -> str:
    argument = told_paths(argument)
    option, equals, value = argument.partition("=")
    if equals and option.startswith("--"):
        return f"{option}={_told(value)}"
    if "://" in argument:
        parts = urlsplit(argument)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"
    if "/" in argument or os.sep in argument:
        return PurePath(argument).name or argument
    return argument
