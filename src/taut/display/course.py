"""When work will be done: from the pieces done, and from what stages cost against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Stage:
    """A stage as it goes: times in seconds, pieces since it (or its present round) began."""

    began: float
    before: int
    done: int
    total: int
    latest: float
    spent: float = 0.0  # in rounds before the present one

    @property
    def finished(self) -> bool:
        """Whether all of its pieces are done."""
        return self.done >= self.total

    @property
    def elapsed(self) -> float:
        """Seconds of the present round, up to its latest piece."""
        return self.latest - self.began

    @property
    def left(self) -> float | None:
        """Seconds that the present round has to go after its latest piece; None: not known."""
        if self.finished:
            return 0.0
        if self.done <= self.before:
            return None
        return self.elapsed / (self.done - self.before) * (self.total - self.done)


@dataclass
class Course:
    """The stages of some work, past and to come.

    What was resumed took no time: it counts neither for speed nor for what is left.
    """

    costs: dict[str, float] = field(default_factory=dict)
    stages: dict[str, Stage] = field(default_factory=dict)
    present: str = ""
    nbytes: int | None = None
    target: int | None = None

    def expect(self, costs: Mapping[str, float]) -> None:
        """Take these stages, in this order, for those of the work."""
        self.costs = dict(costs)

    def step(self, name: str, done: int, total: int, now: float) -> Stage:
        """Take note of pieces done; gives the stage, begun anew if fewer are done than were."""
        stage = self.stages.get(name)
        if stage is None:
            stage = self.stages[name] = Stage(now, done, done, total, now)
        elif done < stage.done:
            spent = stage.spent + stage.elapsed
            stage = self.stages[name] = Stage(now, done, done, total, now, spent)
        stage.done, stage.total, stage.latest = done, total, now
        self.present = name
        return stage

    def left(self, now: float) -> float | None:
        """Seconds until all stages are done; None where nothing tells.

        The present stage goes on as it went; the stages after it cost what they were expected to,
        in the seconds that one unit of cost took so far.
        """
        stage = self.stages.get(self.present)
        if stage is None:
            return None
        unit = self._unit()
        later = sum(self.costs[name] for name in self._later())
        if later and unit is None:
            return None
        own = stage.left
        if own is None:
            own = None if unit is None else self.costs.get(self.present, 0.0) * unit
        if own is None:
            return None
        left = own + later * (unit or 0.0) - (now - stage.latest)
        return left if left > 0 else None  # what was to be done is done, and something goes on

    def _later(self) -> list[str]:
        """The expected stages after the present one that are not done."""
        names = list(self.costs)
        after = names[names.index(self.present) + 1 :] if self.present in names else names
        return [name for name in after if name not in self.stages or not self.stages[name].finished]

    def _unit(self) -> float | None:
        """Seconds that a unit of cost takes, by the stages that are known."""
        seconds = cost = 0.0
        for name, stage in self.stages.items():
            left = stage.left
            if name in self.costs and left is not None and stage.elapsed + stage.spent > 0:
                seconds += stage.spent + stage.elapsed + left
                cost += self.costs[name]
        return seconds / cost if cost else None
