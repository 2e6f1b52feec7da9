"""The listener of long work: from what is told of stages to bars, and to lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from taut.display.course import Course, Stage
from taut.display.words import bytes_text, clock, pieces

_OPENING: Final = "open"  # the stage in which model and data may still be refused
_SILENCE: Final = 60.0  # seconds after which a stage says how far it is, where there are no bars
_LONG: Final = 5.0  # seconds that a stage takes if it is told of again, there
_PIECE: Final = 1.0  # seconds between the lines of a stage where every piece is told of
_BLOCKS: Final = 500  # pieces of a stage that are each told of, if they take that long
_STEPS: Final = 10.0  # seconds between lines, where there are more


class Shower(Protocol):
    """What shows a stage as a bar, by the course that both know."""

    def show(self, name: str, told: str) -> None:
        """Show a stage as the course has it, and what is told of it."""


@dataclass
class Listener:
    """A listener of long work (taut.progress): (stage, done, total), and what is to come.

    What follows a stage's first word is told of it wherever the stage is: "train loss 0.31". A
    score ("score 0.83") is no stage: each is a line, with the bytes told before it. `say` prints a
    line under a label. Bars leave no lines of stages, but for every piece if `verbose`. What is in
    `opening` is said before all stages but that of opening itself, so that what is refused
    before it says nothing but why.
    """

    say: Callable[[str, str], None]
    course: Course
    hide: tuple[str, ...] = ()
    bars: Shower | None = None
    verbose: bool = False
    original: int | None = None  # bytes of the original, for ratios
    opening: list[tuple[str, str]] = field(default_factory=list)  # labels and lines
    _spoke: dict[str, float] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _ended: set[str] = field(default_factory=set)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage is."""
        name, _, told = stage.partition(" ")
        if name != _OPENING:
            self.begin()
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

    def begin(self) -> None:
        """Say what is to be said before the work, if it is not said yet."""
        lines, self.opening = self.opening, []
        for label, text in lines:
            self.say(label, text)

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
        if self.verbose:
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
        self.say(name, f"{pieces(stage.done, stage.total)}  {text}")

    def _score(self, score: str, done: int, total: int) -> None:
        from taut.reporting.numbers import digits, size

        nbytes, of = self.course.nbytes, self.original
        self.course.nbytes = None  # of this try: the next may have no size
        at = "" if nbytes is None else f" at {size(nbytes)}"
        at += f" ({digits(of / nbytes)}x)" if nbytes and of else ""
        self.say("score", f"{score}{at}, try {done} of at most {total}")
