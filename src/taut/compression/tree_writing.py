"""A decision about a folder with several models carried out: unit after unit, then their table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from taut.compression.destination import Destination
from taut.compression.origin import origin_of
from taut.compression.request import CompressRequest, Decision
from taut.compression.tree_place import UnitPlace
from taut.container import open_taut
from taut.container.info import Info, describe
from taut.container.model_folder import FILE_NAME, copy_files, mark_config
from taut.container.shard_table import INDEX_NAME
from taut.container.tree_table import TreePart, tree_bytes
from taut.encoding.data_free import Quantizer
from taut.errors import ArgumentError
from taut.io import check_unchanged
from taut.io.model_file import ModelFile, path_of
from taut.io.pairs import PairedSource, paired
from taut.io.stamp import Stamp
from taut.progress import Progress

WriteUnit = Callable[[Decision, Destination, CompressRequest], object]
"""Writes one model into a folder that is being made."""


def write_tree(
    decision: Decision,
    place: Destination,
    request: CompressRequest,
    stamps: tuple[Stamp, ...],
    write_unit: WriteUnit,
) -> Info:
    """Write every unit in its place, the companions, and last the table."""
    assert place.folder is not None
    parts: list[TreePart] = []
    done = 0
    for one in place.units:
        file = place.folder / one.file
        file.parent.mkdir(parents=True, exist_ok=True)
        progress = _counted(request.progress, done, len(decision.source.infos))
        its = replace(request, src=_source_of(request, one), progress=progress)
        where = Destination(file, file.parent, partition=one.partition)
        write_unit(_decision_of(decision, one), where, its)
        made = open_taut(file)
        parts.append(TreePart(one.file.as_posix(), one.unit.prefix, made.size, made.checksum))
        done += len(one.unit.source.infos)
    check_unchanged(stamps)
    copy_files(place.companions, place.folder, _marking(place), force=request.force)
    with place.file.open("xb") as out:  # in a folder that is made: no reader sees it yet
        out.write(tree_bytes(decision.origin.nbytes, parts))
    return describe(open_taut(place.file, threads=request.call.threads))


def _source_of(request: CompressRequest, one: UnitPlace) -> ModelFile:
    root = path_of(request.src)
    assert root is not None
    strict = isinstance(request.src, ModelFile) and request.src.strict
    return ModelFile(root / one.unit.path, None, strict)


def _decision_of(decision: Decision, one: UnitPlace) -> Decision:
    """What was decided about a unit, by its own names."""
    prefix, source = one.unit.prefix, one.unit.source
    quantize = decision.quantize
    if isinstance(quantize, Quantizer):
        quantize = quantize.below(prefix)
    names = [info.name for info in source.infos if info.name not in source.aliases]
    odd = [name for name in names if prefix + name not in decision.schemes]
    if odd:
        raise ArgumentError(
            f"{one.unit.path}: {odd[0]} is stored in a low-bit form, which in a folder of several "
            "models is kept bit for bit alone; compress this model by itself"
        )
    return replace(
        decision,
        source=paired(source) if isinstance(decision.source, PairedSource) else source,
        schemes={name: decision.schemes[prefix + name] for name in names},
        origin=origin_of(source),
        quantize=quantize,
    )


def _marking(place: Destination) -> Callable[[Path, bytes], bytes]:
    """What a companion becomes: configs that transformers knows say that they are ours."""
    units = {one.file.parent: one for one in place.units}

    def change(path: Path, data: bytes) -> bytes:
        one = units.get(path.parent)
        if one is None or one.file.name not in (FILE_NAME, INDEX_NAME):
            return data
        return mark_config(Path(path.name), data, shards=one.partition is not None)

    return change


def _counted(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of a unit as progress of the tree."""
    if progress is None:
        return None
    return lambda stage, done, _: progress(stage, before + done, total)
