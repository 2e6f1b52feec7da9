"""A Hugging Face model folder: which files are the weights, and which travel along.

Surprise: a sentence-transformers model may have a second, small network in a subfolder (as
`2_Dense/model.safetensors`, listed in `modules.json`). It travels along as it is, since the model
does not load without it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from taut.errors import ArgumentError
from taut.io.header import Header

MAX_COMPANION: Final = 64_000_000  # bytes; the largest tokenizer.json files have about 35 MB

# First match wins, as in transformers: one file before shards, safetensors before pickle.
_WEIGHTS: Final = (
    "model.safetensors",
    "model.safetensors.index.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_TEXT: Final = (
    ".bpe", ".jinja", ".json", ".jsonl", ".md", ".merges", ".model", ".py", ".spm", ".tiktoken",
    ".txt", ".vocab", ".yaml", ".yml",
)  # fmt: skip
_NO_SUFFIX: Final = ("license", "notice", "readme", "use_policy")


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
    names = ", ".join(sorted(path.name for path in folder.iterdir())[:8])
    raise ArgumentError(
        f"{folder}: no weights; a model folder has {', '.join(_WEIGHTS[:2])} or {_WEIGHTS[4]}"
        f" ({f'this one has {names}' if names else 'this one is empty'})"
    )


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


def find_companions(folder: Path) -> tuple[Path, ...]:
    """Config, tokenizer and other text files of a model folder and its subfolders, sorted.

    No weights but those of a sentence-transformers module in its own subfolder, no index of
    shards (it would list files that are gone), nothing hidden.
    """
    found = _module_weights(folder)
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and _is_companion(path):
            found.append(path)
    return tuple(sorted(found))


def _module_weights(folder: Path) -> list[Path]:
    try:
        modules = json.loads((folder / "modules.json").read_bytes())
        names = {module["path"] for module in modules} - {""}
        subfolders = [path for path in folder.iterdir() if path.name in names and path.is_dir()]
    except (OSError, ValueError, RecursionError, TypeError, KeyError):
        return []  # not a sentence-transformers model
    return [path for folder in subfolders for path in _own_weights(folder)]


def _own_weights(folder: Path) -> list[Path]:
    """The file of one module's weights, the first of its kinds, if there is one."""
    kinds = ("model.safetensors", "pytorch_model.bin")
    return [folder / kind for kind in kinds if (folder / kind).is_file()][:1]


def _is_companion(path: Path) -> bool:
    name = path.name.lower()
    if name.endswith((".safetensors.index.json", ".bin.index.json")) or not path.is_file():
        return False
    stem_only = not path.suffix and name.startswith(_NO_SUFFIX)
    return (path.suffix.lower() in _TEXT or stem_only) and path.stat().st_size <= MAX_COMPANION


def _without_shards(folder: Path, files: list[Path]) -> list[Path]:
    """An index speaks for its shards; a file that Taut made is not the model it came from."""
    if any(folder.glob("*.safetensors.index.json")):
        return []
    originals = [path for path in files if not path.name.endswith(".taut.safetensors")]
    return originals or files
