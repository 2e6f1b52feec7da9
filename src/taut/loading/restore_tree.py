"""Several models in one folder given back, each in its place, with all that lies beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from taut.container import TautFile, check_destination, made_folder
from taut.container.model_folder import check_copies, copy_files, pairs_to, unmark_config
from taut.container.original_card import original_card
from taut.container.tree_file import TreeFile
from taut.errors import ArgumentError
from taut.io.folder_files import read_tree
from taut.io.suffixes import names_checkpoint


@dataclass(frozen=True)
class UnitWriter:
    """How a model by itself is restored: the names of its files, and all of them into a folder.

    `write` gives the bytes written.
    """

    names: Callable[[TautFile], list[str]]
    write: Callable[[TautFile, Path, bool], int]


def restore_tree(
    file: TreeFile, target: Path, unit: UnitWriter, *, force: bool
) -> tuple[int, tuple[Path, ...], tuple[str, ...]]:
    """Write the models of a tree as they were; gives bytes, files and notes.

    Raises:
        ArgumentError: `target` is no folder, or holds one of the files (and not `force`).
        FormatError, VerifyError: a file is damaged; nothing is written.
    """
    _check_target(target)
    root = file.path.parent
    units = [(file.units[prefix], path.parent) for prefix, path in file.files.items()]
    paths = [target / folder / name for one, folder in units for name in unit.names(one)]
    found = read_tree(root, frozenset(p.relative_to(root).as_posix() for p in file.own_files))
    pairs = pairs_to(found.companions, root, target, taken=paths)
    _check_free(pairs, paths, target, force)
    with made_folder(target, force=force) as made:
        copies = [(path, made / to.relative_to(target)) for path, to in pairs]
        size = copy_files(copies, made, _as_part, force=force)
        for one, folder in units:
            (made / folder).mkdir(parents=True, exist_ok=True)
            size += unit.write(one, made / folder, force)
    return size, (*(copy for _, copy in pairs), *paths), found.notes


def _check_free(
    pairs: Iterable[tuple[Path, Path]], paths: Iterable[Path], target: Path, force: bool
) -> None:
    """Raise `ArgumentError` where something is in the way."""
    check_copies(pairs, force=force)
    for path in paths if target.is_dir() else ():
        check_destination(path, force=force)


def _check_target(target: Path) -> None:
    if target.suffix == ".safetensors" or names_checkpoint(target):
        raise ArgumentError(f"{target}: the models become several files; name a folder")
    if target.exists() and not target.is_dir():
        raise ArgumentError(f"{target}: is not a folder; the models become several files in one")


def _as_part(path: Path, data: bytes) -> bytes:
    """The bytes of a companion of a tree, as the original has them, in any of its folders."""
    return original_card(path, unmark_config(Path(path.name), data))
