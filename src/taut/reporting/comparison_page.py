"""Two files of one model on one page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

from taut.container import AtomicFile, check_destination
from taut.reporting import numbers as say
from taut.reporting._canvas import AFTER, BEFORE, need_report
from taut.reporting._rows import Column, rows
from taut.reporting._svg import inline
from taut.reporting.chart import Table
from taut.reporting.comparison import ComparedFile, FileComparison
from taut.reporting.comparison_verdict import comparison_verdict
from taut.reporting.frame import document, facts_html, table_html
from taut.reporting.layer_rows import LayerRow, blocks_of
from taut.reporting.made import PageFacts
from taut.reporting.origins import versions
from taut.reporting.scale import named, scale_of
from taut.reporting.tables import interval
from taut.scoring.results import Metric

_SLIGHT: Final = 0.005  # of all bytes, below which a block is in the table alone


_NO_FACTS: Final = PageFacts()


def write_comparison(
    path: Path, found: FileComparison, facts: PageFacts = _NO_FACTS, *, force: bool = False
) -> None:
    """Write a comparison as one HTML file that needs nothing else.

    Raises:
        ArgumentError: the file exists (and not `force`), its folder does not, or the `report`
            extra is not installed.
    """
    need_report()
    check_destination(path, force=force)
    text = comparison_page(found, facts)
    with AtomicFile(path, force=force) as file:
        file.write(text.encode())
        file.commit()


def comparison_page(found: FileComparison, facts: PageFacts = _NO_FACTS) -> str:
    """The text of the page."""
    verdict = comparison_verdict(found)
    a, b = found.first, found.second
    blocks = blocks_beside(a, b)
    title = f"{a.name} and {b.name}"
    body = f"""<main class="wrap">
