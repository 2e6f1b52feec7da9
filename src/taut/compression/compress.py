"""The whole way of a compression: a model in, one verified file (or a model folder) out."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from taut.compression.calibrated import decide_calibrated
from taut.compression.destination import Destination, destination_of
from taut.compression.exact import decide
from taut.compression.held_exact import hold_exact
from taut.compression.request import Asked, Call, CompressRequest, Decision, read_call
from taut.compression.trained import decide_trained
from taut.container import Origin, Writer, made_folder
from taut.container.info import Info, bits_per_value
from taut.container.model_folder import copy_files, mark_config
from taut.encoding.estimate import estimate_memory, estimate_tensors
from taut.encoding.model import fill
from taut.errors import ArgumentError, TargetError
from taut.io import Source, check_unchanged, open_source
from taut.io.names import as_text
from taut.io.source import notes_of, parameters_of
from taut.io.stamp import Stamp, blaming_changes
from taut.machine.peak_memory import peak_memory
from taut.networks.sources import built, without_masks

if TYPE_CHECKING:
    from taut.calibration import Try
    from taut.calibration.findings import Findings


@dataclass(frozen=True)
class Result(Info):
    """What a compression gave: `seconds` it took, `peak_memory` in bytes of the whole process.

    After a dry run sizes and memory are estimates, and `path` is where the file would be. Of a
    calibrated run `score` is what `score` gave of the model as it was written, `tries` are all
    scores on the way there, and `notes` say what went otherwise than asked, or was left out.
    """

    seconds: float
    peak_memory: int
    score: float | None = None
    original_score: float | None = None
    tries: tuple[Try, ...] = ()
    notes: tuple[str, ...] = ()


def carry_out(request: CompressRequest) -> Result:
    """Write what a call asks for: a verified file, or a model folder; of a dry run estimate it.

    Raises:
        ArgumentError: nothing was read or written yet; the message says what to change.
        FormatError: the source is damaged.
        TargetError: what is asked for cannot be met.
        VerifyError: a file of the source changed while it was read; what was there before still is.
        TautError: the disk is full; whatever was at the destination still is.
    """
    began = time.perf_counter()
    request = replace(request, src=built(request.src))
    notes: tuple[str, ...] = ()
    if _rounds(request.call):
        src, notes = without_masks(request.src)
        request = replace(request, src=src)
    source = open_source(request.src)
    _check_not_taut(source)
    stamps = source.stamps
    call = replace(request.call, finish=False) if request.dry_run else request.call
    asked = read_call(source, call)
    place = _place(request, source)
    with blaming_changes(stamps):
        asked = hold_exact(source, asked)
        with _naming_held(asked):
            decision = _decided(request, source, asked, place)
    notes += _notes(place, asked, source)
    if place is None or not _writes():
        return _told(_foreseen(decision, request.dst, began), decision, notes)
    found = _write(decision, place, request, stamps)
    if request.call.train is not None:
        _discard_kept(request.dst)
    seconds = time.perf_counter() - began
    result = Result(**vars(found), seconds=seconds, peak_memory=peak_memory())
    return _told(result, decision, notes)


def _rounds(call: Call) -> bool:
    """Whether a call asks for anything but every bit as it is."""
    asked = (call.bits, call.size, call.max_drop, call.calib, call.plan, call.train)
    return any(one is not None for one in asked)


def _place(request: CompressRequest, source: Source) -> Destination | None:
    """Where to write; None for a dry run."""
    if request.dry_run:
        return None
    if request.dst is None:
        raise ArgumentError("dst: name the file to write (only a dry run needs none)")
    return destination_of(request.src, source, Path(request.dst), force=request.force)


def _decided(
    request: CompressRequest, source: Source, asked: Asked, place: Destination | None
) -> Decision:
    """What to write, by the way that serves what was asked for."""
    origin, dst = origin_of(source), None if place is None else request.dst
    if asked.call.train is not None:
        return decide_trained(
            source,
            asked,
            origin,
            request.src,
            checkpoint=_checkpoint(dst),
            progress=request.progress,
        )
    if asked.call.calib is None:
        return decide(source, asked, origin)
    return decide_calibrated(
        source,
        asked,
        origin,
        request.src,
        journal_beside=None if dst is None else Path(dst),
        progress=request.progress,
        forms=request.forms,
    )


@contextlib.contextmanager
def _naming_held(asked: Asked) -> Iterator[None]:
    """Say of a size that cannot be met which tensors stay exact for what is in them."""
    try:
        yield
    except TargetError as error:
        if not asked.held:
            raise
        raise TargetError(f"{error}; {asked.notes[-1]}", best=error.best) from None


def _write(
    decision: Decision, place: Destination, request: CompressRequest, stamps: tuple[Stamp, ...]
) -> Info:
    """Code all tensors, check the file, and put it in its place with its companions.

    `stamps` are of the source's files as they were opened. Describes the file.
    """
    source, threads, name = decision.source, request.call.threads, place.file
    with contextlib.ExitStack() as stack:
        stack.enter_context(blaming_changes(stamps))
        if decision.ready is not None:
            stack.enter_context(decision.ready.record)
            stack.push(_discarding(decision.ready.record))
        if place.folder is not None:
            made = stack.enter_context(made_folder(place.folder, force=request.force))
            place = place.within(made)
        writer = stack.enter_context(
            Writer(
                place.file,
                decision.origin,
                source.infos,
                effort=decision.effort,
                threads=threads,
                force=request.force,
            )
        )
        fill(
            writer.layout,
            source,
            decision.schemes,
            effort=decision.effort,
            threads=threads,
            quantize=decision.quantize,
            progress=request.progress,
        )
        check_unchanged(stamps)
        if place.folder is not None:
            copy_files(place.companions, place.folder, mark_config, force=request.force)
        found = writer.finish(request.progress)
    return replace(found, path=name)


def _discarding(record: Findings) -> Callable[..., None]:
    """Discard a journal at a good end: once what it was kept for is in its place."""

    def discard(kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            record.discard()

    return discard


def _checkpoint(dst: str | Path | None) -> Path | None:
    """Where a training keeps its state: beside the file to be."""
    return None if dst is None else Path(f"{dst}.train.npz")


def _discard_kept(dst: str | Path | None) -> None:
    from taut.training import discard_kept

    if (kept := _checkpoint(dst)) is not None:
        discard_kept(kept)


def _writes() -> bool:
    """Whether this process writes: of several that train together the first alone."""
    return os.environ.get("RANK", "0") == "0"


def _notes(place: Destination | None, asked: Asked, source: Source) -> tuple[str, ...]:
    """What is to be told beside what the work itself found."""
    return (*notes_of(source), *(() if place is None else place.notes), *asked.notes)


def _told(result: Result, decision: Decision, notes: tuple[str, ...]) -> Result:
    """The result with what a calibrated run found, and with all notes."""
    ready = decision.ready
    if ready is None:
        return replace(result, notes=notes)
    return replace(
        result,
        score=ready.score,
        original_score=ready.original_score,
        tries=ready.tries,
        notes=(*notes, *ready.notes),
    )


def _check_not_taut(source: Source) -> None:
    if {"taut", "checksum", "index"} <= source.metadata.keys():
        raise ArgumentError(
            f"{source.identity}: is a Taut file already; decompress it first to code it anew"
        )


def origin_of(source: Source) -> Origin:
    """What the file is to remember of its source."""
    texts: tuple[tuple[str, str], ...] = ()
    path = Path(source.identity)
    if source.files and path.name.endswith(".index.json"):  # shards: their index is needed again
        texts = ((as_text(path.name), path.read_bytes().decode()),)
    files = tuple((as_text(file.name), file.header) for file in source.files)
    return Origin(source.nbytes, source.metadata, files, texts)


def _foreseen(decision: Decision, dst: str | Path | None, began: float) -> Result:
    """The result of a run that writes nothing: sizes from samples, or from the search."""
    source = decision.source
    memory = estimate_memory(source)  # before samples are coded, which the work itself never holds
    tensors, size = estimate_tensors(source, decision.schemes, decision.effort, decision.quantize)
    if decision.size is not None:  # the search for the dial knows better
        size = decision.size
    parameters = parameters_of(source)
    return Result(
        path=Path(dst) if dst is not None else Path(),
        size=size,
        original_size=source.nbytes,
        ratio=source.nbytes / size,
        bits=bits_per_value(size, parameters),
        parameters=parameters,
        tensors=tensors,
        seconds=time.perf_counter() - began,
        peak_memory=max(memory, peak_memory() if decision.ready else 0),
    )
