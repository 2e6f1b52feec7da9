"""What a run without data keeps on its way, so that one that broke off goes on where it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from taut.compression.request import Asked
from taut.compression.shard_job import Partition, ShardFacts
from taut.container import TautFile
from taut.encoding.on_base import base_of
from taut.errors import TargetError, TautError
from taut.io import Source
from taut.io.digest import Digest
from taut.io.identity import model_identity, plan_identity
from taut.journal import Journal
from taut.journal.journal import journal_folder

LARGE = 1 << 24
"""Bytes of a model that becomes one file, from which on its run keeps what it did: the whole of a
smaller one is less work than a piece of a large one."""


class Kept:
    """The journal of a run that rounds without data, or not at all."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.taken: list[str] = []
        self._sizes = sum(key.startswith("size/") for key in journal.done)

    @property
    def work(self) -> Path:
        """Where files are made."""
        return self.journal.work

    def shard(self, file: str) -> ShardFacts | None:
        """What is known of a shard that is finished; None if it is to be made."""
        piece = self.journal.get(f"shard/{file}")
        if piece is None:
            return None
        facts = ShardFacts(file, int(piece["nbytes"]), piece["checksum"].tobytes().decode())
        try:
            held = TautFile(self.work / file)
        except TautError:
            return None
        if (held.size, held.checksum) != (facts.nbytes, facts.checksum):
            return None
        self.taken.append(file)
        return facts

    def shards(self, files: Sequence[str]) -> dict[str, ShardFacts]:
        """What is known of those that are finished."""
        known = {file: self.shard(file) for file in files}
        return {file: facts for file, facts in known.items() if facts is not None}

    def notes(self, partition: Partition | None) -> tuple[str, ...]:
        """What of an earlier run was taken over, if one was resumed."""
        if not self.journal.resumed:
            return ()
        notes = []
        if partition is not None:
            shards = f"{len(self.taken)} of {len(partition.files)} shards"
            notes.append(f"resumed: {shards} were finished before, and not done again")
        if self._sizes:
            notes.append(f"resumed: {self._sizes} sizes were known, and not looked for again")
        return tuple(notes)

    def finished(self, facts: ShardFacts) -> None:
        """Remember a shard that lies in `work`, whole and verified."""
        checksum = np.frombuffer(facts.checksum.encode(), np.uint8)
        self.journal.put(f"shard/{facts.name}", nbytes=np.array(facts.nbytes), checksum=checksum)

    def size_at(self, dial: str) -> int | None:
        """The exact size that a search found at a dial."""
        piece = self.journal.get(f"size/{dial}")
        return None if piece is None else int(piece["size"])

    def keep_size(self, dial: str, size: int) -> None:
        """Remember what a search found."""
        self.journal.put(f"size/{dial}", size=np.array(size))


@contextlib.contextmanager
def keeping(dst: Path, source: Source, asked: Asked, partition: Partition | None) -> Iterator[Kept]:
    """Keep what a run does beside `dst`, until it ends well, or cannot go on.

    Raises:
        ArgumentError: to be resumed is another run: of another model, or with other options; or
            the run is going on in another process.
    """
    identity = _identity(source, asked, partition)
    with Journal.open(dst, identity, resume=asked.call.resume) as journal:
        kept = Kept(journal)
        try:
            yield kept
        except TargetError:
            journal.discard()
            raise
        except BaseException:
            if not journal.done and not any(kept.work.iterdir()):
                journal.discard()
            raise
        journal.discard()


def nothing_kept(dst: Path | None, checkpoint: Path | None) -> str | None:
    """That there is nothing to go on from, where nothing is; None where something is."""
    if dst is None:
        return None
    places = [journal_folder(dst), *([] if checkpoint is None else [checkpoint])]
    if any(place.exists() for place in places):
        return None
    return (
        f"resume (--resume): no unfinished run lies beside {dst}, so all was done from the start; "
        "runs without data keep finished shards, and of models from "
        f"{LARGE >> 20} MiB on the sizes that were found"
    )


def _identity(source: Source, asked: Asked, partition: Partition | None) -> dict[str, str]:
    """What the run is made from, in parts that a message can name."""
    from taut.version import __version__

    call = asked.call
    gains = asked.gains
    plan = plan_identity(
        {name: f"{scheme} {gains.get(name, 1.0)!r}" for name, scheme in asked.schemes.items()},
        effort=call.effort,
        settled=",".join(sorted(asked.settled)),
    )
    shards = plan_identity(None if partition is None else dict(partition.owners))
    base = base_of(source)
    return {
        "model": _source_identity(source),
        "base": "none" if base is None else base.identity,
        "plan": plan,
        "target": f"{call.bits or call.size or 'none'}",
        "division into shards": shards,
        "version": __version__,
    }


def _source_identity(source: Source) -> str:
    """By its files' names, sizes and times of change; what is in memory by all of its bytes."""
    if not source.stamps:
        return model_identity(source)
    digest = Digest()
    for stamp in source.stamps:
        facts = asdict(stamp)
        digest.add((stamp.path.name, facts["nbytes"], facts["mtime"]), "model")
    digest.add([(info.name, info.dtype, info.shape) for info in source.infos], "model")
    return digest.text()
