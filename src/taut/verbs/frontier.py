"""The verb `frontier`: the model at many sizes, each a real file, loaded back and judged."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from taut.coding import Effort
from taut.container import check_destination
from taut.errors import ArgumentError, TargetError
from taut.io import Source, check_unchanged, open_source
from taut.io.identity import model_identity
from taut.machine import checked_threads
from taut.networks import Calibration, CalibrationSpec, LoadedModel, open_calibration, open_model
from taut.networks.sources import built
from taut.progress import Progress
from taut.scoring.criteria import ByOutputs, ByScore, ByWeights, Yardstick
from taut.sweep.pareto import Frontier, Missed, Point, frontier_of
from taut.sweep.points import Setting, matrices_of, read_settings
from taut.sweep.run import Sweep, Ways
from taut.sweep.saved import Points, check_journal

if TYPE_CHECKING:
    import torch

    from taut.networks.outputs import Loss
    from taut.networks.sources import Model

__all__ = ["JOURNAL", "Frontier", "Missed", "Point", "frontier"]

JOURNAL = "frontier.jsonl"
"""The finished points, in the folder of the files."""


def frontier(
    model: Model,
    out: str | Path | None = None,
    *,
    bits: Sequence[float] | None = None,
    sizes: Sequence[str | int] | None = None,
    schemes: Sequence[str] | None = None,
    points: int | None = None,
    low: float | None = None,
    high: float | None = None,
    calib: CalibrationSpec | None = None,
    evaluate: Callable[[torch.nn.Module], object] | None = None,
    loss: Loss | None = None,
    finish: bool | None = None,
    seed: int | None = None,
    effort: Effort | None = None,
    threads: int | None = None,
    journal: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Frontier:
    """Compress a model to many sizes and judge each file: the trade-off, its Pareto set and knee.

    The one dial is set for `bits` a weight, for `sizes` ("8x", "4.2MB", "12%"), or for so many
    `points` from `low` to `high` bits; by default for eight from 2 to 8. `schemes` are the grids of
    runtimes ("int8", "int4:g128") that all matrices get instead; an empty list leaves them out.
    Every point is a file on disk, decoded into a copy of the network. It is judged by
    `evaluate(model)`, which gives what `taut.evaluate` takes; without it by the outputs on
    `calib`; without either by the weights. The other arguments are those of `compress`.

    With `out`, a folder, the files stay there, and finished points in its `frontier.jsonl`;
    `journal` is another place for these alone, and is removed at the end. With `resume` a sweep
    goes on from them, and may have other points. What cannot be met is in `missed`.

    Raises:
        ArgumentError: nothing was made yet; the message says what to change.
        TargetError: no point could be made.

    >>> import numpy as np
    >>> weights = np.random.default_rng(0).standard_normal((64, 64)).astype("f4")
    >>> found = frontier({"w": weights}, bits=[3, 6], schemes=["int8"])
    >>> found.pareto
    ('3 bits', '6 bits', 'int8')
    """
    settings = read_settings(
        bits=bits, sizes=sizes, schemes=schemes, points=points, low=low, high=high
    )
    if loss is not None and calib is None:
        raise ArgumentError("loss: is for calibration; give calib too")
    kept = _kept(out, journal, resume, force)
    name = str(model) if isinstance(model, str | Path) else None
    model = built(model)
    source = open_source(model)
    _check(source)
    loaded, calibration = _opened(model, calib, evaluate)
    yardstick = _yardstick(source, loaded, calibration, evaluate, seed or 0)
    if calib is not None and not (isinstance(calib, str | Path) or callable(calib)):
        calib = list(calibration or ())  # a generator gives its batches once
    threads = checked_threads(threads)
    ways = Ways(calib, loss, finish, seed, effort, threads, resume and out is not None)
    if out is not None:
        _check_files(settings, Path(out), force=force or resume)
    identity = {} if kept is None else _identity(source, calibration, evaluate, ways)
    with contextlib.ExitStack() as stack:
        folder = _folder(out, stack)
        found = stack.enter_context(Points(kept, identity, resume=resume))
        sweep = Sweep(source, model, yardstick, ways, folder, out is not None, found, progress)
        original = sweep.original()
        made, missed = sweep.run(settings, original)
        check_unchanged(source.stamps)
        if out is None:
            found.discard()
    if not made:
        raise TargetError(f"frontier: no point could be made; {missed[0].name}: {missed[0].reason}")
    notes = [*sweep.notes, *([_unmapped(loaded)] if loaded and loaded.unmapped else [])]
    return frontier_of(name or source.identity, yardstick.measure, original, made, missed, notes)


def _kept(
    out: str | Path | None, journal: str | Path | None, resume: bool, force: bool
) -> Path | None:
    """Where finished points are kept, if anywhere; raises if an earlier sweep's are there."""
    if out is not None:
        folder = Path(out)
        if folder.exists() and not folder.is_dir():
            raise ArgumentError(f"{folder}: is no folder; name one for the files")
        if not folder.parent.is_dir():
            raise ArgumentError(f"{folder}: the folder {folder.parent} does not exist; make it")
        if folder.is_dir():
            check_journal(folder / JOURNAL, resume=resume, force=force)
        return folder / JOURNAL
    if journal is None:
        if resume:
            raise ArgumentError("resume: wants the place of the points; give out, or journal")
        return None
    check_journal(Path(journal), resume=resume, force=force)
    return Path(journal)


