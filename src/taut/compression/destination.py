"""Where a compression writes: a file, or a folder that gets the model's companions too."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taut.compression.shard_job import Partition
from taut.compression.tree_place import UnitPlace, unit_places
from taut.container import check_destination
from taut.container.find import INDEX_SUFFIX, SUFFIX, TREE_SUFFIX
from taut.container.model_folder import FILE_NAME, check_copies, pairs_to
from taut.container.shard_table import INDEX_NAME
from taut.encoding.on_base import base_under
from taut.errors import ArgumentError
from taut.io import Source
from taut.io.model_file import path_of
from taut.io.quantized import are_floats
from taut.io.suffixes import names_checkpoint, names_other_format
from taut.io.tree import TREE_NAME, TreeSource

if TYPE_CHECKING:
    from taut.networks.sources import Model


@dataclass(frozen=True)
class Destination:
    """Where to write: the file, or the folder with the file and the companions as (from, to).

    With `partition` the model is several files in the folder, and `file` is their index. With
    `units` the folder holds several models, and `file` is their table. With `floats` the source's
    low-bit weights are floats here, which the config must not call low-bit.
    """

    file: Path
    folder: Path | None = None
    companions: tuple[tuple[Path, Path], ...] = ()
    notes: tuple[str, ...] = ()
    partition: Partition | None = None
    units: tuple[UnitPlace, ...] = ()
    floats: bool = False

    def within(self, made: Path) -> Destination:
        """The same files in another folder: where they are made."""
        assert self.folder is not None
        pairs = [(source, to.relative_to(self.folder)) for source, to in self.companions]
        return Destination(
            file=made / self.file.name,
            folder=made,
            companions=tuple((source, made / name) for source, name in pairs),
            partition=self.partition,
            units=self.units,
            floats=self.floats,
        )


def destination_of(
    src: Model, source: Source, dst: Path, *, force: bool, partition: Partition | None = None
) -> Destination:
    """Decide what is written where, and that it may be.

    A `partition` that the source suggests is for a folder; `dst` says whether it is one.

    Raises:
        ArgumentError: something is there already, or it is the model itself, or its base.
    """
    if partition is None and one_file(src, dst):
        _check_not_input(src, source, dst)
        _check_name(dst)
        check_destination(dst, force=force)
        return Destination(dst, notes=_alone(source))
    if dst.exists() and not dst.is_dir():
        raise ArgumentError(f"{dst}: is not a folder, and a model folder becomes one")
    _check_not_base(source, dst)
    _check_name(dst)
    names = (FILE_NAME,) if partition is None else (*partition.files, INDEX_NAME)
    files = [dst / name for name in names]
    pairs = _companions(src, source, dst, files)
    check_copies(pairs, force=force)
    for file in files if dst.is_dir() else ():
        _check_not_input(src, source, file)
        check_destination(file, force=force)
    _check_others(dst, names, shards=partition is not None)
    floats = are_floats(source)
    return Destination(files[-1], dst, pairs, partition=partition, floats=floats)


def tree_destination(
    src: Model, tree: TreeSource, dst: Path, *, force: bool, most: int | None
) -> Destination:
    """Decide where the models of a tree go: in a folder, each where it was; `most` is of shards.

    Raises:
        ArgumentError: something is there already, or it is the tree itself.
    """
    if dst.exists() and not dst.is_dir():
        raise ArgumentError(f"{dst}: is not a folder, and a folder of models becomes one")
    _check_name(dst)
    units = unit_places(tree, most)
    files = [dst / TREE_NAME, *(dst / file for one in units for file in one.files)]
    pairs = _companions(src, tree, dst, files)
    check_copies(pairs, force=force)
    for file in (one for one in files if one.exists()):
        _check_not_input(src, tree, file)
        check_destination(file, force=force)
    if dst.is_dir():
        _check_no_other(dst, files)
    return Destination(files[0], dst, pairs, units=units)


def _check_no_other(folder: Path, files: list[Path]) -> None:
    """No Taut file of another compression may lie in the folder of a tree."""
    for entry in sorted(folder.rglob("*")):
        if entry.name.endswith((SUFFIX, INDEX_SUFFIX)) and entry not in files:
            raise ArgumentError(
                f"{entry}: is of another compression; move it away, or name another folder"
            )


def _companions(
    src: Model, source: Source, dst: Path, files: list[Path]
) -> tuple[tuple[Path, Path], ...]:
    """What goes along from a model folder, as (from, to)."""
    path = path_of(src)
    if path is None or not path.is_dir():
        return ()
    return pairs_to(source.companions, path, dst, taken=files)


def one_file(src: Model, dst: Path) -> bool:
    """Whether what a call names is a file, where the source would do as shards."""
    path = path_of(src)
    return path is None or not path.is_dir() or dst.suffix == ".safetensors"


def _check_others(folder: Path, names: tuple[str, ...], *, shards: bool) -> None:
    """A folder holds one Taut model: files of another one beside it would be taken for it."""
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if entry.name in names or not entry.name.endswith((SUFFIX, INDEX_SUFFIX, TREE_SUFFIX)):
            continue
        if shards or entry.name.endswith((INDEX_SUFFIX, TREE_SUFFIX)):
            raise ArgumentError(
                f"{entry}: is of another compression, and would be taken for a part of this one; "
                "move it away, or name another folder"
            )


def _check_name(dst: Path) -> None:
    """Whether a Taut file, or a folder with one, may have this name: it is read by it later."""
    other = (
        names_checkpoint(dst) or names_other_format(dst) or dst.suffix.lower() in (".onnx", ".gguf")
    )
    if other and not dst.is_dir():
        raise ArgumentError(
            f"{dst}: {dst.suffix} is the name of another format, and a Taut file is safetensors; "
            f"name it {dst.stem}.taut.safetensors"
        )


def _check_not_base(source: Source, dst: Path) -> None:
    based = base_under(source)
    if based is not None and _among(dst, based.base.paths):
        raise ArgumentError(
            f"{dst}: is the base (--base), without which nobody can read the delta; name another "
            f"{'folder' if dst.is_dir() else 'file'}"
        )


def _check_not_input(src: Model, source: Source, dst: Path) -> None:
    _check_not_base(source, dst)
    path = path_of(src)
    if path is None:
        return
    if _among(dst, [path, *(stamp.path for stamp in source.stamps), *source.companions]):
        raise ArgumentError(f"{dst}: is the model to compress, or a file of it; name another file")


def _among(dst: Path, inputs: Iterable[Path]) -> bool:
    return dst.exists() and any(one.exists() and os.path.samefile(one, dst) for one in inputs)


def _alone(source: Source) -> tuple[str, ...]:
    """That a file takes nothing along of the folder that the weights came from."""
    count = len(source.companions)
    if not count:
        return ()
    files = f"{count} other files" if count > 1 else "the other file"
    return (f"a file holds the weights alone: {files} of the folder stay there; name a folder",)
