"""Opens a Taut file, or several as one, with what it stands on if it is a delta."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np

from taut.container.bases import DEEPEST, beside
from taut.container.find import INDEX_SUFFIX, SUFFIX, TREE_SUFFIX, as_path, find_file
from taut.container.read import TautFile
from taut.container.sharded import ShardedFile
from taut.container.tree_file import TreeFile, check_part, place_of_part
from taut.container.tree_table import read_tree_table
from taut.errors import ArgumentError
from taut.io import Source, TensorInfo, open_source
from taut.io.nest import NEST
from taut.io.source import open_whole
from taut.io.staged import told_paths
from taut.io.stamp import Stamp, check_unchanged
from taut.io.tensor_pieces import Read, reader_of

BaseSpec: TypeAlias = "str | Path | TautFile | Mapping[str, np.ndarray] | Sequence[str | Path]"
"""A model, a Taut file included; or several, each the base of the one before it."""


def open_taut(path: str | Path, *, threads: int = 1, base: BaseSpec | None = None) -> TautFile:
    """Open a Taut file, the index of several, or whichever of the two is in a folder.

    Where no `base` is given, a delta's is looked for beside it, or beside the model folder that it
    is, under the name that it had.

    Raises:
        ArgumentError: nothing is there, a folder has none or several, or a shard is missing; or a
            base is given, and the file needs none.
        FormatError, VerifyError: a file is damaged, or the shards are not those of the index.
    """
    return _open(as_path(path), threads, _several(base), DEEPEST)


def open_base(base: BaseSpec, *, threads: int = 1, whole: bool = False) -> ModelBase:
    """Open what a delta is to stand on, or stands on; `whole`: of a checkpoint all that is in it.

    Raises:
        ArgumentError: there is no such model, or it is too many deltas deep.
        FormatError, VerifyError: a file is damaged.
    """
    first, *rest = _several(base)
    return _base(first, threads, rest, DEEPEST, whole)


class ModelBase:
    """A model that deltas stand on: a Taut file, or anything else that holds tensors."""

    def __init__(self, model: TautFile | Source, depth: int, folder: str = "") -> None:
        self.depth = depth
        self.model = model
        self._folder = folder

    @cached_property
    def infos(self) -> dict[str, TensorInfo]:
        """Its tensors by name."""
        return {info.name: info for info in self.model.infos}

    @property
    def identity(self) -> str:
        """The file's path, or what the model is called."""
        model = self.model
        return str(model.path) if isinstance(model, TautFile) else model.identity

    @property
    def name(self) -> str:
        """The folder's or the file's own name; "" of what is in memory."""
        if self._folder:
            return self._folder
        if not isinstance(self.model, TautFile) and not self.model.stamps:
            return ""
        return Path(self.identity).name

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """What its files were when they were opened; () of a Taut file, which checks itself."""
        return () if isinstance(self.model, TautFile) else self.model.stamps

    @property
    def paths(self) -> tuple[Path, ...]:
        """Its files, the folder that it was given as, and those of what it stands on itself."""
        if isinstance(self.model, TautFile):
            files = paths_under(self.model)
        else:
            files = tuple(stamp.path for stamp in self.model.stamps)
        return (*files, files[0].parent) if self._folder and files else files

    def load(self, name: str) -> np.ndarray:
        """One tensor, as its values are."""
        model = self.model
        return model[name] if isinstance(model, TautFile) else model.load(name)

    def reader(self, name: str) -> Read:
        """What gives the values of one tensor from one number to another, flat."""
        model = self.model
        if isinstance(model, TautFile):
            return lambda begin, end: model.span(name, begin, end)
        return reader_of(model, name)

    def check_still(self) -> None:
        """Raise `VerifyError` if a file of it was written to since it was opened."""
        if isinstance(self.model, TautFile):
            self.model.check_still()
        check_unchanged(self.stamps)


def paths_under(file: TautFile) -> tuple[Path, ...]:
    """The files of a Taut file, and of what it stands on, however deep."""
    bases = [one.bases.base for one in file.parts]
    under = {path for base in bases if isinstance(base, ModelBase) for path in base.paths}
    return (file.path, *(one.path for one in file.parts), *sorted(under))


_One: TypeAlias = str | Path | TautFile | Mapping[str, np.ndarray]


def _several(base: BaseSpec | None) -> list[_One]:
    if base is None:
        return []
    if isinstance(base, (str, Path, TautFile, Mapping)):
        return [base]
    if not isinstance(base, Sequence) or not base:
        told = "an empty list" if base == [] else f"is of type {type(base).__name__}"
        raise ArgumentError(f"base: {told}; give a model, or several in a list")
    return list(base)


def _open(path: Path, threads: int, bases: list[_One], left: int) -> TautFile:
    found = find_file(path)
    if found.name.endswith(TREE_SUFFIX):
        return _open_tree(found, threads, bases)
    sharded = found.name.endswith(".index.json")
    file = (ShardedFile if sharded else TautFile)(found, threads=threads)
    if not file.is_delta:
        if bases:
            raise ArgumentError(f"{found}: is no delta, and needs no base (--base); leave it out")
        return file
    if not bases:
        near = beside(found, file.index.origin.base)
        bases = [] if near is None else [near]
    if bases:
        whole = NEST in file.index.origin.metadata
        file.stand_on(_base(bases[0], threads, bases[1:], left, whole))
    return file


def _open_tree(table: Path, threads: int, bases: list[_One]) -> TreeFile:
    """All parts of a tree, each the very one of the table."""
    if bases:
        raise ArgumentError(f"{table}: is of several models, and no delta; leave the base out")
    units = {}
    for part in read_tree_table(table).parts:
        path = place_of_part(table, part)
        shards = part.file.endswith(INDEX_SUFFIX)
        file = (ShardedFile if shards else TautFile)(path, threads=threads)
        check_part(table, part, file)
        units[part.prefix] = file
    return TreeFile(table, units, threads=threads)


def _base(model: _One, threads: int, rest: list[_One], left: int, whole: bool = False) -> ModelBase:
    if left < 1:
        raise ArgumentError(
            f"base: more than {DEEPEST} deltas stand on one another; decompress one of them"
        )
    folder = _folder_name(model)
    if isinstance(model, (str, Path)) and _is_taut(Path(model)):
        model = _open(Path(model), threads, rest, left - 1)
        rest = []
    if rest:
        raise ArgumentError(f"base (--base): {rest[0]} is given, but what is before it needs none")
    if not isinstance(model, TautFile):
        return ModelBase(open_whole(model) if whole else open_source(model), 0, folder)
    depth = max(
        (one.bases.base.depth for one in model.parts if one.bases.base is not None), default=0
    )
    depth += model.is_delta
    if depth >= DEEPEST:
        raise ArgumentError(f"{model.path}: is {depth} deltas deep already; decompress it first")
    return ModelBase(model, depth, folder)


def _folder_name(model: _One) -> str:
    """What a model folder is called; "" of anything else."""
    if not isinstance(model, (str, Path)) or not Path(model).is_dir():
        return ""
    told = told_paths(str(model))
    return Path(os.path.abspath(model)).name if told == str(model) else told.rpartition("/")[2]


def _is_taut(path: Path) -> bool:
    """Whether a path is a Taut file, the index of several, or a folder of one; by its content."""
    if path.is_dir():
        return any(
            entry.name.endswith((SUFFIX, INDEX_SUFFIX, TREE_SUFFIX)) for entry in path.iterdir()
        )
    if path.name.endswith((INDEX_SUFFIX, TREE_SUFFIX)):
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8 + 24)[8:].startswith(b'{"__metadata__":{"taut":')
