"""The whole way of a sweep: a model and settings in, the trade-off out."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from taut.compression.request import check_words
from taut.container.find import is_taut_source
from taut.errors import ArgumentError, TargetError
from taut.io import Source, check_unchanged, open_source
from taut.io.identity import model_identity
from taut.io.model_file import path_of
from taut.io.pairs import paired
from taut.io.quantized import as_floats
from taut.networks import Calibration, LoadedModel, check_loss, open_calibration, open_model
from taut.networks.chosen_outputs import OutputShares
from taut.networks.outputs import said_outputs
from taut.networks.sources import built, without_masks
from taut.scoring.criteria import ByOutputs, ByScore, ByWeights, Yardstick
from taut.sweep.pareto import Frontier, frontier_of
from taut.sweep.places import check_files, made_files, place_of_points
from taut.sweep.points import matrices_of, notes_of, roundable
from taut.sweep.request import SweepRequest, Ways
from taut.sweep.run import Sweep
from taut.sweep.saved import Points


def find_frontier(request: SweepRequest) -> Frontier:
    """Make and judge a file for each setting.

    Raises:
        ArgumentError: nothing was made yet; the message says what to change.
        TargetError: no point could be made.
    """
    ways = request.ways
    if ways.loss is not None and ways.calib is None:
        raise ArgumentError("loss: is for calibration; give calib too")
    check_words(
        {"calib": ways.calib, "loss": ways.loss, "output": ways.output, "outputs": ways.outputs}
    )
    kept = place_of_points(request)
    path = path_of(request.model)
    name = None if path is None else str(path)
    src, masks = without_masks(built(request.model))
    request = replace(request, model=src)
    source = as_floats(open_source(request.model))
    _check(source)
    by_scale, pairs = request.ways.calib is None, paired(source)
    matrices, exact = roundable(pairs, matrices_of(pairs), by_scale=by_scale)
    loaded, calibration = _opened(request)
    yardstick = _yardstick(request, source, loaded, calibration)
    request = replace(request, ways=_repeatable(request.ways, calibration))
    check_files(request)
    identity = {} if kept is None else _identity(request, source, calibration)
    with contextlib.ExitStack() as stack:
        sweep = Sweep(
            request=request,
            source=source,
            matrices=matrices,
            yardstick=yardstick,
            folder=made_files(request.out, stack),
            found=stack.enter_context(Points(kept, identity, resume=request.resume)),
        )
        original = sweep.original()
        made, missed = sweep.run(original)
        check_unchanged(source.stamps)
        if request.out is None:
            sweep.found.discard()
    if not made:
        raise TargetError(f"frontier: no point could be made; {missed[0].name}: {missed[0].reason}")
    notes = [
        *masks,
        *(calibration.notes if calibration else ()),
        *notes_of(matrices, request.settings),
        *exact,
        *_unmapped(loaded),
    ]
    return frontier_of(name or source.identity, yardstick.measure, original, made, missed, notes)


def _check(source: Source) -> None:
    if is_taut_source(source):
        raise ArgumentError(
            f"{source.identity}: is a Taut file; give the original, which all points come from"
        )
    matrices_of(paired(source))


def _opened(request: SweepRequest) -> tuple[LoadedModel | None, Calibration | None]:
    """The network that runs, and its data, as far as they are needed."""
    calib = request.ways.calib
    if calib is None and request.score is None:
        return None, None
    if isinstance(request.model, Mapping):
        raise ArgumentError(
            "a dict of tensors cannot be run; give the module, or neither calib nor score"
        )
    loaded = open_model(request.model)
    if calib is None:
        return loaded, None
    calibration = open_calibration(calib, loaded)
    check_loss(request.ways.loss, calibration)
    return loaded, calibration


def _yardstick(
    request: SweepRequest,
    source: Source,
    model: LoadedModel | None,
    calibration: Calibration | None,
) -> Yardstick:
    if model is not None and request.score is not None:
        return ByScore(model, request.score, request.ways.seed or 0)
    if model is not None and calibration is not None:
        return ByOutputs(model, calibration, OutputShares.said(request.ways.outputs))
    return ByWeights(source.aliases.keys())


def _repeatable(ways: Ways, calibration: Calibration | None) -> Ways:
    """The ways with data that every file can go over: a generator gives its batches once."""
    calib = ways.calib
    if calib is None or isinstance(calib, str | Path) or callable(calib):
        return ways
    return replace(ways, calib=list(calibration or ()))


def _identity(
    request: SweepRequest, source: Source, calibration: Calibration | None
) -> dict[str, str]:
    """What all points are made from and judged by, in parts that a message can name."""
    from taut.calibration import code_identity
    from taut.version import __version__

    ways = request.ways
    return {
        "model": model_identity(source),
        "calibration": "none" if calibration is None else calibration.digest,
        "score": code_identity(request.score),
        "loss": code_identity(ways.loss),
        "output": str(sorted(said_outputs(ways.output).items())),
        "outputs": str(OutputShares.said(ways.outputs)),
        "finish": str(ways.finish is not False),
        "seed": str(ways.seed or 0),
        "effort": str(ways.effort),
        "version": __version__,
    }


def _unmapped(model: LoadedModel | None) -> list[str]:
    """A note of tensors that no score sees, if there are any."""
    if model is None or not model.unmapped:
        return []
    return [
        f"{len(model.unmapped)} tensors are in the file but not in the network that is judged, as "
        f"{model.unmapped[0]}"
    ]
