"""The verb that knows the whole way: a model in, one verified file (or a model folder) out."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from taut.coding import Effort
from taut.compression.calibrated import decide_calibrated
from taut.compression.exact import decide
from taut.compression.request import Call, Decision, read_call
from taut.compression.trained import decide_trained
from taut.container import Origin, VerifyReport, Writer, check_destination, made_folder, verify
from taut.container.info import Info, TensorReport, bits_per_value, info
from taut.container.model_folder import (
    FILE_NAME,
    check_copies,
    copy_files,
    mark_config,
)
from taut.encoding.estimate import estimate_memory, estimate_tensors
from taut.encoding.model import Plan, fill
from taut.errors import ArgumentError
from taut.io import Source, check_unchanged, open_source
from taut.io.names import as_text
from taut.io.source import parameters_of
from taut.loading.load import load
from taut.loading.restore import Restored, decompress
from taut.machine import checked_threads
from taut.machine.peak_memory import peak_memory
from taut.networks.sources import built
from taut.progress import Progress

if TYPE_CHECKING:
    import torch

    from taut.calibration import Try
    from taut.calibration.findings import Findings
    from taut.networks import CalibrationSpec
    from taut.networks.sources import Model
    from taut.planning import Plan as PlanFile
    from taut.scoring.user_score import ScoreFunction
    from taut.training.data import TeacherSpec, TrainSpec


__all__ = [
    "Info",
    "Plan",
    "Progress",
    "Restored",
    "Result",
    "TensorReport",
    "VerifyReport",
    "compress",
    "decompress",
    "info",
    "load",
    "verify",
]


@dataclass(frozen=True)
class Result(Info):
    """What a compression gave: `seconds` it took, `peak_memory` in bytes of the whole process.

    After a dry run sizes and memory are estimates, and `path` is where the file would be. Of a
    calibrated run `score` is what `evaluate` gave of the model as it was written, `tries` are all
    scores on the way there, and `notes` say what went otherwise than asked, or was left out.
    """

    seconds: float
    peak_memory: int
    score: float | None = None
    original_score: float | None = None
    tries: tuple[Try, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Target:
    """Where to write: the file, or the folder with the file and the companions as (from, to)."""

    file: Path
    folder: Path | None = None
    companions: tuple[tuple[Path, Path], ...] = ()


def compress(
    src: Model,
    dst: str | Path | None = None,
    *,
    bits: float | None = None,
    size: str | int | None = None,
    max_drop: str | float | None = None,
    calib: CalibrationSpec | None = None,
    evaluate: ScoreFunction | None = None,
    loss: Callable[[object, object], torch.Tensor] | None = None,
    train: TrainSpec | None = None,
    teacher: TeacherSpec | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    plan: PlanFile | Plan | str | Path | None = None,
    effort: Effort | None = None,
    finish: bool | None = None,
    seed: int | None = None,
    threads: int | None = None,
    force: bool = False,
    dry_run: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Write a model as a Taut file; bit-exact unless what is asked for says otherwise.

    `src` is a safetensors file, a shards' index, a model folder, a checkpoint, a dict of arrays
    or a module; `dst` is a file, or for a model folder a folder that gets the config and
    tokenizer files too. `bits` are per parameter, `size` is "8x", "4.2MB", "12%" or bytes, `plan`
    maps names to schemes, or is a plan file or its path. `effort` is "fast" for bit-exact work and
    "max" for lossy, if not given. The bytes written do not depend on `threads`.

    With `calib` (batches, texts, or where to find them: taut.networks) rounding minds what the
    model makes of its data; `src` is then a model folder, a module, or `file.py:function` that
    gives one. `max_drop` is how far `evaluate(model)`, a score as `taut.evaluate` takes it, may
    fall: "0.5%" of it, or a number of its own units. `loss(output, batch)` takes the place of
    fidelity to the original. `finish=False` leaves biases and norms untuned. With `resume` a run
    that broke off goes on from its journal beside `dst`.

    With `train` the model learns to be small: batches of (input, target) for the built-in loop, a
    function that gives those of an epoch, a `taut.transform.train.Fit`, or the caller's own
    `fit(model, loss)`, which calls `loss(task_loss).backward()` for each batch. `teacher` is what
    it learns from beside, the original if not given; `epochs` and `lr` go before the plan's.

    Raises:
        ArgumentError: nothing was read or written yet; the message says what to change.
        FormatError: the source is damaged.
        TargetError: `bits`, `size` or `max_drop` cannot be met.
        VerifyError: a file of the source changed while it was read; whatever was at `dst` still is.
        TautError: the disk is full; whatever was at `dst` still is.

    >>> import numpy as np, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "zeros.taut.safetensors"
    >>> compress({"w": np.zeros((512, 512), np.float32)}, path).ratio > 1000
    True
    """
    began = time.perf_counter()
    threads = checked_threads(threads)
    src = built(src)
    source = open_source(src)
    _check_not_taut(source)
    stamps = source.stamps
    call = Call(
        *(bits, size, max_drop, calib, evaluate, loss, plan, effort, threads),
        False if dry_run else finish,
        *(seed, resume, train, teacher, epochs, lr),
    )
    asked = read_call(source, call)
    if dst is None and not dry_run:
        raise ArgumentError("dst: name the file to write (only a dry run needs none)")
    target = None if dry_run or dst is None else _target(src, source, Path(dst), force)
    origin = origin_of(source)
    if train is not None:
        decision = decide_trained(
            source,
            asked,
            origin,
            src,
            checkpoint=None if dry_run else _checkpoint(dst),
            progress=progress,
        )
    elif calib is None:
        decision = decide(source, asked, origin)
    else:
        beside = None if target is None or dst is None else Path(dst)
        decision = decide_calibrated(
            source, asked, origin, src, journal_beside=beside, progress=progress
        )
    if target is None or not _writes():
        return _dry_run(decision, dst, began)
    origin = decision.origin or origin
    source, effort = decision.source, decision.effort
    with contextlib.ExitStack() as stack:
        if decision.ready is not None:
            stack.enter_context(decision.ready.record)
            stack.push(_discarding(decision.ready.record))
        place = target
        if target.folder is not None:
            place = _within(target, stack.enter_context(made_folder(target.folder, force=force)))
        writer = stack.enter_context(
            Writer(
                place.file,
                origin,
                source.infos,
                effort=effort,
                threads=threads,
                force=force,
            )
        )
        fill(
            writer.layout,
            source,
            decision.schemes,
            effort=effort,
            threads=threads,
            quantize=decision.quantize,
            progress=progress,
        )
        check_unchanged(stamps)
        if place.folder is not None:
            copy_files(place.companions, place.folder, mark_config, force=force)
        writer.finish(progress)
    if train is not None:
        _discard_kept(dst)
    found = info(target.file)
    seconds = time.perf_counter() - began
    result = Result(**vars(found), seconds=seconds, peak_memory=peak_memory())
    return _with_scores(result, decision)


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


