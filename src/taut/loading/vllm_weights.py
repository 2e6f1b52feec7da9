"""What vLLM gets of a Taut folder: the tensors of the original, decoded one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taut.container import open_taut
from taut.errors import ArgumentError
from taut.extras import need_extra
from taut.loading.arrays import TorchFile
from taut.machine import checked_threads

if TYPE_CHECKING:
    import torch

METHOD: Final = "taut"
"""As configs call it."""

_PATTERNS: Final = ("*.taut.safetensors", "*.taut.safetensors.index.json")


def taut_folder(model: str, revision: str | None, cache: str | None) -> Path:
    """The folder of a model: itself, or where its Taut files are once they are fetched."""
    if Path(model).is_dir():
        return Path(model)
    hub = need_extra("huggingface_hub", "hub", f"{model}: to fetch it takes")
    found = hub.snapshot_download(
        model, revision=revision, cache_dir=cache, allow_patterns=list(_PATTERNS)
    )
    return Path(found)


def decoded(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and tensors of a Taut folder.

    Raises:
        ArgumentError: it has no Taut file, or channels were removed, which no config says.
        FormatError, VerifyError: the file is damaged.
    """
    file = open_taut(folder, threads=checked_threads(None))
    if file.modules:
        raise ArgumentError(
            f"{folder}: channels were removed, which vLLM cannot know; load it into a module with "
            "taut.load(file, into=module)"
        )
    tensors = TorchFile(file)
    for name in tensors:
        yield name, tensors[name]
