"""The first step of a calibrated run: curvature, and what all later steps try things out on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from taut.analysis import Curvature, Pieces
from taut.calibration.collected import NO_GRADIENTS, curvature_of
from taut.calibration.compressed_chain import CompressedChain
from taut.calibration.findings import Findings
from taut.calibration.held import Held
from taut.calibration.inputs import Work
from taut.calibration.projections import FEWEST, projections_for
from taut.calibration.rounded_network import RoundedNetwork
from taut.calibration.rounder import Rounder
from taut.calibration.stage_costs import stage_costs
from taut.io import Source
from taut.networks.block_calls import AnotherWayError
from taut.networks.calls import fitted
from taut.networks.chain import Chain
from taut.networks.chain_cutting import find_cutting
from taut.networks.chain_precision import runs_wide
from taut.networks.find_chain import find_chain
from taut.networks.precision import AS_IT_IS, has_narrow, widen_if_it_runs
from taut.progress import expect_stages
from taut.scheme import Scheme
from taut.transform.runtime import GRIDS

LARGE = 1 << 25  # weights under the dial, from which a chain of blocks is rounded in one pass


@dataclass(frozen=True, kw_only=True)
class Started:
    """Work with its curvature: a `rounder` of its matrices, and how to judge what comes of them.

    `student` is a copy of the network that takes on what a file would hold, `held` are batches set
    aside to judge it by, `record` has what was found so far. All three serve every step, and none
    of them decides anything. `compressed` runs a large network of blocks without a copy of it, in
    the place of `student`.
    """

    work: Work
    record: Findings
    rounder: Rounder
    student: RoundedNetwork
    held: Held
    notes: tuple[str, ...]
    compressed: CompressedChain | None = None


def start(work: Work, record: Findings) -> Started:
    """Collect the curvature of what is to be rounded, or take it from the record.

    Raises:
        ArgumentError: the data does not fit the model, or a scheme its tensor.
    """
    student, request = RoundedNetwork(work.model), work.request
    if is_large(work.source, work.schemes):
        expect_stages(work.progress, stage_costs(work))
    held = Held(
        student,
        work.model.module,
        work.calibration,
        request.seed,
        request.output,
        request.shares,
        () if request.loss is not None else set(_parameters(work).values()),
        told=request.loss is None,
    )
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
        scratch=request.scratch,
    )
    compressed, notes = _compressed(work, held, rounder), _notes(work, held, curvature)
    if compressed is None and work.model.gradients:  # it was left as it is for blocks it has not
        wide = widen_if_it_runs(work.model.module, held.batches[0])
        notes = notes if wide or AS_IT_IS in notes else (*notes, AS_IT_IS)
    return Started(
        work=work,
        record=record,
        rounder=rounder,
        student=student,
        held=held,
        notes=notes,
        compressed=compressed,
    )


def is_large(source: Source, schemes: Mapping[str, Scheme]) -> bool:
    """Whether a network of blocks with so many weights under the dial is rounded in one pass."""
    dialled = (
        prod(info.shape)
        for info in source.infos
        if (one := schemes.get(info.name)) is not None and one.kind == "rd" and one.bits is None
    )
    return sum(dialled) >= LARGE


def _compressed(work: Work, held: Held, rounder: Rounder) -> CompressedChain | None:
    """What runs a network of blocks that is too large to be rounded, and copied, time and again."""
    if not is_large(work.source, work.schemes) or not held.judges:
        return None
    return chain_of(work, held, rounder)


def chain_of(work: Work, held: Held, rounder: Rounder) -> CompressedChain | None:
    """What runs a network of blocks, block after block; None if it has none, or cannot run so.

    That takes gradients, blocks that run in float32, and batches that all go the same way through
    them.
    """
    if not work.model.gradients:
        return None
    network = work.model.module
    batch = fitted(held.batches[0], network)
    chain = find_chain(network, batch)
    if chain is None or not _in_one_way(chain, held.batches):
        return None
    if has_narrow(network) and not runs_wide(chain, batch):
        return None
    return CompressedChain(work, rounder, chain, find_cutting(chain, batch))


def _in_one_way(chain: Chain, batches: Iterable[object]) -> bool:
    """Whether all batches go through the blocks of a chain; no block runs."""
    import torch

    try:
        with torch.no_grad():
            for batch in batches:
                chain.enter(batch)
    except AnotherWayError:
        return False
    return True


def _curvature(work: Work, held: Held, record: Findings) -> dict[str, Curvature]:
    """By the tensors' names, of those that are rounded."""
    names = _parameters(work)
    if work.forms.keys() >= names.keys():
        known = {name: work.forms[name] for name in names}
        return {name: one for name, one in known.items() if one is not None}

    def collected(pieces: Pieces | None) -> dict[str, Curvature]:
        found = curvature_of(
            work.model,
            lambda: held.others,
            loss=work.request.loss,
            output={place: one.kind for place, one in held.roles.items()},
            shares=held.traces(),
            projections=_projections(work, held),
            seed=work.request.seed,
            scratch=work.request.scratch,
            device=work.request.device,
            names=set(names.values()),
            progress=work.progress,
            pieces=pieces,
        )
        return {tensor: found[name] for tensor, name in names.items() if name in found}

    found = record.curvatures(names, collected)
    work.forms.update({name: found.get(name) for name in names})
    return found


def _projections(work: Work, held: Held) -> int:
    """Directions of the outputs for each batch; of a large network what each takes is foretold."""
    if is_large(work.source, work.schemes) or work.request.loss or not work.model.gradients:
        return FEWEST
    return projections_for(work.model.module, held.others, held.kind)


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
    notes += [work.model.folded.note] if work.model.folded.note else []
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
