"""A trade-off as a table, as CSV and as a page; and the lists that its options take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from taut.container.default_names import beside, compressed_path
from taut.errors import ArgumentError
from taut.reporting.numbers import digits, size
from taut.reporting.plain_text import any_page, table
from taut.reporting.scale import Scale, scale_of

if TYPE_CHECKING:
    from taut.networks.sources import Model
    from taut.reporting.story import Story
    from taut.scoring.results import Metric
    from taut.sweep.pareto import Frontier, Point

_NONE = "none"
_PAGE = ("matplotlib", "jinja2")  # what a page is made with
_COLUMNS = (
    *("name", "kind", "asked_bits", "size", "bits", "ratio", "metric", "score", "low", "high"),
    *("better", "drop", "pareto", "knee", "seconds"),
)


def frontier_path(model: str | Path) -> Path:
    """Where the finished points are until the sweep is done: beside the model.

    >>> frontier_path("m/build.py:model").as_posix()
    'm/build.frontier.jsonl'
    """
    place = Path(model) if ".py:" in str(model) else beside(Path(model))
    output = compressed_path(place)
    stem = output.name.removesuffix(".safetensors").removesuffix(".taut")
    return output.with_name(stem.removesuffix("-taut") + ".frontier.jsonl")


def listed(text: str | None) -> list[str] | None:
    """The parts of a list between commas; "none" is the empty one.

    >>> listed("int8,int4:g64,asym,2:4+int8"), listed("none")
    (['int8', 'int4:g64,asym', '2:4+int8'], [])
    """
    if text is None:
        return None
    if text.strip() == _NONE:
        return []
    parts: list[str] = []
    for part in text.split(","):
        if part.strip() == "asym" and parts:  # a scheme's own comma
            parts[-1] += ",asym"
        else:
            parts.append(part.strip())
    return parts


def numbers(option: str, text: str | None) -> list[float] | None:
    """The numbers of a list between commas."""
    parts = listed(text)
    if parts is None:
        return None
    try:
        return [float(part) for part in parts]
    except ValueError:
        raise ArgumentError(
            f'{option}: "{text}" is no list of numbers; give them as 2,2.5,3'
        ) from None


def frontier_table(found: Frontier) -> str:
    """Every point on a line, the smallest first, the original last."""
    score = found.original.score
    head = ["file", "", "size", "ratio", "bits", score.name, "change", "seconds"]
    interval = any(point.score.low is not None for point in found.points)
    if interval:
        head.insert(6, "95 % interval")
    rows = [_row(found, point, interval) for point in (*found.points, found.original)]
    return table(head, rows, left=2)


def point_text(point: Point) -> str:
    """A point in a line."""
    return (
        f"{point.name}    {size(point.size)} ({digits(point.ratio)}x)    "
        f"{point.score.name} {_value(point.score)} ({_changed(point)})"
    )


@dataclass(frozen=True)
class CurveAsked:
    """What a page says of how it came to be, as it was written on the command line."""

    max_drop: str | None = None
    score: str | None = None
    calib: str | None = None


@dataclass(frozen=True)
class Outputs:
    """What is written beside the table, where asked for: CSV, a page, and its charts."""

    csv: Path | None
    html: Path | None
    charts: Path | None
    force: bool

    def check(self) -> None:
        """Raise ArgumentError, before any work, if a file exists or an extra is missing."""
        from taut.container import check_destination

        for path in (self.csv, self.html):
            if path is not None:
                check_destination(path, force=self.force)
        for option, path in (("--html", self.html), ("--charts", self.charts)):
            missing = [name for name in _PAGE if path is not None and find_spec(name) is None]
            if missing:
                raise ArgumentError(f"{option} takes {missing[0]}: pip install 'taut[report]'")

    def write(
        self, found: Frontier, model: Model, files: Path | None, asked: CurveAsked
    ) -> list[str]:
        """Write them; gives what was written. `files` is the folder with the points' files."""
        from taut.reporting.page import write_charts, write_page

        told = []
        if self.csv is not None:
            _write(self.csv, csv_text(found), self.force)
            told.append(str(self.csv))
        if self.html is None and self.charts is None:
            return told
        story = _story(found, model, files, asked)
        if self.html is not None:
            write_page(self.html, story, force=self.force)
            told.append(str(self.html))
        if self.charts is not None:
            paths = [
                *write_charts(self.charts, story, "svg", force=self.force),
                *write_charts(self.charts, story, "png", force=self.force),
            ]
            told.append(f"{len(paths)} files in {self.charts}")
        return told


def _story(found: Frontier, model: Model, files: Path | None, asked: CurveAsked) -> Story:
    """The curve, and with the files kept all that there is to say of the one that is chosen."""
    from taut.cli._signed import signed
    from taut.reporting.origins import versions
    from taut.reporting.story import Story
    from taut.reporting.tell import Evidence, tell
    from taut.sweep.points import Setting

    title = Path(found.model).name
    name = found.knee
    if asked.max_drop is not None:
        point = found.smallest(asked.max_drop)
        name = None if point is None else point.name
    if name is not None and files is not None:
        file = files / Setting(name).file_name
        story = tell(file, Evidence(frontier=found), original=model, title=title)
    else:
        story = Story(frontier=found, provenance={"model": title, **versions()})
    story = replace(
        story, title=title, chosen=name, max_drop=asked.max_drop, notes=tuple(_notes(found))
    )
    return signed(story, score=asked.score, data=asked.calib)


def _notes(found: Frontier) -> Iterator[str]:
    """What could not be made, and what went otherwise than asked."""
    yield from (f"Missed: {one.name}: {one.reason}" for one in found.missed)
    yield from found.notes


def csv_text(found: Frontier) -> str:
    """The points as CSV, the original last; sizes in bytes."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for point in (*found.points, found.original):
        one = point.score
        writer.writerow(
            (
                *(point.name, point.kind, point.asked, point.size, point.bits, point.ratio),
                *(one.name, one.value, one.low, one.high, one.better, point.drop),
                *(int(point.name in found.pareto), int(point.name == found.knee), point.seconds),
            )
        )
    return text.getvalue()


def _row(found: Frontier, point: Point, interval: bool) -> list[str]:
    marks = ["pareto"] if point.name in found.pareto else []
    marks += ["knee"] if point.name == found.knee else []
    original = point.kind == "original"
    row = [
        point.name,
        ", ".join(marks),
        size(point.size),
        f"{digits(point.ratio)}x",
        digits(point.bits),
        _value(point.score),
        "" if original else _changed(point),
        "" if original else f"{point.seconds:.1f}",
    ]
    if interval:
        row.insert(6, _interval(point.score))
    return row


def _changed(point: Point) -> str:
    """The score less the original's, as it is shown."""
    change = 0.0 - point.drop if point.score.better == "higher" else point.drop
    return any_page(_scale(point.score).change(change, point.score.value))


def _interval(score: Metric) -> str:
    if score.low is None or score.high is None:
        return ""
    return any_page(_scale(score).between(score.low, score.high))


def _value(score: Metric) -> str:
    return any_page(_scale(score).value(score.value))


def _scale(score: Metric) -> Scale:
    return scale_of(score, score.low, score.high)


def _write(path: Path, text: str, force: bool) -> None:
    from taut.container import AtomicFile

    with AtomicFile(path, force=force) as file:
        file.write(text.encode())
        file.commit()
