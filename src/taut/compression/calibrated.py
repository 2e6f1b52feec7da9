"""What a call with calibration data writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taut.compression.exact import bit_exact, exact_fits
from taut.compression.folded import folded_with_data
from taut.compression.request import Asked, Call, Decision, allowed_of
from taut.compression.room import check_room, check_scratch
from taut.container import Origin
from taut.encoding.data_free import SizeRequest, check_least, lossy_schemes
from taut.encoding.on_base import base_of, base_under
from taut.encoding.run_needs import DataShapes
from taut.errors import ArgumentError, TargetError
from taut.extras import need_extra
from taut.io import Source, TensorInfo
from taut.io.identity import model_identity, plan_identity
from taut.networks.chosen_outputs import OutputShares
from taut.networks.outputs import said_outputs
from taut.networks.quick_products import quick_products
from taut.planning import quantisable
from taut.planning.target import parse_bytes
from taut.progress import Progress, begin_work, counted
from taut.scheme import Scheme

if TYPE_CHECKING:
    from taut.analysis import Curvature
    from taut.calibration import Findings, Ready, Request, Work
    from taut.networks import Calibration, LoadedModel
    from taut.planning import Target
    from taut.planning.max_drop import Allowed


_NEXT_TO_NOTHING: Final = 0.02  # of the bytes that a file may have
NOTHING_KEPT = "resume: nothing was kept of an earlier run; all was done from the start"


@quick_products()
def decide_calibrated(
    source: Source,
    asked: Asked,
    origin: Origin,
    spec: object,
    *,
    journal_beside: Path | None = None,
    progress: Progress | None = None,
    forms: dict[str, Curvature | None] | None = None,
) -> Decision:
    """What a call with calibration data writes: opens the model that runs, and its data.

    `forms` hands the curvature on from one call to the next with the same network and data.

    Raises:
        ArgumentError: the model cannot be run, or the data does not fit it.
        TargetError: the size or the score cannot be met.
    """
    from taut.calibration import Work

    call, allowed = asked.call, allowed_of(asked.call)
    _check_device(call.device)
    if call.scratch is not None:
        check_scratch(Path(call.scratch))
    target = asked.target(source)
    fits = (
        exact_fits(source, asked.schemes, target, call, origin, progress=progress)
        if allowed is None
        else None
    )
    if fits is not None:
        begin_work(progress)
        return bit_exact(source, asked, origin, fits)
    schemes = _lossy(source, asked, target)
    if allowed is None and target is None and _dialled(schemes):
        raise ArgumentError("calib: give bits, size or max_drop for what it is to serve")
    if target is not None:
        check_least(
            SizeRequest(
                source=source,
                schemes=schemes,
                target=target,
                effort=call.effort or "max",
                origin=origin,
                threads=call.threads,
            )
        )
    opened = counted(progress, "open", 3)  # frameworks, the network, data: seconds, or a minute
    model = _opened(source, schemes, spec)
    opened()
    request, data = _request(asked, target, allowed, model), _data(call, model, progress)
    opened()
    if call.fold is not False:
        source, model = folded_with_data(source, asked, schemes, model, data)
        schemes = _lossy(source, asked, target)  # float16 may hold more now
    work = Work(
        source=source,
        schemes=schemes,
        model=model,
        calibration=data,
        request=request,
        origin=origin,
        progress=progress,
        forms={} if forms is None else forms,
    )
    _check_room(work, call.memory, journal_beside)
    record = _record(work, journal_beside, resume=call.resume)
    begin_work(progress)
    opened()
    return _decision(work, _settled(work, record, resume=call.resume))


def _check_device(device: str | None) -> None:
    """Refuse a device that is not there before anything is read for it."""
    if device is None:
        return
    from taut.loading.arrays import torch_device

    need_extra("torch", "torch", "calibration takes")
    torch_device(device, "device (--device)")


def _lossy(source: Source, asked: Asked, target: Target | None) -> dict[str, Scheme]:
    """The schemes with what is to be rounded; what is the base's own stays as it is.

    Raises:
        TargetError: no matrix is left.
    """
    own = _own_of_base(source, asked, target)
    schemes = {name: Scheme() if name in own else one for name, one in asked.schemes.items()}
    return lossy_schemes(source, schemes, asked.settled | own)


def _own_of_base(source: Source, asked: Asked, target: Target | None) -> frozenset[str]:
    """The tensors that are those of the base, and cost nothing as such.

    Not its biases and norms where they can be tuned for next to nothing of the file's size.
    """
    based = base_under(source)
    if based is None:
        return frozenset()
    stored = [info for info in source.infos if info.name in asked.schemes]
    matrices = {info.name for info in stored if quantisable(info.dtype, info.shape)}
    own = based.untouched() & asked.schemes.keys()
    if matrices <= own:
        raise TargetError(
            "bits, size and max_drop: no matrix differs from the base's, and nothing is to be "
            "rounded; leave them out for a bit-exact file"
        )
    beside = [info for info in stored if info.name in own - matrices]
    return own & matrices if _cheap(beside, target) else own


def _cheap(infos: Sequence[TensorInfo], target: Target | None) -> bool:
    """Whether these, as fp16, are next to nothing of the file's size."""
    nbytes = 2 * sum(prod(info.shape) for info in infos)
    return target is not None and nbytes <= _NEXT_TO_NOTHING * target.nbytes


def _opened(source: Source, schemes: Mapping[str, Scheme], spec: object) -> LoadedModel:
    """The model that runs.

    Raises:
        ArgumentError: it cannot be run.
    """
    from taut.calibration import is_large
    from taut.networks import open_model

    narrow = is_large(source, schemes)  # no copy of the network in float32, if it has blocks
    return open_model(spec, widened=not narrow)  # type: ignore[arg-type]  # refused in words there