def _with_scores(result: Result, decision: Decision) -> Result:
    ready = decision.ready
    if ready is None:
        return replace(result, notes=getattr(decision.source, "notes", ()))
    return replace(
        result,
        score=ready.score,
        original_score=ready.original_score,
        tries=ready.tries,
        notes=ready.notes,
    )


def _check_not_taut(source: Source) -> None:
    if {"taut", "checksum", "index"} <= source.metadata.keys():
        raise ArgumentError(
            f"{source.identity}: is a Taut file already; decompress it first to code it anew"
        )


def _target(src: Model, source: Source, dst: Path, force: bool) -> _Target:
    """Decide what is written where, and that it may be."""
    folder = Path(src) if isinstance(src, str | Path) and Path(src).is_dir() else None
    if folder is None or dst.suffix == ".safetensors":
        _check_not_input(src, source, dst)
        check_destination(dst, force=force)
        return _Target(dst)
    if dst.exists() and not dst.is_dir():
        raise ArgumentError(f"{dst}: is not a folder, and a model folder becomes one")
    file = dst / FILE_NAME
    pairs = tuple((path, dst / path.relative_to(folder)) for path in source.companions)
    check_copies(pairs, force=force)
    if dst.is_dir():
        _check_not_input(src, source, file)
        check_destination(file, force=force)
    return _Target(file, dst, pairs)


def _within(target: _Target, folder: Path) -> _Target:
    """The same files in another folder: where they are made."""
    assert target.folder is not None
    pairs = [(source, to.relative_to(target.folder)) for source, to in target.companions]
    companions = tuple((source, folder / name) for source, name in pairs)
    return _Target(folder / target.file.name, folder, companions)


def _discarding(record: Findings) -> Callable[..., None]:
    """Discard a journal at a good end: once what it was kept for is in its place."""

    def discard(kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            record.discard()

    return discard


def _check_not_input(src: Model, source: Source, dst: Path) -> None:
    if not isinstance(src, str | Path) or not dst.exists():
        return
    here = Path(source.identity).parent
    inputs = [Path(src), Path(source.identity), *(here / file.name for file in source.files)]
    if any(path.exists() and os.path.samefile(path, dst) for path in inputs):
        raise ArgumentError(f"{dst}: is the model to compress; name another file")


def origin_of(source: Source) -> Origin:
    """What the file is to remember of its source."""
    texts: tuple[tuple[str, str], ...] = ()
    path = Path(source.identity)
    if source.files and path.name.endswith(".index.json"):  # shards: their index is needed again
        texts = ((as_text(path.name), path.read_bytes().decode()),)
    files = tuple((as_text(file.name), file.header) for file in source.files)
    return Origin(source.nbytes, source.metadata, files, texts)


def _dry_run(decision: Decision, dst: str | Path | None, began: float) -> Result:
    source = decision.source
    memory = estimate_memory(source)  # before samples are coded, which the work itself never holds
    tensors, size = estimate_tensors(source, decision.schemes, decision.effort, decision.quantize)
    if decision.size is not None:  # the search for the dial knows better
        size = decision.size
    parameters = parameters_of(source)
    result = Result(
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
    return _with_scores(result, decision)
