"""Where a report's numbers come from: names, hashes and versions, and no paths."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path
from typing import Final

import numpy as np

from taut.container import TautFile
from taut.io import Source
from taut.io.identity import model_identity
from taut.io.staged import told_name
from taut.io.tree import TREE_NAME

_BLOCK: Final = 1 << 20
# Of every folder, which then has the better name.
_MODELS: Final = ("model.taut.safetensors", "model.taut.safetensors.index.json", TREE_NAME)
_SHORT: Final = 200  # characters of metadata that are shown


def name_of(path: Path) -> str:
    """What to call the model."""
    name = told_name(path.parent) if path.name in _MODELS else path.name
    return name.removesuffix(".safetensors").removesuffix(".taut")


def provenance_of(file: TautFile, source: Source | None) -> dict[str, str]:
    """Names, hashes and versions; no paths, which are nobody's business but the machine's."""
    what = "file" if file.parts[0] is file else "index of its files"
    found = {
        "file": file.path.name,
        f"SHA-256 of the {what}": _sha256(file.path),
        **{
            f"metadata: {key}": text
            for key, text in file.index.origin.metadata.items()
            if len(text) <= _SHORT
        },
    }
    if source is not None:
        found["original"] = Path(source.identity).name
        found["XXH3 of the original's tensors"] = model_identity(source)
    return {**found, **versions()}


def versions() -> dict[str, str]:
    """What writes the page."""
    from taut.version import __version__

    told = f"Taut {__version__}, Python {platform.python_version()}, numpy {np.__version__}"
    return {"report written by": told}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
