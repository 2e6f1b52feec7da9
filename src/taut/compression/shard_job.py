"""Which shard each tensor goes to, and one shard written: a piece of work for any process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from taut.coding import Effort
from taut.container import Index, Layout, Origin, Record, Writer
from taut.container.find import SUFFIX
from taut.container.shard_table import Shard, ShardTable, table_bytes
from taut.container.source_header import rebuild_header
from taut.encoding.model import FilesToBe, fill
from taut.encoding.on_base import base_of
from taut.encoding.tensor import Quantize
from taut.errors import ArgumentError
from taut.io import Source, check_unchanged, open_source
from taut.io.gguf import FRAME
from taut.io.nest import NEST
from taut.io.onnx import GRAPH
from taut.io.part_of import PartOf
from taut.io.quantized import FloatSource, as_floats
from taut.io.safetensors import SafetensorsSource
from taut.io.stamp import Stamp, blaming_changes
from taut.progress import Progress
from taut.scheme import Scheme

if TYPE_CHECKING:
    from taut.networks.sources import Model

_EACH = 2000  # bytes: header, index, and tables of solid groups of another file
_DIGITS = 5  # as Hugging Face numbers shards


@dataclass(frozen=True)
class Partition:
    """The shards of a model: `files` in order, the shard of each tensor, and the original file.

    `originals` names the file of the source that a shard is made of, where it is of one whole file.
    """

    files: tuple[str, ...]
    owners: Mapping[str, str]
    originals: Mapping[str, str]

    def names(self, file: str, source: Source) -> tuple[str, ...]:
        """The tensors of a shard, in the order of `source`; what the partition lacks goes last."""
        last = self.files[-1]
        return tuple(i.name for i in source.infos if self.owners.get(i.name, last) == file)


def partition_of(source: Source, shard_size: int | None) -> Partition | None:
    """The shards to write: as the source has them, or of at most so many bytes of the source.

    None where the model becomes one file. A tensor is never divided, nor parted from those that are
    tied to it.
    """
    if shard_size is not None:
        return _by_size(source, shard_size)
    if not isinstance(source, (SafetensorsSource, FloatSource)):
        return None
    shards = source.shards
    files = tuple(dict.fromkeys(shards.values()))
    if len(files) < 2:
        return None
    renamed = {file: f"{_stem(file)}{SUFFIX}" for file in files}
    if len(set(renamed.values())) < len(files):
        return None
    originals = {renamed[file]: file for file in files} if source.files else {}
    owners = {name: renamed[file] for name, file in shards.items()}
    return Partition(tuple(renamed.values()), owners, originals)


def _stem(name: str) -> str:
    return name.removesuffix(".safetensors")


def _by_size(source: Source, most: int) -> Partition:
    groups: list[list[str]] = [[]]
    taken = 0
    for info in source.infos:
        if info.name in source.aliases:
            continue
        if groups[-1] and taken + info.nbytes > most:
            groups.append([])
            taken = 0
        groups[-1].append(info.name)
        taken += info.nbytes
    count = len(groups)
    files = tuple(f"model-{n + 1:0{_DIGITS}}-of-{count:0{_DIGITS}}{SUFFIX}" for n in range(count))
    owners = {name: file for file, names in zip(files, groups, strict=True) for name in names}
    owners |= {name: owners[of] for name, of in source.aliases.items()}
    return Partition(files, owners, {})


@dataclass(frozen=True, kw_only=True)
class ShardJob:
    """One shard to write, in values that any process can be handed.

    `names` are the tensors of the model `src` that go to the file `path`, by `schemes`; `quantize`
    rounds them where a scheme asks for it. `stamps` are of the model's files as the run began:
    whoever works later finds them so, or fails. `floats`: low-bit weights of it are read as floats.
    """

    src: Model
    names: tuple[str, ...]
    path: Path
    origin: Origin
    schemes: Mapping[str, Scheme]
    effort: Effort
    threads: int = 1
    quantize: Quantize | None = None
    stamps: tuple[Stamp, ...] = ()
    floats: bool = False


@dataclass(frozen=True)
class ShardFacts:
    """A finished shard: its name, its bytes, and the checksum of its header."""

    name: str
    nbytes: int
    checksum: str


def compress_shard(
    job: ShardJob, *, source: Source | None = None, progress: Progress | None = None
) -> ShardFacts:
    """Write one shard, whole and verified, or nothing; a file of its name is replaced.

    `source` is the model where this process has it open. The bytes do not depend on who works, nor
    on the number of threads. Holds one tensor at a time.

    Raises:
        ArgumentError: a scheme cannot be carried out on a tensor.
        VerifyError: a file of the model is not as it was, or the shard does not read back.
        TautError: the disk is full.
    """
    check_unchanged(job.stamps)
    part = PartOf(_opened(job) if source is None else source, frozenset(job.names))
    with (
        blaming_changes(job.stamps),
        Writer(
            job.path,
            job.origin,
            part.infos,
            effort=job.effort,
            threads=job.threads,
            force=True,
            base=base_of(part),
        ) as writer,
    ):
        fill(
            writer.layout,
            part,
            job.schemes,
            effort=job.effort,
            threads=job.threads,
            quantize=job.quantize,
            progress=progress,
        )
        check_unchanged(job.stamps)
        found = writer.finish()
    return ShardFacts(job.path.name, found.size, writer.layout.checksum)


def _opened(job: ShardJob) -> Source:
    source = open_source(job.src)
    return as_floats(source) if job.floats else source


def shard_origin(whole: Origin, source: Source, part: Partition, file: str) -> Origin:
    """What one shard remembers of the model: its own original file, if it is of one."""
    names = frozenset(part.names(file, source))
    original = part.originals.get(file)
    header = dict(whole.files).get(original or "")
    if original is None or header is None:
        nbytes = PartOf(source, names).nbytes
        return replace(whole, nbytes=nbytes, files=(), texts=())
    sizes = {stamp.path.name: stamp.nbytes for stamp in source.stamps}
    return Origin(sizes[original], {}, ((original, header),), (), whole.modules)


def files_to_be(source: Source, whole: Origin, partition: Partition) -> FilesToBe:
    """What a search for a size is to count."""
    parts = tuple(
        (
            PartOf(source, frozenset(partition.names(file, source))),
            shard_origin(whole, source, partition, file),
        )
        for file in partition.files
    )

    def index_bytes(layouts: Sequence[Layout]) -> int:
        made = [
            Made(ShardFacts(file, layout.size, layout.checksum), layout.index.records)
            for file, layout in zip(partition.files, layouts, strict=True)
        ]
        return len(index_data(whole, partition, made))

    return FilesToBe(parts, index_bytes)


def extra_bytes(source: Source, whole: Origin, partition: Partition) -> int:
    """About how much more the shards and their index take than one file; rather too much."""
    infos = {info.name: info for info in source.infos}
    made = []
    for file in partition.files:
        named = (infos[name] for name in partition.names(file, source))
        records = tuple(Record(i.name, i.dtype, i.shape, "lossless", "kept") for i in named)
        made.append(Made(ShardFacts(file, 10**12, "0" * 16), records))
    return len(index_data(whole, partition, made)) + _EACH * (len(made) - 1)


@dataclass(frozen=True)
class Made:
    """A finished shard, and the records of its tensors."""

    facts: ShardFacts
    records: tuple[Record, ...]


def index_data(whole: Origin, partition: Partition, made: Sequence[Made]) -> bytes:
    """The index of finished shards."""
    records = [record for one in made for record in one.records]
    owners = {record.name: one.facts.name for one in made for record in one.records}
    shards = tuple(Shard(one.facts.name, one.facts.nbytes, one.facts.checksum) for one in made)
    whole = replace(whole, files=() if partition.originals else whole.files, modules={})
    if len(whole.files) == 1 and any(record.rel_mse for record in records):
        header = rebuild_header(records, whole.metadata)
        whole = replace(whole, files=((whole.files[0][0], header),))
    return table_bytes(ShardTable(whole, shards, owners), Index(whole, (), tuple(records)))


def check_shardable(source: Source) -> None:
    """Raise `ArgumentError` where a model cannot become shards."""
    for key, what in (
        (GRAPH, "an ONNX model"),
        (FRAME, "a GGUF model"),
        (NEST, "a whole checkpoint"),
    ):
        if key in source.metadata:
            raise ArgumentError(f"shard_size (--shard-size): {what} becomes one file; leave it out")
