"""Rounding block after block, each on what the blocks before it give once they are compressed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from laconic.analyze import Curvature
from laconic.analyze.inputs import Inputs


def blocks_of(stages: Mapping[str, int]) -> list[list[str]]:
    """Tensors in the order of their first use, by block: names alike up to their last number.

    >>> blocks_of({"emb.weight": 0, "l.0.a.weight": 1, "l.0.b.weight": 2, "l.1.a.weight": 3})
    [['emb.weight'], ['l.0.a.weight', 'l.0.b.weight'], ['l.1.a.weight']]
    """
    found: dict[str, list[str]] = {}
    for name in sorted(stages, key=lambda one: (stages[one], one)):
        found.setdefault(_block(name), []).append(name)
    return list(found.values())


def _block(name: str) -> str:
    parts = name.split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[-1] + 1]) if numbers else name


def seen(curvature: Curvature | None, inputs: Inputs | None) -> Curvature | None:
    """The curvature with its inputs' side as the compressed network has it; None if it has none.

    Weights that are used in several ways keep the curvature that sums them.
    """
    if curvature is None or inputs is None or "+" in curvature.kind:
        return None
    side = curvature.rows if inputs.swapped else curvature.columns
    if side.shape != inputs.moment.shape:
        return None
    if inputs.swapped:
        return replace(curvature, rows=inputs.moment)
    return replace(curvature, columns=inputs.moment)
