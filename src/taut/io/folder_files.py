"""Everything in a model folder beside the weights that are encoded: what travels, what stays.

A file whose use is not known here may be one that the model does not run without (filters, voices,
a vocabulary in bytes): so all travel, in all subfolders, but for the same weights once more in
another runtime's format, and for what version control and caches keep. These are told.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from taut.errors import TautError
from taut.io.names import as_text
from taut.io.shard_index import read_index

_KEPT_APART: Final = (
    ".git", ".hg", ".svn", ".bzr", ".cache", "__pycache__", ".ipynb_checkpoints", ".mypy_cache",
    ".pytest_cache", ".ruff_cache",
)  # fmt: skip
# The names that loaders of other runtimes look for, in any folder, and of what optimisers keep.
_ELSEWHERE: Final = (
    "tf_model*.h5", "flax_model*.msgpack", "rust_model.ot", "*.onnx", "*.onnx_data*",
    "*.onnx.data*", "*.gguf", "*.mlpackage", "openvino*_model*.bin", "openvino*_model*.xml",
    "consolidated*.pth", "optimizer.pt", "optimizer.bin", "*.taut.safetensors",
)  # fmt: skip
# Beside the encoded weights: those under other names that transformers and Mistral's loaders know.
_TOP: Final = (
    "model.safetensors", "model-*-of-*.safetensors", "*.safetensors.index.json",
    "pytorch_model*.bin", "*.bin.index.json", "consolidated*.safetensors",
)  # fmt: skip
# In a tree: the same weights for other frameworks, by what hubs call them, and those beside them.
_TWINS: Final = tuple(
    (name, safe)
    for safe, names in {
        "model*.safetensors": (
            "tf_model*.h5", "flax_model*.msgpack", "rust_model.ot", "pytorch_model*.bin",
            "pytorch_model*.bin.index.json", "model.onnx", "model.onnx_data",
            "openvino_model.bin", "openvino_model.xml",
        ),
        "diffusion_pytorch_model*.safetensors": (
            "diffusion_pytorch_model*.bin", "diffusion_pytorch_model*.bin.index.json",
            "diffusion_flax_model*.msgpack",
        ),
    }.items()
    for name in names
)  # fmt: skip
_TEMPORARY: Final = f"*.{'[0-9a-f]' * 16}.tmp"

_WEIGHTS: Final = "weights in another form"
_APART: Final = "version control and caches"
_OUTSIDE: Final = "links that lead out of the folder, or in a circle"
_ODD: Final = "neither files nor folders"
_SHOWN: Final = 4  # names of a reason


@dataclass(frozen=True)
class FolderFiles:
    """What of a model folder travels with its weights, sorted; `left` names the rest by reason."""

    companions: tuple[Path, ...]
    left: dict[str, tuple[str, ...]]

    @property
    def notes(self) -> tuple[str, ...]:
        """A line that tells what is left behind, if anything is."""
        if not self.left:
            return ()
        told = "; ".join(f"{_listed(names)} ({why})" for why, names in self.left.items())
        return (f"left behind in the folder: {told}; copy by hand what the model needs",)


def read_folder(folder: Path, weights: Path | None) -> FolderFiles:
    """Sort the files of a model folder whose encoded weights are `weights`: a file, or an index.

    Links are followed where they stay in the folder, or in the cache of a hub that it lies in.

    Raises:
        OSError: a folder in it cannot be read.
    """
    return _sorted(_Sorter(folder, _link_roots(folder), _encoded(weights)))


def read_tree(folder: Path, encoded: frozenset[str]) -> FolderFiles:
    """Sort the files of a tree, whose encoded weights are `encoded`, by their paths in it.

    What other runtimes read (GGUF, ONNX, pickles) may be the only form of a model there, so it
    travels as it is; left are what hubs call the same weights, where safetensors lie beside them.

    Raises:
        OSError: a folder in it cannot be read.
    """
    return _sorted(_TreeSorter(folder, _link_roots(folder), encoded))


def _sorted(sorter: _Sorter) -> FolderFiles:
    sorter.enter(sorter.folder, (Path(os.path.realpath(sorter.folder)),))
    left = {why: tuple(sorted(names)) for why, names in sorter.left.items()}
    return FolderFiles(tuple(sorted(sorter.found)), left)


@dataclass
class _Sorter:
    """Goes through a folder once."""

    folder: Path
    roots: tuple[Path, ...]
    encoded: frozenset[str]
    found: list[Path] = field(default_factory=list)
    left: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def enter(self, folder: Path, around: tuple[Path, ...]) -> None:
        """Sort what lies in a folder; `around` are it and those that it lies in, links resolved."""
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            path = folder / name
            why = self._why_left(path, name, frozenset(names), around)
            if why is not None:
                self._leave(path, why)
            elif path.is_dir():
                self.enter(path, (*around, Path(os.path.realpath(path))))
            elif not self._is_encoded(path):
                self.found.append(path)

    def _is_encoded(self, path: Path) -> bool:
        """Whether a file holds the encoded weights."""
        return path.relative_to(self.folder).as_posix() in self.encoded

    def _leave(self, path: Path, why: str) -> None:
        if not fnmatchcase(path.name, _TEMPORARY):
            self.left[why].append(as_text(path.relative_to(self.folder).as_posix()))

    def _why_left(
        self, path: Path, name: str, beside: frozenset[str], around: tuple[Path, ...]
    ) -> str | None:
        """Why a file or folder stays; None if it travels, or is the encoded weights."""
        if name in _KEPT_APART:
            return _APART
        if self._is_encoded(path) and path.is_file():
            return None
        if path.is_symlink() and self._leads_out(path, around):
            return _OUTSIDE
        if not (path.is_file() or path.is_dir()) or fnmatchcase(name, _TEMPORARY):
            return _ODD
        return _WEIGHTS if self._is_other_form(path, beside) else None

    def _is_other_form(self, path: Path, beside: frozenset[str]) -> bool:
        """Whether a file's name says that it holds the weights once more."""
        return _is_other_form(path.name.lower(), beside, top=path.parent == self.folder)

    def _leads_out(self, link: Path, around: tuple[Path, ...]) -> bool:
        """Whether a link leads out of the folder, or to a folder that it lies in."""
        real = Path(os.path.realpath(link))
        inside = any(real.is_relative_to(root) for root in self.roots)
        return not inside or (link.is_dir() and real in around)


