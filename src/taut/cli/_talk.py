"""What a command says while it works, all of it on stderr: labelled lines, and bars on a tty."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from taut.display import Course, Listener

_LABEL: Final = 10  # columns of the label
_KINDS: Final = 6  # of notes that are shown without -v


@dataclass(frozen=True)
class Talk:
    """The voice of one command: silent when `quiet`, and never on stdout.

    `verbose` has a line for every piece that takes a second or more: a block, a point; of stages
    with hundreds of steps one every ten seconds.
    """

    quiet: bool = False
    verbose: bool = False

    def line(self, label: str, text: str) -> None:
        """Print `label` and `text` in their columns."""
        from taut.io.staged import told_paths

        if not self.quiet:
            print(f"  {label:<{_LABEL}} {told_paths(text)}", file=sys.stderr, flush=True)

    def notes(self, notes: Iterable[str]) -> None:
        """Print notes, one line a kind and the worst first; each of them if `verbose`."""
        from taut.cli._notes import gathered

        found = list(notes)
        kinds = found if self.verbose else gathered(found)
        shown = kinds if self.verbose else kinds[:_KINDS]
        for note in shown:
            self.line("note", note)
        left = len(kinds) - len(shown)
        if left:
            self.line("note", f"and {left} more kinds of notes, which -v shows")

    @contextmanager
    def progress(
        self, hide: tuple[str, ...] = (), costs: Mapping[str, float] | None = None
    ) -> Iterator[Listener | None]:
        """A callable that shows progress by stage: bars on a tty, else a line a finished stage.

        Both say how long a stage and all that come after it have to go, by `costs` (see
        taut.progress) where nobody tells better; without bars a long one does so once a minute.
        Stages named in `hide` leave no trace once they are done: the command itself sums them up.
        """
        course = Course(dict(costs or {}))
        if self.quiet:
            yield None
        elif sys.stderr.isatty():
            from taut.display.bars import bars

            with bars(course, hide) as shown:
                yield Listener(self.line, course, hide, shown, self.verbose)
        else:
            yield Listener(self.line, course, hide, verbose=self.verbose)


def hold_back(
    step: Listener | None, lines: list[tuple[str, str]], nbytes: int | None = None
) -> None:
    """Let the first stage of the work say `lines`; `nbytes` are those of the original."""
    if step is not None:
        step.opening, step.original = lines, nbytes


def begin(step: Listener | None) -> None:
    """Say what is still held back: of work that was too short for a stage."""
    if step is not None:
        step.begin()