def _data(call: Call, model: LoadedModel, progress: Progress | None) -> Calibration:
    """What the model runs on.

    Raises:
        ArgumentError: it does not fit the model, or lacks what the loss takes.
    """
    from taut.networks import check_loss, open_calibration

    calibration = open_calibration(call.calib, model, progress=progress)  # type: ignore[arg-type]
    check_loss(call.loss, calibration)
    return calibration


def _check_room(work: Work, memory: str | int | None, beside: Path | None) -> None:
    """Refuse a run for which the machine, or what it may take of it, has too little."""
    check_room(
        work.source,
        replace(_shapes(work), journal=beside is not None),
        memory=None if memory is None else parse_bytes(memory, "memory (--memory)"),
        scratch=work.request.scratch,
        beside=beside,
    )


def _shapes(work: Work) -> DataShapes:
    """What the network is run on; what a small one, which is differentiated whole, takes."""
    from taut.calibration import is_large, most_projections
    from taut.networks.calibration import positions_of
    from taut.networks.calls import samples_of
    from taut.networks.kept_values import backward_bytes, entering_bytes
    from taut.networks.portions import parts_of_a_batch

    data, kept, entering, handed = work.calibration, 0, 0, 0
    if work.model.gradients and not is_large(work.source, work.schemes):
        first = next(iter(data))
        times = data.largest / max(1, positions_of(first))
        at_once = times / min(parts_of_a_batch(len(data)), max(1, samples_of(first)))
        kept = backward_bytes(work.model.module, first, at_once)
        entering, widest = (data.samples * n for n in entering_bytes(work.model.module, first))
        handed = 2 * most_projections(data.samples) * widest  # of the block at work, and the next
    return DataShapes(data.positions, data.largest, data.longest, kept, entering, handed)


def _settled(work: Work, record: Findings, *, resume: bool) -> Ready:
    """What the run comes to; with a note where it was to go on from another, and there is none."""
    from taut.calibration import calibrate

    with _kept_on_failure(record):
        ready = calibrate(work, record)
    if resume and not record.resumed:
        return replace(ready, notes=(*ready.notes, NOTHING_KEPT))
    return ready


def _decision(work: Work, ready: Ready) -> Decision:
    return Decision(
        source=ready.source,
        schemes=work.schemes,
        effort=work.request.effort,
        origin=work.origin,
        quantize=ready.quantize,
        size=ready.size,
        ready=ready,
    )


def _dialled(schemes: Mapping[str, Scheme]) -> bool:
    """Whether the dial sets the steps of any tensor."""
    return any(scheme.kind == "rd" and scheme.bits is None for scheme in schemes.values())


def _request(
    asked: Asked, target: Target | None, allowed: Allowed | None, model: LoadedModel
) -> Request:
    """What the calibrated run is asked for.

    Raises:
        ArgumentError: there is a loss, and the model has no gradients.
    """
    from taut.calibration import Request
    from taut.calibration.collected import NO_LOSS

    call = asked.call
    if call.loss is not None and not model.gradients:
        raise ArgumentError(NO_LOSS)
    return Request(
        target=target,
        allowed=allowed,
        score=call.score,
        loss=call.loss,
        output=said_outputs(call.output),
        shares=OutputShares.said(call.outputs),
        finish=call.finish is not False and model.gradients,
        sequential=model.gradients,
        effort=call.effort or "max",
        threads=call.threads,
        seed=call.seed or 0,
        scratch=None if call.scratch is None else Path(call.scratch),
        device=call.device,
        gains=asked.gains,
        workers=call.workers,
    )


def _record(work: Work, beside: Path | None, *, resume: bool) -> Findings:
    """Where the run keeps what it finds: in a journal beside the file, or nowhere."""
    from taut.calibration import Findings
    from taut.journal.journal import Journal

    if beside is None:
        return Findings()
    return Findings(Journal.open(beside, _identity(work), resume=resume))


@contextmanager
def _kept_on_failure(record: Findings) -> Iterator[None]:
    """Let go of what was found if the run fails; it stays on disk, unless nothing can go on."""
    try:
        yield
    except TargetError:
        record.discard()
        raise
    except BaseException:
        record.close()
        raise


def _identity(work: Work) -> dict[str, str]:
    """What a calibrated run is made from, in parts that a message can name.

    The score's function is not among them: scores are kept under its name and code.
    """
    from taut.calibration import code_identity
    from taut.version import __version__

    request, target, allowed = work.request, work.request.target, work.request.allowed
    base = base_of(work.source)
    gains = request.gains
    plan = plan_identity(
        {name: f"{scheme} {gains.get(name, 1.0)!r}" for name, scheme in work.schemes.items()},
        effort=request.effort,
        sequential=request.sequential,
        options=repr(request.options),
    )
    return {
        "model": model_identity(work.source),
        "base": "none" if base is None else base.identity,
        "plan": plan,
        "target": ", ".join(
            ([f"{target.nbytes} bytes"] if target else []) + ([allowed.text] if allowed else [])
        ),
        "finish": str(request.finish),
        "norms": "folded" if work.model.folded.note else "as they are",
        "calibration": work.calibration.digest,
        "loss": code_identity(request.loss),
        "output": repr(sorted(request.output.items())),
        "outputs": f"{sorted(request.shares.named.items())!r}, {request.shares.rest:g}",
        "seed": str(request.seed),
        "version": __version__,
    }
