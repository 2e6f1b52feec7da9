"""The first step of a calibrated run: curvature, and what all later steps try things out on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from taut.analysis import Curvature
from taut.calibration.collected import NO_GRADIENTS, curvature_of
from taut.calibration.findings import Findings
from taut.calibration.held import Held
from taut.calibration.inputs import Work
from taut.calibration.rounded_network import RoundedNetwork
from taut.calibration.rounder import Rounder
from taut.scheme import Scheme
from taut.transform.runtime import GRIDS


@dataclass(frozen=True, kw_only=True)
class Started:
    """Work with its curvature: a `rounder` of its matrices, and how to judge what comes of them.

    `student` is a copy of the network that takes on what a file would hold, `held` are batches set
    aside to judge it by, `record` has what was found so far. All three serve every step, and none
    of them decides anything.
    """

    work: Work
    record: Findings
    rounder: Rounder
    student: RoundedNetwork
    held: Held
    notes: tuple[str, ...]


def start(work: Work, record: Findings) -> Started:
    """Collect the curvature of what is to be rounded, or take it from the record.

    Raises:
        ArgumentError: the data does not fit the model, or a scheme its tensor.
    """
    student, request = RoundedNetwork(work.model), work.request
    held = Held(student.module, work.model.module, work.calibration, request.seed)
    curvature = _curvature(work, held, record)
    rounder = Rounder(
        work.source,
        work.schemes,
        curvature,
        gains=request.gains,
        effort=request.effort,
        threads=request.threads,
        options=request.options,
        record=record,
        workers=request.workers,
    )
    return Started(
        work=work,
        record=record,
        rounder=rounder,
        student=student,
        held=held,
        notes=_notes(work, held, curvature),
    )


def _curvature(work: Work, held: Held, record: Findings) -> dict[str, Curvature]:
    """By the tensors' names, of those that are rounded."""
    names = _parameters(work)

    def collected() -> dict[str, Curvature]:
        found = curvature_of(
            work.model,
            lambda: held.others,
            loss=work.request.loss,
            seed=work.request.seed,
            scratch=work.request.scratch,
            device=work.request.device,
            names=set(names.values()),
            progress=work.progress,
        )
        return {tensor: found[name] for tensor, name in names.items() if name in found}

    return record.curvatures(names, collected)


def _parameters(work: Work) -> dict[str, str]:
    """Tensors that are rounded, to the float matrices of the network that hold them."""
    known = work.model.module.named_parameters(remove_duplicate=False)
    matrices = {
        name
        for name, one in known
        if one.ndim >= 2 and (one.is_floating_point() or one.is_complex())
    }
    rounded = {name for name, one in work.schemes.items() if one.kind in ("rd", *GRIDS)}
    return {
        tensor: parameter
        for tensor, parameter in work.model.names.items()
        if tensor in rounded and parameter in matrices
    }


def _notes(work: Work, held: Held, curvature: Mapping[str, Curvature]) -> tuple[str, ...]:
    """What was left out, or seemed odd, in the data and the curvature."""
    notes = [f"calibration: {held.note}"] if held.note else []
    notes += work.calibration.notes
    notes += [] if work.model.gradients else [NO_GRADIENTS]
    notes += _by_scale(work, curvature)
    return (*notes, *(f"{name}: {note}" for name, one in curvature.items() for note in one.notes))


def _by_scale(work: Work, curvature: Mapping[str, Curvature]) -> list[str]:
    """What is rounded by its scale since it has no curvature, and why it has none."""
    unknown = [
        info.name
        for info in work.source.infos
        if work.schemes.get(info.name) == Scheme("rd") and info.name not in curvature
    ]
    run = _parameters(work)
    notes = [
        f"{name}: no matrix of the network; rounded by its scale"
        for name in unknown
        if name not in run
    ]
    if missed := [name for name in unknown if name in run]:
        more = f", and {len(missed) - 1} more" if len(missed) > 1 else ""
        notes.append(f"{missed[0]}{more}: not reached by any batch; rounded by scale")
    return notes