class _TreeSorter(_Sorter):
    """Goes through a tree, where weights lie in many folders."""

    def _is_other_form(self, path: Path, beside: frozenset[str]) -> bool:
        name = path.name.lower()
        if name.endswith(".taut.safetensors"):
            return True
        return any(
            fnmatchcase(name, twin) and any(fnmatchcase(one, safe) for one in beside)
            for twin, safe in _TWINS
        )


def of_other_runtimes(name: str) -> bool:
    """Whether a file's name, in small letters, is one that loaders of other runtimes look for.

    >>> of_other_runtimes("tf_model.h5"), of_other_runtimes("config.json")
    (True, False)
    """
    return any(fnmatchcase(name, pattern) for pattern in _ELSEWHERE)


def _is_other_form(name: str, beside: frozenset[str], *, top: bool) -> bool:
    """Whether a file's name says that it holds the weights beside it once more."""
    if of_other_runtimes(name):
        return True
    if top:
        return any(fnmatchcase(name, pattern) for pattern in _TOP)
    return name == "pytorch_model.bin" and "model.safetensors" in beside


def _encoded(weights: Path | None) -> frozenset[str]:
    """The names of the files that hold the encoded weights, and of their index."""
    if weights is None:
        return frozenset()
    if not weights.name.lower().endswith(".index.json"):
        return frozenset({weights.name})
    try:
        return frozenset({weights.name, *read_index(weights).values()})
    except TautError:  # told by whoever opens it
        return frozenset({weights.name})


def _link_roots(folder: Path) -> tuple[Path, ...]:
    """The folders that links may lead to.

    A hub's cache keeps files beside the snapshots of them, or beside all repositories.
    """
    real = Path(os.path.realpath(folder))
    for one in real.parents:
        if one.name == "snapshots" and (one.parent / "blobs").is_dir():
            return one.parent, one.parent.parent / "blobs"
    return (real,)


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
