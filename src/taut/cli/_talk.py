"""What a command says while it works, all of it on stderr: labelled lines, and bars on a tty."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from taut.cli._course import Course, Stage
from taut.cli._words import bytes_text, clock, pieces

if TYPE_CHECKING:
    from taut.cli._bars import Bars

_LABEL: Final = 10  # columns of the label
_SILENCE: Final = 60.0  # seconds after which a stage says how far it is, where there are no bars
_LONG: Final = 5.0  # seconds that a stage takes if it is told of again, there
_KINDS: Final = 6  # of notes that are shown without -v
_PIECE: Final = 1.0  # seconds between the lines of a stage where every piece is told of
_BLOCKS: Final = 500  # pieces of a stage that are each told of, if they take that long
_STEPS: Final = 10.0  # seconds between lines, where there are more


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
            from taut.cli._bars import bars

            with bars(course, hide) as shown:
                yield Listener(self, course, hide, shown)
        else:
            yield Listener(self, course, hide)


@dataclass
class Listener:
    """A listener of long work (taut.progress): (stage, done, total), and what is to come.

    What follows a stage's first word is told of it wherever the stage is: "train loss 0.31". A
    score ("score 0.83") is no stage: each is a line, with the bytes told before it.
    """

    talk: Talk
    course: Course
    hide: tuple[str, ...] = ()
    bars: Bars | None = None
    original: int | None = None  # bytes of the original, for ratios
    _spoke: dict[str, float] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _ended: set[str] = field(default_factory=set)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage is."""
        name, _, told = stage.partition(" ")
        if name == "score" and told:
            self._score(told, done, total)
            return
        now = time.monotonic()
        before = self.course.stages.get(name)
        anew = before is not None and done < before.done
        found = self.course.step(name, done, total, now)
        if self.bars is not None:
            self.bars.show(name, told)
        if anew:
            self._spoke.pop(name, None)
            self._ended.discard(name)
        if name not in self.hide and name not in self._ended:
            self._say(name, found, f"    {told}" if told else "", now)

    def expect(self, costs: Mapping[str, float]) -> None:
        """Take these for the stages to come."""
        self.course.expect(costs)

    def weigh(self, nbytes: int, target: int | None) -> None:
        """Take note of the bytes so far, and of those asked for."""
        self.course.nbytes, self.course.target = nbytes, target

    def _say(self, name: str, stage: Stage, told: str, now: float) -> None:
        """Lines: of every piece if asked for, else of an end, and once a minute."""
        spoke = self._spoke.setdefault(name, stage.began)
        if stage.finished:
            self._ended.add(name)
            if self.bars is None and (name not in self._told or stage.elapsed >= _LONG):
                self._told.add(name)
                self._line(name, stage, clock(stage.elapsed) + told)
        elif stage.done > stage.before and now - spoke >= self._pause(stage):
            self._spoke[name] = now
            self._line(name, stage, f"{clock(stage.elapsed)}, {self._left(stage, now)}{told}")

    def _pause(self, stage: Stage) -> float:
        """Seconds between two lines of a stage; steps of which there are many are no blocks."""
        if self.talk.verbose:
            return _PIECE if stage.total <= _BLOCKS else _STEPS
        return _SILENCE if self.bars is None else float("inf")

    def _left(self, stage: Stage, now: float) -> str:
        """What a stage has to go, and the work; and bytes so far."""
        left = f"about {clock(stage.left or 0.0)} left"
        whole = self.course.left(now)
        if whole is not None and clock(whole) != clock(stage.left or 0.0):
            left += f", {clock(whole)} in all"
        return "; ".join(filter(None, (left, bytes_text(self.course))))

    def _line(self, name: str, stage: Stage, text: str) -> None:
        self.talk.line(name, f"{pieces(stage.done, stage.total)}  {text}")

    def _score(self, score: str, done: int, total: int) -> None:
        from taut.reporting.numbers import digits, size

        nbytes, of = self.course.nbytes, self.original
        self.course.nbytes = None  # of this try: the next may have no size
        at = "" if nbytes is None else f" at {size(nbytes)}"
        at += f" ({digits(of / nbytes)}x)" if nbytes and of else ""
        self.talk.line("score", f"{score}{at}, try {done} of at most {total}")
