"""The treemap: every block an area as large as its bytes in the file, bluer with more bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from math import log2
from typing import TYPE_CHECKING, Final

from taut.reporting._canvas import AFTER, CARD, INK, WIDTH, Lettering, blank, place, shorten, write
from taut.reporting.chart import Chart, Table
from taut.reporting.layer_rows import LayerRow
from taut.reporting.numbers import digits, percent, printable, size, times
from taut.reporting.treemap import Box, squarify

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEIGHT: Final = 250.0
_WIDE: Final = 1000.0  # what a page's map is laid out in; it is shown at any width
_CELLS: Final = 400  # tensors that are drawn by themselves; the others share an area a block
_PALE: Final = (0.14, 0.6)  # shade of the fewest bits, and of the most
_MOST_BITS: Final = 32.0


@dataclass(frozen=True)
class _Block:
    """A block in its place, and its tensors in theirs, the block's name and numbers in words."""

    row: LayerRow
    box: Box
    inner: tuple[tuple[float, Box], ...]  # bits of a tensor, and its place

    @property
    def told(self) -> str:
        return f"{size(self.row.after)}, {digits(self.row.bits)} bits a weight"


def map_chart(blocks: Sequence[LayerRow]) -> Chart | None:
    """The treemap of the blocks that take bytes, and the table of all; None where none does."""
    after = sum(row.after for row in blocks)
    if not after:
        return None
    largest = max(blocks, key=lambda row: row.after)
    return Chart(
        key="map",
        section="Size",
        title="Where the bytes are",
        about="An area is a block's bytes in the file, bluer with more bits a weight; lines "
        f"divide its tensors. {largest.name} takes the most, {percent(largest.after / after)} of "
        "what is left.",
        draw=partial(_draw, blocks),
        table=block_table(blocks),
        html=partial(_html, blocks),
        opened=True,
    )


def block_table(blocks: Sequence[LayerRow]) -> Table:
    """Every block, the largest first: what it took and takes, bits, schemes, largest error."""
    after = sum(row.after for row in blocks)
    ordered = sorted(blocks, key=lambda row: -row.after)
    head = ("block", "scheme", "before", "after", "ratio", "of the file", "bits", "error")
    return Table(
        head,
        tuple(
            (
                *(row.name, row.schemes, size(row.before), size(row.after)),
                times(row.before, row.after),
                percent(row.after / max(1, after)),
                digits(row.bits),
                digits(row.error),
            )
            for row in ordered
        ),
        left=2,
        caption="Layers by block",
        sorted_by=3,
    )


def _laid_out(blocks: Sequence[LayerRow], box: Box) -> Iterator[_Block]:
    number = sum(len(row.tensors) for row in blocks)
    for key, outer in squarify([row.after for row in blocks], box):
        row = blocks[key]
        inner: tuple[tuple[float, Box], ...] = ((row.bits, outer),)
        if number <= _CELLS:
            cells = squarify([tensor.bytes for tensor in row.tensors], outer)
            inner = tuple((row.tensors[k].bits, one) for k, one in cells)
        yield _Block(row, outer, inner)


def _shade(bits: float) -> float:
    low, high = _PALE
    return low + (high - low) * min(1.0, log2(1 + bits) / log2(1 + _MOST_BITS))


def _html(blocks: Sequence[LayerRow]) -> str:
    """The map for a page: boxes in percent of its size, so that texts keep theirs at any width."""
    box = Box(0, 0, _WIDE, _HEIGHT * _WIDE / WIDTH * 0.5)
    found = []
    for block in _laid_out(blocks, box):
        name = escape(printable(block.row.name))
        parted = name.replace(".", ".<wbr>")
        cells = "".join(
            f'<i style="{_place(one, block.box)};--s:{100 * _shade(bits):.0f}%"></i>'
            for bits, one in block.inner
        )
        found.append(
            f'<div class="block" style="{_place(block.box, box)}" '
            f'title="{name}: {escape(block.told)}">'
            f"{cells}<span><b>{parted}</b> {size(block.row.after)}</span></div>"
        )
    return f'<div class="map" aria-hidden="true">{"".join(found)}</div>'


def _place(inner: Box, outer: Box) -> str:
    """A box within another as CSS has it."""
    sides = (
        ("left", (inner.x - outer.x) / outer.width),
        ("top", (inner.y - outer.y) / outer.height),
        ("width", inner.width / outer.width),
        ("height", inner.height / outer.height),
    )
    return ";".join(f"{name}:{100 * part:.3g}%" for name, part in sides)


def _draw(blocks: Sequence[LayerRow]) -> Figure:
    """The map as a figure, for a file of its own."""
    from matplotlib.patches import Rectangle

    figure = blank(_HEIGHT)
    axes = place(figure, 0, 0, WIDTH, _HEIGHT)
    axes.set(xlim=(0, WIDTH), ylim=(_HEIGHT, 0), xticks=[], yticks=[])
    for block in _laid_out(blocks, Box(0, 0, WIDTH, _HEIGHT)):
        for bits, one in block.inner:
            corner = (one.x, one.y)
            axes.add_patch(
                Rectangle(corner, one.width, one.height, facecolor=AFTER, alpha=_shade(bits),
                          edgecolor=CARD, linewidth=0.4)
            )  # fmt: skip
        box = block.box
        axes.add_patch(
            Rectangle((box.x, box.y), box.width, box.height, fill=False, edgecolor=CARD,
                      linewidth=2)
        )  # fmt: skip
        if box.height > 17 and box.width > 44:
            name = shorten(block.row.name, box.width - 8)
            write(axes, (box.x, box.y), name, Lettering(colour=INK, va="top"), dx=4, dy=-4)
    return figure
