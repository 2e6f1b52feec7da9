"""The verb `frontier`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from taut.container.through_stores import through_stores
from taut.display import displayed
from taut.machine import checked_threads
from taut.networks.recording import recording
from taut.networks.sources import chosen
from taut.planning.target import read_bits, read_size
from taut.sweep.frontier import find_frontier
from taut.sweep.pareto import Frontier, Missed, Point
from taut.sweep.places import JOURNAL
from taut.sweep.points import listed, read_settings
from taut.sweep.request import SweepRequest, Ways
from taut.verbs.old_words import accepting

if TYPE_CHECKING:
    import torch

    from taut.coding import Effort
    from taut.networks import CalibrationSpec
    from taut.networks.chosen_outputs import SharesSpec
    from taut.networks.outputs import Loss
    from taut.networks.sources import Model
    from taut.progress import Shown
    from taut.scheme import Scheme

__all__ = ["JOURNAL", "Frontier", "Missed", "Point", "frontier"]


@accepting(evaluate="score")
@through_stores("model")
@recording()
def frontier(
    model: Model,
    out: str | Path | None = None,
    *,
    bits: Sequence[float | str] | float | str | None = None,
    sizes: Sequence[str | int] | str | int | None = None,
    ratios: Sequence[float | str] | float | str | None = None,
    schemes: Sequence[str | Scheme] | str | Scheme | None = None,
    points: int | None = None,
    low: float | None = None,
    high: float | None = None,
    calib: CalibrationSpec | None = None,
    score: Callable[[torch.nn.Module], object] | None = None,
    loss: Loss | None = None,
    output: str | Mapping[str, str] | None = None,
    outputs: SharesSpec | None = None,
    finish: bool | None = None,
    seed: int | None = None,
    effort: Effort | None = None,
    threads: int | None = None,
    journal: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    key: str | None = None,
    strict: bool = False,
    progress: Shown = True,
) -> Frontier:
    """Compress a model to many sizes and judge each file: the trade-off, its Pareto set and knee.

    The one dial is set for `bits` a weight, for `sizes` ("8x", "4.2MB", "12%") or `ratios` (8), or
    for so many `points` from `low` to `high` bits; by default for eight from 2 to 8. `schemes` are
    the grids of runtimes ("int8", "int4:g128") that all matrices get instead; an empty list leaves
    them out. Every point is a file on disk, decoded into a copy of the network. It is judged by
    `score(model)`, which gives what `taut.evaluate` takes; without it by the outputs on `calib`;
    without either by the weights. Of several outputs each counts what `outputs` says. The other
    arguments are those of `compress`.

    With `out`, a folder, the files stay there, and finished points in its `frontier.jsonl`;
    `journal` is another place for these alone, and is removed at the end. With `resume` a sweep
    goes on from them, and may have other points. What cannot be met is in `missed`. `key` and
    `strict` are as in `compress`.

    Raises:
        ArgumentError: nothing was made yet; the message says what to change.
        TargetError: no point could be made.

    >>> import numpy as np
    >>> weights = np.random.default_rng(0).standard_normal((64, 64)).astype("f4")
    >>> found = frontier({"w": weights}, bits=[3, 6], schemes=["int8"])
    >>> found.pareto
    ('3 bits', '6 bits', 'int8')
    """
    request = SweepRequest(
        model=chosen(model, key, strict=strict),
        settings=read_settings(
            bits=_bits(bits),
            sizes=_sizes(sizes, ratios),
            schemes=_schemes(schemes),
            points=points,
            low=low,
            high=high,
        ),
        ways=Ways(
            calib=calib,
            loss=loss,
            output=output,
            outputs=outputs,
            finish=finish,
            seed=seed,
            effort=effort,
            threads=checked_threads(threads),
            resume=resume and out is not None,
        ),
        score=score,
        out=out,
        journal=journal,
        resume=resume,
        force=force,
    )
    with displayed(progress) as step:
        return find_frontier(replace(request, progress=step))


def _bits(given: object) -> list[float] | None:
    """Bits as numbers."""
    found = listed(given, "bits")
    return None if found is None else [b for one in found if (b := read_bits(one)) is not None]


def _sizes(sizes: object, ratios: object) -> list[str | int] | None:
    """Sizes as targets take them, those that ratios say after them."""
    sized, times = listed(sizes, "sizes"), listed(ratios, "ratios")
    if sized is None and times is None:
        return None
    found = [*map(read_size, sized or ()), *(read_size(None, one) for one in times or ())]
    return [one for one in found if one is not None]


def _schemes(given: object) -> list[str] | None:
    found = listed(given, "schemes")
    return None if found is None else [str(one) for one in found]
