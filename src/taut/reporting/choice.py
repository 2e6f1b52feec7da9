"""The point of a trade-off that is to be taken, and why: `--max-drop` asks for it, or the knee."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from taut.reporting import numbers as say
from taut.reporting.scale import named, scale_of

if TYPE_CHECKING:
    from taut.reporting.story import Story
    from taut.sweep.pareto import Frontier, Point


_CHOSEN: Final = (
    "It was chosen by this very score, which flatters it a little: other samples judge it fairly."
)


@dataclass(frozen=True)
class ChosenPoint:
    """A point, None where none fits; what it costs, in words, and what has to be known of that."""

    point: Point | None
    cost: str
    tone: Literal["good", "bad", "plain"] = "plain"
    because: tuple[str, ...] = ()


def choice_of(story: Story) -> ChosenPoint | None:
    """What the trade-off of a story answers; None where there is no trade-off, or no knee."""
    found = story.frontier
    if found is None:
        return None
    if story.max_drop is not None:
        point = found.smallest(story.max_drop)
        asked = f"at most {say.drop(story.max_drop)} of {named(found.original.score)} lost"
        if point is None:
            return ChosenPoint(None, f"no point with {asked}", "bad", (_nearest(found),))
        return _of(found, point, f"the smallest file with {asked}")
    name = story.chosen or found.knee
    if name is None:
        return None
    why = "the knee of the curve" if name == found.knee else "the point that this file is"
    return _of(found, found[name], why)


def _of(found: Frontier, point: Point, why: str) -> ChosenPoint:
    original, score = found.original.score, point.score
    scale = scale_of(score, original.value)
    told = f"{named(found.original.score)} {scale.pair(original.value, score.value)}"
    because = [f"{point.name} is {why}."]
    if score.low is not None and score.high is not None:
        inside = score.low <= original.value <= score.high
        holds = "holds the original's score" if inside else "leaves the original's score out"
        interval = scale.between(score.low, score.high)
        because.append(f"Its own 95 % interval, {interval}, {holds}.")
    if point.kind != "original" and len(found.points) > 1:
        because.append(_CHOSEN)
    return ChosenPoint(point, told, "plain", tuple(because))


def _nearest(found: Frontier) -> str:
    """The point that loses least, where none loses little enough."""
    if not found.points:
        return "No point was made."
    point = min(found.points, key=lambda one: (one.drop, one.size))
    scale = scale_of(point.score, found.original.score.value)
    lost = scale.amount(point.drop, found.original.score.value)
    return f"The least, {lost}, is lost by {point.name} at {say.size(point.size)}."
