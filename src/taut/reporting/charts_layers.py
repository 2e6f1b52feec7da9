"""Charts with a layer a row: where the bytes are, bits, errors, sensitivity, fidelity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from taut.reporting._canvas import AFTER, BEFORE, WARN
from taut.reporting._rows import Column, rows
from taut.reporting.chart import Chart, Table
from taut.reporting.charts_map import map_chart
from taut.reporting.layer_rows import LayerRow, blocks_of, layers_of, top
from taut.reporting.numbers import cosine, count, digits, percent, size
from taut.reporting.story import Story
from taut.scoring.results import LayerFidelity

_SLIGHT: Final = 0.005  # of all bytes: what has less, before and after, is shown with the rest
_TINY: Final = 0.001  # and where rows are not bytes


def layer_charts(story: Story) -> Iterator[Chart]:
    """The charts of layers that a story allows."""
    blocks = blocks_of(story.tensors)
    drawn = map_chart(blocks)
    if drawn is not None:
        yield drawn
        yield _bytes(blocks)
    yield from _matrix_charts(blocks, layers_of(story.tensors), story.bits)
    if any(story.sensitivity.values()):
        yield _sensitivity(story.sensitivity, story.sensitivity_by)
    evaluation = story.evaluation
    if evaluation and evaluation.fidelity and evaluation.fidelity.layers:
        yield _fidelity(evaluation.fidelity.layers)


def _matrix_charts(
    blocks: Sequence[LayerRow], layers: Sequence[LayerRow], mean: float | None
) -> Iterator[Chart]:
    """The charts of what has a matrix."""
    matrices = [block for block in blocks if _has_matrix(block)]
    if matrices:
        yield _bits(matrices, mean)
    lossy = [layer for layer in layers if _has_matrix(layer) and layer.heaviest.rel_mse > 0]
    if lossy:
        yield _errors(lossy)


def _has_matrix(row: LayerRow) -> bool:
    return len(row.heaviest.shape) > 1 and row.after > 0


def _bytes(layers: Sequence[LayerRow]) -> Chart:
    before, after = sum(layer.before for layer in layers), sum(layer.after for layer in layers)
    shown = _heaviest(layers, before, after)
    columns = [
        Column("before", [layer.before for layer in shown],
               [size(layer.before) for layer in shown], BEFORE),
        Column("after", [layer.after for layer in shown],
               [size(layer.after) for layer in shown], AFTER),
    ]  # fmt: skip
    head = ("block", "before", "after", "ratio", "share after")
    return Chart(
        key="bytes",
        section="Size",
        title="Bytes before and after",
        about=f"{size(before)} before, {size(after)} after, each column on its own scale.",
        draw=partial(rows, [layer.name for layer in shown], columns),
        table=Table(head, tuple(_bytes_row(layer, after) for layer in layers)),
        legend=(("before", "before"), ("after", "after")),
    )


def _heaviest(layers: Sequence[LayerRow], before: int, after: int) -> list[LayerRow]:
    """Layers whose share of the bytes, before or after, can be seen, and all others as one."""
    shown, rest = top(
        layers,
        lambda layer: max(layer.before / max(1, before), layer.after / max(1, after)),
        _SLIGHT,
    )
    if rest:
        members = tuple(tensor for layer in rest for tensor in layer.tensors)
        shown.append(LayerRow(f"the rest ({len(rest)})", members))
    return shown


def _bytes_row(layer: LayerRow, after: int) -> tuple[str, ...]:
    ratio = f"{digits(layer.before / layer.after)}×" if layer.after else "-"
    share = percent(layer.after / max(1, after))
    return (layer.name, size(layer.before), size(layer.after), ratio, share)


def _bits(layers: Sequence[LayerRow], mean: float | None) -> Chart:
    total = sum(layer.before for layer in layers)
    shown, rest = top(layers, lambda layer: layer.before / max(1, total), _TINY)
    small = f" The {len(rest)} smallest are in the table alone." if rest else ""
    values = [layer.bits for layer in shown]
    whole = f" The whole file takes {digits(mean)}." if mean else ""
    column = Column("bits per weight", values, [digits(value) for value in values], AFTER)
    return Chart(
        "bits",
        "Size",
        "Bits per weight",
        f"What a weight of each block takes on disk, biases and scales counted.{whole}{small}",
        partial(rows, [layer.name for layer in shown], [column]),
        Table(
            ("block", "weights", "bits per weight"),
            tuple((layer.name, count(layer.values), digits(layer.bits)) for layer in layers),
            left=1,
        ),
    )


def _errors(layers: Sequence[LayerRow]) -> Chart:
    shown, _ = top(layers, lambda layer: layer.heaviest.rel_mse)
    values = [layer.heaviest.rel_mse for layer in shown]
    worst = max(layers, key=lambda layer: layer.heaviest.rel_mse)
    left = f"the worst {len(shown)} of {len(layers)} layers" if len(shown) < len(layers) else ""
    column = Column(
        "relative squared error, logarithmic",
        *(values, [digits(value) for value in values], WARN, "dot"),
    )
    return Chart(
        "errors",
        "Values",
        "Error of the weights",
        "Squared difference over squared values of each layer's weights"
        f"{', ' + left if left else ''}. The largest, {digits(worst.heaviest.rel_mse)}, is in "
        f"{worst.name}. What it costs the outputs depends on the layer.",
        partial(rows, [layer.name for layer in shown], [column]),
        Table(
            ("tensor", "relative squared error"),
            tuple((layer.heaviest.name, digits(layer.heaviest.rel_mse)) for layer in layers),
        ),
    )


def _sensitivity(found: Mapping[str, float], by: str) -> Chart:
    shown, rest = top(list(found.items()), lambda item: item[1])
    if rest:
        shown.append((f"the rest ({len(rest)})", sum(value for _, value in rest)))
    values = [max(0.0, value) for _, value in shown]
    most = max(found, key=lambda name: found[name])
    return Chart(
        "sensitivity",
        "Values",
        "Sensitivity",
        f"What each tensor costs the model when it is rounded: {by}. The most: {most}.",
        partial(
            rows,
            [name for name, _ in shown],
            [Column(by, values, [digits(value) for _, value in shown], WARN)],
        ),
        Table(("tensor", by), tuple((name, digits(value)) for name, value in found.items())),
    )


def _fidelity(layers: Sequence[LayerFidelity]) -> Chart:
    shown, _ = top(layers, lambda layer: layer.own_rel_mse)
    worst = max(layers, key=lambda layer: layer.own_rel_mse)
    columns = [
        Column("added here", [layer.own_rel_mse for layer in shown],
               [digits(layer.own_rel_mse) for layer in shown], WARN, "dot"),
        Column("in all, so far", [layer.rel_mse for layer in shown],
               [digits(layer.rel_mse) for layer in shown], AFTER, "dot"),
    ]  # fmt: skip
    return Chart(
        "fidelity",
        "Outputs",
        "Which layer lost it",
        "Relative squared error of each layer's output, in the order in which they run: what the "
        "layer adds by itself, and what has come together there (logarithmic, each column on its "
        f"own scale). The most is added by {worst.name}: {digits(worst.own_rel_mse)}.",
        partial(rows, [layer.name for layer in shown], columns),
        Table(
            ("layer", "kind", "cosine", "error in all", "error added"),
            tuple(
                (
                    *(layer.name, layer.kind, cosine(layer.cosine)),
                    *(digits(layer.rel_mse), digits(layer.own_rel_mse)),
                )
                for layer in layers
            ),
            left=2,
        ),
        (("warn", "added by the layer itself"), ("after", "in all")),
    )
