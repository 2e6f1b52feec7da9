"""A decision carried out: one verified file, or a folder of shards with their index."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from taut.compression.destination import Destination
from taut.compression.keeping import Kept
from taut.compression.request import CompressRequest, Decision
from taut.compression.shard_job import (
    Made,
    Partition,
    ShardFacts,
    ShardJob,
    compress_shard,
    index_data,
    shard_origin,
)
from taut.compression.shard_task import write_elsewhere
from taut.compression.tree_writing import write_tree
from taut.container import Origin, TautFile, Writer, made_folder, open_taut
from taut.container.info import Info, describe
from taut.container.model_folder import copy_files, mark_config, plain_config
from taut.encoding.model import fill
from taut.encoding.on_base import base_of
from taut.io import check_unchanged
from taut.io.quantized import are_floats
from taut.io.stamp import Stamp, blaming_changes
from taut.progress import Progress

if TYPE_CHECKING:
    from taut.calibration.findings import Findings


def write(
    decision: Decision,
    place: Destination,
    request: CompressRequest,
    stamps: tuple[Stamp, ...],
    kept: Kept | None = None,
) -> Info:
    """Code all tensors, check what came of it, and put it in its place with its companions.

    `stamps` are of the source's files as they were opened. Describes what was written.
    """
    name = place.file
    with contextlib.ExitStack() as stack:
        stack.enter_context(blaming_changes(stamps))
        if decision.ready is not None:
            stack.enter_context(decision.ready.record)
            stack.push(_discarding(decision.ready.record))
        if place.folder is not None:
            made = stack.enter_context(made_folder(place.folder, force=request.force))
            place = place.within(made)
        if place.units:
            found = write_tree(decision, place, request, stamps, _unit)
        elif place.partition is None:
            found = _one(decision, place, request, stamps)
        else:
            found = _several(decision, place, request, stamps, kept)
    return replace(found, path=name)


def _unit(decision: Decision, place: Destination, request: CompressRequest) -> Info:
    """One of several models."""
    stamps = decision.source.stamps
    if place.partition is None:
        return _one(decision, place, request, stamps)
    return _several(decision, place, request, stamps, None)


def _one(
    decision: Decision, place: Destination, request: CompressRequest, stamps: tuple[Stamp, ...]
) -> Info:
    """All tensors in one file."""
    source, threads = decision.source, request.call.threads
    with Writer(
        place.file,
        decision.origin,
        source.infos,
        effort=decision.effort,
        threads=threads,
        force=request.force,
        base=base_of(source),
    ) as writer:
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
        _copy(place, request, decision.origin)
        return writer.finish(request.progress)


def _several(
    decision: Decision,
    place: Destination,
    request: CompressRequest,
    stamps: tuple[Stamp, ...],
    kept: Kept | None,
) -> Info:
    """A file for each shard, then the index; what an earlier run finished is taken over."""
    assert place.folder is not None and place.partition is not None
    folder, partition = place.folder, place.partition
    if kept is None:
        found = _made(decision, request, stamps, partition, folder)
    else:
        found = _made_and_kept(decision, request, stamps, partition, kept)
        _take(kept, partition, folder)
    check_unchanged(stamps)
    write_index(place.file, decision.origin, partition, [found[f] for f in partition.files])
    _copy(place, request, decision.origin)
    return describe(open_taut(place.file, threads=request.call.threads))


def _made(
    decision: Decision,
    request: CompressRequest,
    stamps: tuple[Stamp, ...],
    partition: Partition,
    folder: Path,
) -> dict[str, ShardFacts]:
    """Write all shards into a folder; nothing of them outlives a run that breaks off."""
    jobs = [_job(decision, request, stamps, partition, file, folder) for file in partition.files]
    return {facts.name: facts for facts in _written(jobs, decision, request, before=0)}


def _made_and_kept(
    decision: Decision,
    request: CompressRequest,
    stamps: tuple[Stamp, ...],
    partition: Partition,
    kept: Kept,
) -> dict[str, ShardFacts]:
    """Write the shards that are not finished, and remember each as it ends."""
    found = kept.shards(partition.files)
    left = [file for file in partition.files if file not in found]
    jobs = [_job(decision, request, stamps, partition, file, kept.work) for file in left]
    for facts in _written(jobs, decision, request, before=_tensors(partition, found, decision)):
        found[facts.name] = facts
        kept.finished(facts)
    return found


def _written(
    jobs: Sequence[ShardJob], decision: Decision, request: CompressRequest, *, before: int
) -> Iterator[ShardFacts]:
    """Write shards, one after the other here, or several at a time elsewhere, as they end."""
    counter = _Counter(request.progress, len(decision.source.infos))
    counter.before = before
    sizes = {job.path.name: len(job.names) for job in jobs}
    if request.call.workers.elsewhere:
        written = write_elsewhere(request.call.workers, jobs)
    else:
        written = (
            compress_shard(job, source=decision.source, progress=counter.step) for job in jobs
        )
    for facts in written:
        counter.before += sizes[facts.name]
        if request.call.workers.elsewhere and counter.step is not None:
            counter.step("encode", 0, 0)
        yield facts


def _tensors(partition: Partition, files: Collection[str], decision: Decision) -> int:
    """How many tensors are in these shards."""
    return sum(len(partition.names(file, decision.source)) for file in files)


def _job(
    decision: Decision,
    request: CompressRequest,
    stamps: tuple[Stamp, ...],
    partition: Partition,
    file: str,
    folder: Path,
) -> ShardJob:
    """What is to be done for one shard."""
    names = partition.names(file, decision.source)
    return ShardJob(
        src=request.src,
        names=names,
        path=folder / file,
        origin=shard_origin(decision.origin, decision.source, partition, file),
        schemes={name: decision.schemes[name] for name in names if name in decision.schemes},
        effort=decision.effort,
        threads=request.call.threads,
        quantize=decision.quantize,
        stamps=stamps,
        floats=are_floats(decision.source),
    )


def write_index(
    path: Path, origin: Origin, partition: Partition, facts: Sequence[ShardFacts]
) -> None:
    """Write the index of finished shards, which lie beside it; the last thing that is written."""
    made = [Made(one, TautFile(path.parent / one.name).index.records) for one in facts]
    data = index_data(origin, partition, made)
    with path.open("xb") as out:  # in a folder that is made: no reader sees it yet
        out.write(data)


def _take(kept: Kept, partition: Partition, folder: Path) -> None:
    """Have the finished shards in the folder too; they stay where they are kept."""
    for file in partition.files:
        _link(kept.work / file, folder / file)


def _link(made: Path, target: Path) -> None:
    """Give a finished file a second name, so that it stays where it is kept until all is done."""
    try:
        os.link(made, target)
    except OSError:  # a file system without links
        shutil.copyfile(made, target)


def _copy(place: Destination, request: CompressRequest, origin: Origin) -> None:
    if place.folder is not None:
        change = partial(_changed, place, bool(origin.quantization))
        copy_files(place.companions, place.folder, change, force=request.force)


def _changed(place: Destination, low_bit: bool, path: Path, data: bytes) -> bytes:
    """The bytes of a companion as they are beside the Taut file."""
    plain = plain_config(path, data) if place.floats else data
    return mark_config(path, plain, shards=place.partition is not None, low_bit=low_bit)


class _Counter:
    """Progress of one shard as progress of the model: `before` counts the tensors done before."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.before = 0
        self._progress = progress
        self._total = total

    @property
    def step(self) -> Progress | None:
        """What a shard is to tell its progress."""
        if (progress := self._progress) is None:
            return None
        return lambda stage, done, _: progress(stage, self.before + done, self._total)


def _discarding(record: Findings) -> Callable[..., None]:
    """Discard a journal at a good end: once what it was kept for is in its place."""

    def discard(kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            record.discard()

    return discard