<header><p class="brand"><b>Taut</b> · comparison · {_text(title)}</p>
<div class="verdict {verdict.tone}"><h1>{_text(verdict.headline)}</h1>
<p class="because">{_text(" ".join(verdict.because))}</p></div></header>
{facts_html(_made(found, facts))}
<section id="files"><h2>Both files</h2><p>Size, error and score, side by side.</p>
<div class="card">{table_html(_files(found), "both")}{_notes(found)}</div></section>
<section id="size"><h2>Size</h2><p>What every block takes in each.</p>
<div class="grid">{"".join(_charts(found, blocks))}
<div class="card wide">{table_html(_block_table(blocks), "blocks")}</div></div></section>
<section id="tensors"><h2>Tensors</h2><p>How each is stored in both.</p>
<div class="card">{_tensors(a, b)}</div></section>
<footer>Sizes are bytes on disk, kB and MB decimal. Errors are squared, relative to the original's
values.</footer>
</main>"""
    return document(f"{title}: {verdict.headline}", body)


@dataclass(frozen=True)
class BlockBeside:
    """The tensors of one block in both files."""

    name: str
    first: LayerRow
    second: LayerRow

    @property
    def rows(self) -> tuple[LayerRow, LayerRow]:
        """Both."""
        return self.first, self.second


def blocks_beside(a: ComparedFile, b: ComparedFile) -> tuple[BlockBeside, ...]:
    """Blocks of what both files have, what differs most in bytes first."""
    other = {tensor.name: tensor for tensor in b.tensors}
    found = []
    for row in blocks_of([tensor for tensor in a.tensors if tensor.name in other]):
        beside = LayerRow(row.name, tuple(other[tensor.name] for tensor in row.tensors))
        found.append(BlockBeside(row.name, row, beside))
    return tuple(sorted(found, key=lambda one: -abs(one.second.after - one.first.after)))


def _made(found: FileComparison, facts: PageFacts) -> list[tuple[str, str]]:
    told = [("First", found.first.file), ("Second", found.second.file)]
    return [*told, *facts.named, ("Versions", versions()["report written by"])]


def _files(found: FileComparison) -> Table:
    a, b = found.first, found.second
    exact = [sum(not tensor.rel_mse for tensor in one.tensors) for one in (a, b)]
    rows_ = [
        ("size", say.size(a.size), say.size(b.size), _change(a.size, b.size)),
        ("ratio", f"{say.digits(a.ratio)}×", f"{say.digits(b.ratio)}×", ""),
        ("bits per weight", say.digits(a.bits), say.digits(b.bits), ""),
        ("mean error of the weights", say.digits(a.error), say.digits(b.error), ""),
        ("tensors, bit-exact", *(say.exact(one) for one in exact), ""),
        *_metrics(found),
    ]
    head = ("measure", "first", "second", "difference")
    return Table(head, tuple(rows_), caption="Both files", sorts=False)


def _metrics(found: FileComparison) -> Iterator[tuple[str, str, str, str]]:
    """A row for each metric that both files have."""
    if found.direct is not None:
        sides = (found.direct.original, found.direct.model)
    else:
        judged = (found.first.evaluation, found.second.evaluation)
        sides = tuple(one.model if one is not None else None for one in judged)  # type: ignore[assignment]
    scores = [one.scores.metrics if one is not None and one.scores else () for one in sides]
    new: dict[str, Metric] = {metric.name: metric for metric in scores[1]}
    for old in scores[0]:
        if (metric := new.get(old.name)) is not None:
            scale = scale_of(old, metric.value)
            apart = scale.change(metric.value - old.value, old.value)
            yield (named(old), interval(old, scale), interval(metric, scale), apart)


def _change(before: int, after: int) -> str:
    """Bytes more (+) or less, in percent of the first."""
    part = (after - before) / max(1, before)
    return f"{'+' if part > 0 else '−' if part < 0 else ''}{say.percent(abs(part))}"


def _charts(found: FileComparison, blocks: Sequence[BlockBeside]) -> Iterator[str]:
    """Bytes and bits by block, both files on one scale."""
    total = max(found.first.size, found.second.size)
    shown = [b for b in blocks if max(b.first.after, b.second.after) > _SLIGHT * total][:16]
    if not shown:
        return
    names = [one.name for one in shown]
    bytes_ = [(b.first.after, b.second.after) for b in shown]
    yield _chart("bytes", "Bytes by block", names, bytes_, say.size)
    bits = [(b.first.bits, b.second.bits) for b in shown]
    yield _chart("bits", "Bits per weight", names, bits, say.digits)


def _chart(
    key: str,
    title: str,
    names: Sequence[str],
    values: Sequence[tuple[float, float]],
    text: Callable[[float], str],
) -> str:
    """A bar for each file in every row, both on one scale."""
    most = max(max(pair) for pair in values)
    columns = [
        Column(name, [pair[place] for pair in values], [text(pair[place]) for pair in values],
               colour, most=most)
        for place, (name, colour) in enumerate((("first", BEFORE), ("second", AFTER)))
    ]  # fmt: skip
    about = "Both on one scale, what differs most first."
    drawn = inline(rows(names, columns), key, title, about)
    return (
        f'<figure class="card"><figcaption><h3>{title}</h3><p>{about}</p></figcaption>'
        f"{drawn}</figure>"
    )


def _block_table(blocks: Sequence[BlockBeside]) -> Table:
    """The blocks that differ, or all where none does."""
    differ = [one for one in blocks if _costs(one.first) != _costs(one.second)]
    shown = differ or blocks
    alike = len(blocks) - len(shown)
    left = f", without those that are alike ({alike})" if alike else ""
    return Table(
        ("block", "first", "second", "difference", "error", "error of the second"),
        tuple(
            (
                one.name,
                *(f"{say.size(row.after)}\n{say.digits(row.bits)} bits" for row in one.rows),
                _change(one.first.after, one.second.after),
                *(say.digits(row.error) for row in one.rows),
            )
            for one in shown
        ),
        caption=f"Layers by block, what differs most first{left}",
    )


def _costs(row: LayerRow) -> tuple[int, float]:
    return row.after, row.error


def _tensors(a: ComparedFile, b: ComparedFile) -> str:
    """Every tensor that is stored otherwise, to be opened."""
    other = {tensor.name: tensor for tensor in b.tensors}
    found = [
        (one, other[one.name])
        for one in a.tensors
        if one.name in other and _stored(one) != _stored(other[one.name])
    ]
    if not found:
        return "<p>All tensors are stored alike in both.</p>"
    table = Table(
        ("tensor", "scheme", "scheme 2", "bytes", "bytes 2", "error", "error 2"),
        tuple(
            (
                *(one.name, one.scheme, two.scheme, say.size(one.bytes), say.size(two.bytes)),
                *(say.digits(one.rel_mse), say.digits(two.rel_mse)),
            )
            for one, two in found
        ),
        left=3,
        caption="Tensors that are stored otherwise",
    )
    told = f"{say.exact(len(found))} of {say.exact(len(a.tensors))} tensors are stored otherwise"
    return (
        f"<details><summary>{told}</summary>"
        f"{table_html(table, 'all-tensors', quiet=True, left='taut diff shows')}</details>"
    )


def _stored(tensor: object) -> tuple[object, ...]:
    return tuple(getattr(tensor, name) for name in ("scheme", "bytes", "rel_mse"))


def _notes(found: FileComparison) -> str:
    items = "".join(f"<li>{_text(note)}</li>" for note in found.notes)
    return f'<ul class="notes">{items}</ul>' if items else ""


def _text(text: str) -> str:
    return escape(say.printable(text))