def _check(source: Source) -> None:
    if {"taut", "checksum", "index"} <= source.metadata.keys():
        raise ArgumentError(
            f"{source.identity}: is a Taut file; give the original, which all points come from"
        )
    matrices_of(source)


def _check_files(settings: Iterable[Setting], folder: Path, *, force: bool) -> None:
    """Whether every file may be written."""
    if folder.is_dir():
        for setting in settings:
            check_destination(folder / setting.file_name, force=force)


def _folder(out: str | Path | None, stack: contextlib.ExitStack) -> Path:
    """Where the files are made: in the caller's folder, or in one that goes with the stack."""
    if out is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taut-")))
    Path(out).mkdir(exist_ok=True)
    return Path(out)


def _opened(
    model: Model,
    calib: CalibrationSpec | None,
    evaluate: Callable[[torch.nn.Module], object] | None,
) -> tuple[LoadedModel | None, Calibration | None]:
    """The network that runs, and its data, as far as they are needed."""
    if calib is None and evaluate is None:
        return None, None
    if isinstance(model, Mapping):
        raise ArgumentError(
            "a dict of tensors cannot be run; give the module, or neither calib nor evaluate"
        )
    loaded = open_model(model)
    return loaded, None if calib is None else open_calibration(calib, loaded)


def _yardstick(
    source: Source,
    model: LoadedModel | None,
    calibration: Calibration | None,
    evaluate: Callable[[torch.nn.Module], object] | None,
    seed: int,
) -> Yardstick:
    if model is not None and evaluate is not None:
        return ByScore(model, evaluate, seed)
    if model is not None and calibration is not None:
        return ByOutputs(model, calibration)
    return ByWeights(source.aliases.keys())


def _identity(
    source: Source,
    calibration: Calibration | None,
    evaluate: Callable[[torch.nn.Module], object] | None,
    ways: Ways,
) -> dict[str, str]:
    """What all points are made from and judged by, in parts that a message can name."""
    from taut.calibration import code_identity
    from taut.version import __version__

    return {
        "model": model_identity(source),
        "calibration": "none" if calibration is None else calibration.digest,
        "score": code_identity(evaluate),
        "loss": code_identity(ways.loss),
        "finish": str(ways.finish is not False),
        "seed": str(ways.seed or 0),
        "effort": str(ways.effort),
        "version": __version__,
    }


def _unmapped(model: LoadedModel) -> str:
    return (
        f"{len(model.unmapped)} tensors are in the file but not in the network that is judged, as "
        f"{model.unmapped[0]}"
    )
