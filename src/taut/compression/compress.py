"""The whole way of a compression: a model in, one verified file (or a model folder) out."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from taut.compression.based import own_source, rounds, stamps_of_base, standing
from taut.compression.calibrated import decide_calibrated
from taut.compression.destination import (
    Destination,
    destination_of,
    one_file,
    tree_destination,
)
from taut.compression.exact import decide
from taut.compression.folded import folded_without_data
from taut.compression.foreseen import Result, foreseen
from taut.compression.held_exact import hold_exact
from taut.compression.keeping import LARGE, Kept, keeping, nothing_kept
from taut.compression.origin import origin_of
from taut.compression.request import (
    Asked,
    Call,
    CompressRequest,
    Decision,
    loses,
    read_call,
)
from taut.compression.shard_job import (
    Partition,
    check_shardable,
    extra_bytes,
    files_to_be,
    partition_of,
)
from taut.compression.trained import decide_trained
from taut.compression.tree_place import tree_files
from taut.compression.writing import write
from taut.container import Origin
from taut.container.find import is_taut_source
from taut.encoding.sampled import SampledSource
from taut.errors import ArgumentError, TargetError
from taut.io import Source, open_source
from taut.io.content import kind_of
from taut.io.gguf_metadata import WithGgufMetadata
from taut.io.model_file import path_of
from taut.io.pairs import paired
from taut.io.quantized import as_floats, remembered
from taut.io.source import notes_of
from taut.io.stamp import blaming_changes
from taut.io.tree import TreeSource
from taut.machine.memory_watch import MemoryWatch
from taut.machine.peak_memory import peak_memory
from taut.networks.needed import need_to_run
from taut.networks.sources import built, without_masks
from taut.planning.target import parse_bytes
from taut.progress import Progress, begin_work

if TYPE_CHECKING:
    from taut.networks.gguf_folder import GgufFolder


def carry_out(request: CompressRequest) -> Result:
    """As `_carried_out`; a GGUF model that is to run is made a model folder first."""
    path, call = path_of(request.src), request.call
    if call.runs:
        need_to_run(request.src)
    if not call.runs or path is None or not path.is_file() or kind_of(path) != "gguf":
        return _carried_out(request)
    from taut.networks.gguf_folder import gguf_folder

    scratch = None if call.scratch is None else Path(call.scratch)
    with gguf_folder(path, scratch) as made:
        return _carried_out(replace(request, src=made.path), made)


def _call_of(request: CompressRequest) -> Call:
    """The call; of a dry run without tuning, which leaves the size as it is."""
    call = request.call
    untuned = request.dry_run and call.calib is not None
    return replace(call, finish=False) if untuned else call


def _carried_out(request: CompressRequest, gguf: GgufFolder | None = None) -> Result:
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
    if rounds(request.call):
        src, notes = without_masks(request.src)
        request = replace(request, src=src)
    source, tree = _opened(request, gguf)
    stamps = (*source.stamps, *stamps_of_base(source))
    asked = read_call(source, _call_of(request))
    partition = None if tree is not None else _partition(request, source)
    place = _place(request, tree or source, partition)
    notes += (*_resumable(request), *(() if tree else _unshared(request, partition)))
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(MemoryWatch()) if request.call.runs else None
        kept = _kept(stack, request, source, asked, place)
        if not request.call.runs:
            begin_work(request.progress)
        with blaming_changes(stamps):
            source, folded = folded_without_data(source, asked, request)
            source = _looked_at(request, source)
            asked = hold_exact(source, asked)
            with _naming_held(asked):
                decision = _decided(request, source, asked, Means(place, partition, kept))
        notes += (*folded, *_notes(place, asked, source))
        if place is None or not _writes():
            told = foreseen(decision, request.dst, began, 0 if watch is None else watch.peak)
            return _told(told, decision, notes)
        found = write(decision, place, request, stamps, kept)
        notes += () if kept is None else kept.notes(partition)
        memory = peak_memory() if watch is None else watch.peak
    if request.call.train is not None:
        _discard_kept(request.dst)
    seconds = time.perf_counter() - began
    result = Result(**vars(found), seconds=seconds, peak_memory=memory)
    return _told(result, decision, notes)


def _unshared(request: CompressRequest, partition: Partition | None) -> tuple[str, ...]:
    """A note where workers elsewhere were asked for, and there is nothing to share."""
    call = request.call
    if not call.workers.elsewhere or partition is not None or call.calib is not None:
        return ()
    what = "a training is done" if call.train is not None else "the model becomes one file, made"
    more = "" if call.train is not None else "; --shard-size makes several, which workers share"
    return (f"ray (--ray): {what} by this process alone{more}",)


def _looked_at(request: CompressRequest, source: Source) -> Source:
    """What of the model a run looks at: of a dry one without data some rows of each tensor."""
    call = request.call
    stands = request.base is not None  # whose tensors a sample would have to match
    if request.dry_run and not call.runs and not stands:
        return SampledSource.of(source)
    return source


def _opened(request: CompressRequest, gguf: GgufFolder | None) -> tuple[Source, TreeSource | None]:
    """The model; and what it is a folder of, if it is several."""
    source: Source = open_source(request.src)
    tree = source if isinstance(source, TreeSource) else None
    _check_tree(request, tree)
    if gguf is not None:
        source = WithGgufMetadata(source, gguf.source, gguf.notes)
    if loses(request.call):
        source = as_floats(source)
    source = standing(source, request)
    if rounds(request.call) and request.call.train is None:  # nothing trains complex numbers
        source = paired(source)
    _check_not_taut(source)
    return source, tree


def _check_tree(request: CompressRequest, tree: TreeSource | None) -> None:
    """Raise `ArgumentError` where several models in a folder cannot become what is asked for."""
    if tree is None:
        return
    if getattr(request, "base", None) is not None:
        raise ArgumentError(
            f"{tree.identity}: holds {len(tree.units)} models; with a base give the folder of one"
        )
    if request.call.runs:
        raise ArgumentError(
            f"{tree.identity}: holds {len(tree.units)} models, of which one at a time can be run; "
            f"give the folder of one ({tree.units[0].folder}), or leave calib and train out"
        )
    if request.dst is not None and Path(request.dst).suffix == ".safetensors":
        raise ArgumentError(f"{request.dst}: several models in a folder become a folder; name one")


def _partition(request: CompressRequest, source: Source) -> Partition | None:
    """The shards to write; None where the model becomes one file."""
    asked, dst = request.call.shard_size, Path(request.dst or "")
    if asked is None:
        return None if one_file(request.src, dst) else partition_of(own_source(source), None)
    check_shardable(source)
    if dst.suffix == ".safetensors":
        raise ArgumentError(f"{dst}: shards (--shard-size) become several files; name a folder")
    return partition_of(source, _most(request))


def _most(request: CompressRequest) -> int | None:
    """Bytes of the source that a shard may hold, if that was said."""
    asked = request.call.shard_size
    return None if asked is None else parse_bytes(asked, "shard_size (--shard-size)")


def _place(
    request: CompressRequest, source: Source, partition: Partition | None
) -> Destination | None:
    """Where to write; None for a dry run."""
    if request.dry_run:
        return None
    if request.dst is None:
        raise ArgumentError("dst: name the file to write (only a dry run needs none)")
    dst = Path(request.dst)
    if isinstance(source, TreeSource):
        return tree_destination(request.src, source, dst, force=request.force, most=_most(request))
    return destination_of(request.src, source, dst, force=request.force, partition=partition)


def _resumable(request: CompressRequest) -> tuple[str, ...]:
    """A note where something is to be resumed, and nothing is there."""
    if not request.call.resume or request.dry_run or request.dst is None:
        return ()
    note = nothing_kept(Path(request.dst), _checkpoint(request.dst))
    return () if note is None else (note,)


def _kept(
    stack: contextlib.ExitStack,
    request: CompressRequest,
    source: Source,
    asked: Asked,
    place: Destination | None,
) -> Kept | None:
    """What a run without data keeps, where it is large; one with data keeps its own."""
    call = asked.call
    if place is None or call.runs:
        return None
    searched = (call.bits, call.size) != (None, None) and source.nbytes >= LARGE
    if place.partition is None and not searched:
        return None
    dst = Path(request.dst or place.file)
    return stack.enter_context(keeping(dst, source, asked, place.partition))


@dataclass(frozen=True)
class Means:
    """Where a run writes, the shards that the model becomes, and what it keeps on its way."""

    place: Destination | None
    partition: Partition | None
    kept: Kept | None


def _decided(request: CompressRequest, source: Source, asked: Asked, means: Means) -> Decision:
    """What to write, by the way that serves what was asked for."""
    origin, dst = origin_of(source), None if means.place is None else request.dst
    if not asked.call.runs:
        return _without_data(source, asked, origin, means, request.progress)
    asked = _less_shards(source, asked, origin, means.partition)
    if asked.call.train is not None:
        return decide_trained(
            source,
            asked,
            origin,
            request.src,
            checkpoint=_checkpoint(dst),
            progress=request.progress,
        )
    return decide_calibrated(
        source,
        asked,
        origin,
        request.src,
        journal_beside=None if dst is None else Path(dst),
        progress=request.progress,
        forms=request.forms,
    )


def _without_data(
    source: Source, asked: Asked, origin: Origin, means: Means, progress: Progress | None
) -> Decision:
    """What to write without data; of a dry run from a sample of the model."""
    if isinstance(source, SampledSource):
        return decide(source, asked, origin, foresee=True, progress=progress)
    files = None
    if means.place is not None and means.place.units:
        files = tree_files(source, means.place.units)
    elif means.partition is not None:
        files = files_to_be(source, origin, means.partition)
    return decide(source, asked, origin, files=files, known=means.kept, progress=progress)


def _less_shards(
    source: Source, asked: Asked, origin: Origin, partition: Partition | None
) -> Asked:
    """The call with what shards take more than one file taken off its size."""
    if partition is None:
        return asked
    return replace(asked, beside=extra_bytes(source, origin, partition))


@contextlib.contextmanager
def _naming_held(asked: Asked) -> Iterator[None]:
    """Say of a size that cannot be met which tensors stay exact for what is in them."""
    try:
        yield
    except TargetError as error:
        if not asked.held:
            raise
        raise TargetError(f"{error}; {asked.notes[-1]}", best=error.best) from None


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
    odd = remembered(source).why_not
    unread = (f"its low-bit weights are kept bit-exact, and cannot be read as floats: {odd}",)
    return (
        *notes_of(source),
        *(unread if odd else ()),
        *(() if place is None else place.notes),
        *asked.notes,
    )


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
    if is_taut_source(source):
        raise ArgumentError(
            f"{source.identity}: is a Taut file already; decompress it first to code it anew"
        )
