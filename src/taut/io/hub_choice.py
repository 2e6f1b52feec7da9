"""Which files of a repository a model takes: not the same weights again for other runtimes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Final

from taut.errors import ArgumentError
from taut.io.folder_files import of_other_runtimes

_TAUT: Final = (".taut.safetensors", ".taut.tree.json")
_KINDS: Final = (".gguf", ".onnx")  # where a repository has nothing else: one of them is meant
_SPLIT: Final = re.compile(r"-\d{5}-of-\d{5}\.gguf\Z")
_SHOWN: Final = 6  # names of a message


def below(names: Iterable[str], path: str) -> list[str]:
    """The files that a path of a repository names: itself, those in it, those beside it.

    >>> below(["a/x", "a/y.onnx", "a/y.onnx_data", "b"], "a/y.onnx")
    ['a/y.onnx', 'a/y.onnx_data']
    """
    found = sorted(names)
    if not path:
        return found
    if path in found:
        beside = path.endswith(".onnx")
        split = _whole(path)
        return [
            name for name in found if _whole(name) == split or (beside and name.startswith(path))
        ]
    return [name for name in found if name.startswith(f"{path}/")]


def _whole(name: str) -> str:
    """A file's name; of a GGUF file that was split that of all of its parts.

    >>> _whole("a-00001-of-00002.gguf"), _whole("a-00001-of-00002.safetensors")
    ('a.gguf', 'a-00001-of-00002.safetensors')
    """
    return _SPLIT.sub(".gguf", name)


def of_use(names: Collection[str], where: str) -> tuple[list[str], list[str]]:
    """Of a repository's files those to fetch, and those left: weights for other runtimes.

    Raises:
        ArgumentError: its weights are several files of a kind of which one is to be named.

    >>> of_use(["config.json", "model.safetensors", "tf_model.h5", "onnx/model.onnx"], "hf://o/n")
    (['config.json', 'model.safetensors'], ['onnx/model.onnx', 'tf_model.h5'])
    """
    ours = [name for name in names if name.endswith((".safetensors", ".bin", ".pt", ".pth"))]
    if any(name.endswith(_TAUT) for name in names):  # what lies beside them belongs to them
        return sorted(names), []
    if not ours:
        _check_one(names, where)
        return sorted(names), []
    left = {name for name in names if of_other_runtimes(PurePosixPath(name).name.lower())}
    left |= {name for name in names if _is_twin(name, names)}
    return sorted(set(names) - left), sorted(left)


def _is_twin(name: str, names: Collection[str]) -> bool:
    """Whether a pickle holds what safetensors beside it hold, by what hubs call them."""
    path = PurePosixPath(name)
    for pickle, safe in _TWINS:
        if fnmatchcase(path.name, pickle):
            return any(fnmatchcase(one, str(path.parent / safe)) for one in names)
    return False


_TWINS: Final = (
    ("pytorch_model*.bin", "model*.safetensors"),
    ("pytorch_model*.bin.index.json", "model*.safetensors"),
    ("diffusion_pytorch_model*.bin", "diffusion_pytorch_model*.safetensors"),
)


def _check_one(names: Collection[str], where: str) -> None:
    for kind in _KINDS:
        found = sorted(name for name in names if name.endswith(kind))
        if len({_whole(name) for name in found}) > 1:
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise ArgumentError(
                f"{where}: has {len(found)} files of weights ({', '.join(found[:_SHOWN])}{more}); "
                f"name one: {where}/{found[0]}"
            )
