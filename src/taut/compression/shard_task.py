"""Shards as pieces for workers on other machines, which see our files and not our memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from taut.compression.shard_job import ShardFacts, ShardJob, compress_shard
from taut.errors import ArgumentError
from taut.io.model_file import ModelFile, path_of
from taut.io.staged import staged, told_paths
from taut.machine.workers import Workers, each


@dataclass(frozen=True)
class ShardTask:
    """A shard to write, and the URL of the model if it lies in a store."""

    job: ShardJob
    url: str | None


def write_elsewhere(workers: Workers, jobs: Sequence[ShardJob]) -> Iterator[ShardFacts]:
    """Have shards written by workers; gives what is known of each as it is finished.

    Raises:
        ArgumentError: the model is in memory, or a worker does not see it, or where to write.
    """
    tasks = [_task(job) for job in jobs]
    for _, facts in each(workers, write_shard, tasks):
        yield facts


def write_shard(task: ShardTask) -> ShardFacts:
    """Write one shard, on whichever machine this is."""
    if not task.job.path.parent.is_dir():
        raise ArgumentError(
            f"{task.job.path.parent}: a worker does not see this folder; with --ray the "
            "output lies where every machine sees it, at the same path"
        )
    if task.url is None:
        return compress_shard(task.job)
    with staged(task.url) as local:
        return compress_shard(replace(task.job, src=local, stamps=()))


def _task(job: ShardJob) -> ShardTask:
    path = path_of(job.src)
    if path is None:
        raise ArgumentError(
            "ray (--ray): the model is in memory, which other machines do not see; save it first"
        )
    told = told_paths(str(path))
    stamps = tuple(one.elsewhere for one in job.stamps)
    where = path.resolve()
    src = replace(job.src, path=where) if isinstance(job.src, ModelFile) else where
    job = replace(job, src=src, path=Path(job.path).resolve(), stamps=stamps, threads=1)
    return ShardTask(job, None if told == str(path) else told)
