"""A folder with weights in several subfolders as one source: a pipeline, ComfyUI's models.

Every safetensors file in it, or index of several, is a unit. A tensor's name is that of the unit
(its folder, or its path without suffix where a folder has several) before its own name in the file:
`unet/conv_in.weight`, `loras/style/lora_up.weight`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from taut.errors import ArgumentError
from taut.io.folder_files import read_tree
from taut.io.hub import holds_weights
from taut.io.safetensors import SafetensorsSource, open_safetensors, open_sharded
from taut.io.shard_index import read_index

TREE_NAME: Final = "model.taut.tree.json"
"""Of the table that says which Taut files of a folder are one model (docs/format.md, 9)."""

_PIPELINE: Final = "model_index.json"  # what diffusers keeps on top
_SUFFIX: Final = ".safetensors"
_INDEX: Final = ".safetensors.index.json"
_OWN: Final = ".taut.safetensors"
_APART: Final = (".git", ".cache", "__pycache__")


@dataclass(frozen=True)
class Unit:
    """A file of weights, or an index of several, in a tree: its path there, and its tensors.

    `prefix` stands before its tensors' names in the tree's.
    """

    prefix: str
    path: Path
    source: SafetensorsSource

    @property
    def folder(self) -> Path:
        """Where it lies, below the tree."""
        return self.path.parent


@dataclass(frozen=True)
class TreeSource(SafetensorsSource):
    """All tensors of a tree, unit after unit."""

    root: Path = Path()
    units: tuple[Unit, ...] = ()


def is_tree(folder: Path) -> bool:
    """Whether a folder is a pipeline, or has weights right in its subfolders and none of its own.

    Weights that lie deeper make no model of a folder: any project may have some somewhere.
    """
    if not (folder / _PIPELINE).is_file() and holds_weights(folder):
        return False
    found = (path for suffix in (_SUFFIX, _INDEX) for path in folder.glob(f"*/*{suffix}"))
    return any(_OWN not in path.name and path.parent.name not in _APART for path in found)


def open_tree(folder: Path, *, strict: bool = False) -> TreeSource:
    """Open all weights of a tree.

    Raises:
        FormatError: a file is damaged, or is none of weights; with `strict`, an index and its
            shards do not agree.
        ArgumentError: a file is missing, or two tensors would have one name.
    """
    paths = _unit_paths(folder)
    prefixes = _prefixes(paths)
    units = tuple(
        Unit(prefix, path, _opened(folder / path, strict=strict))
        for prefix, path in sorted(zip(prefixes, paths, strict=True), key=lambda one: one[1])
    )
    encoded = {name for unit in units for name in _encoded(folder, unit)}
    files = read_tree(folder, frozenset(encoded))
    return _joined(folder, units, files.companions, files.notes)


def _opened(path: Path, *, strict: bool) -> SafetensorsSource:
    if path.name.endswith(_INDEX):
        return open_sharded(path, strict=strict)
    return open_safetensors(path)


def _joined(
    folder: Path, units: Sequence[Unit], companions: tuple[Path, ...], notes: tuple[str, ...]
) -> TreeSource:
    infos, where = [], {}
    for unit in units:
        for info in unit.source.infos:
            whole = unit.prefix + info.name
            if whole in where:
                raise ArgumentError(
                    f'{folder}: the tensor "{whole}" is in {unit.path} and in another file; '
                    "compress the subfolders one by one"
                )
            infos.append(replace(info, name=whole))
            where[whole] = unit.source.place_of(info.name)
    return TreeSource(
        infos=tuple(infos),
        files=(),
        metadata={},
        nbytes=sum(unit.source.nbytes for unit in units),
        identity=str(folder),
        companions=companions,
        stamps=tuple(stamp for unit in units for stamp in unit.source.stamps),
        notes=(*(f"{unit.path}: {note}" for unit in units for note in unit.source.notes), *notes),
        _where=where,
        root=folder,
        units=tuple(units),
    )


def _files(folder: Path) -> Iterator[Path]:
    """The safetensors files and indexes of a tree that Taut did not write, by their paths in it."""
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if name not in _APART)
        for name in sorted(names):
            if name.endswith((_SUFFIX, _INDEX)) and _OWN not in name:
                yield Path(place, name).relative_to(folder)
        if len(Path(place).relative_to(folder).parts) > _DEEPEST:
            folders.clear()  # a link in a circle, or no folder of models


_DEEPEST: Final = 12


def _unit_paths(folder: Path) -> list[Path]:
    """Indexes, and files that no index lists."""
    found = list(_files(folder))
    indexes = [path for path in found if path.name.endswith(_INDEX)]
    listed = {
        index.parent / shard for index in indexes for shard in read_index(folder / index).values()
    }
    alone = [path for path in found if path.name.endswith(_SUFFIX) and path not in listed]
    return sorted([*indexes, *alone])


def _prefixes(paths: Sequence[Path]) -> list[str]:
    """The words before the tensors of each unit: its folder, if it is alone there."""
    beside: defaultdict[Path, int] = defaultdict(int)
    for path in paths:
        beside[path.parent] += 1
    return [
        f"{path.parent.as_posix()}/"
        if beside[path.parent] == 1 and path.parent != Path()
        else f"{path.with_name(_stem(path.name)).as_posix()}/"
        for path in paths
    ]


def _stem(name: str) -> str:
    return name.removesuffix(_INDEX).removesuffix(_SUFFIX)


def _encoded(folder: Path, unit: Unit) -> Iterator[str]:
    """The files that hold a unit's weights, and their index, by their paths in the tree."""
    yield unit.path.as_posix()
    if unit.path.name.endswith(_INDEX):
        for shard in read_index(folder / unit.path).values():
            yield (unit.folder / shard).as_posix()
