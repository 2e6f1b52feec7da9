"""A Hugging Face model folder: which files are the weights; what else is in it: folder_files.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from taut.errors import ArgumentError
from taut.io.foreign import why_foreign_folder
from taut.io.header import Header

# First match wins, as in transformers: one file before shards, safetensors before pickle.
_WEIGHTS: Final = (
    "model.safetensors",
    "model.safetensors.index.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def find_weights(folder: Path) -> Path:
    """The file, or index of shards, that holds a folder's weights.

    Raises:
        ArgumentError: there is none, or more than one that could be meant.
    """
    for pattern in _WEIGHTS:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if pattern == "*.safetensors":
            found = _without_shards(folder, found)
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise ArgumentError(f"{folder}: several files could be the weights: {names}; name one")
        if found:
            return found[0]
    raise _without_weights(folder)


def holds_weights(folder: Path) -> bool:
    """Whether a folder has weights of its own, in files that are looked for."""
    return any(path.is_file() for pattern in _WEIGHTS for path in folder.glob(pattern))


def _without_weights(folder: Path) -> ArgumentError:
    """What a folder that holds no weights has instead."""
    if (why := why_foreign_folder(folder)) is not None:
        return ArgumentError(f"{folder}: {why}")
    names = ", ".join(sorted(path.name for path in folder.iterdir())[:8])
    if found := sorted(path.name for path in folder.glob("*.gguf")):
        return ArgumentError(f"{folder}: holds GGUF; name the file: {', '.join(found[:8])}")
    if within := _folders_within(folder):
        return ArgumentError(f"{folder}: no weights here; name a folder that has them: {within}")
    return ArgumentError(
        f"{folder}: no weights; a model folder has {', '.join(_WEIGHTS[:2])} or {_WEIGHTS[4]}"
        f" ({f'this one has {names}' if names else 'this one is empty'})"
    )


def _folders_within(folder: Path) -> str:
    """The folders in this one that have weights, as parts of a pipeline have."""
    found = {path.parent for one in _WEIGHTS for path in folder.glob(f"*/{one}")}
    return ", ".join(str(one) for one in sorted(found))


def shard_index(shards: Mapping[str, Header]) -> str:
    """The text of the `*.safetensors.index.json` of shards (file name to header).

    It is laid out as transformers writes it, sorted, so that equal shards give equal text.

    >>> print(shard_index({}), end="")
    {
      "metadata": {
        "total_size": 0
      },
      "weight_map": {}
    }
    """
    weight_map = {t.name: file for file, header in shards.items() for t in header.tensors}
    total = sum(tensor.nbytes for header in shards.values() for tensor in header.tensors)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    return json.dumps(index, indent=2, sort_keys=True) + "\n"


def _without_shards(folder: Path, files: list[Path]) -> list[Path]:
    """An index speaks for its shards; a file that Taut made is not the model it came from."""
    if any(folder.glob("*.safetensors.index.json")):
        return []
    originals = [path for path in files if not path.name.endswith(".taut.safetensors")]
    return originals or files
