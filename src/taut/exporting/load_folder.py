"""A written folder loaded as its user will load it, and scored where that was asked."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from taut.container import TautFile
from taut.errors import ArgumentError, VerifyError
from taut.exporting.scored import scored
from taut.exporting.transformers_network import can_load
from taut.networks import LoadedModel, open_model

if TYPE_CHECKING:
    import torch


def load_folder(
    folder: Path, file: TautFile, score: Callable[[torch.nn.Module], object] | None
) -> tuple[str, ...]:
    """Load the folder with transformers, if it is there; what it made of it, as notes.

    Raises:
        VerifyError: it cannot be loaded.
    """
    if score is None and not can_load():
        return ("transformers (and torch) is not installed, and was not asked to load the folder",)
    if not score and 2 * (need := _nbytes(file)) > psutil.virtual_memory().available:
        return (f"not loaded by transformers: that takes {need / 1e9:.0f} GB of memory",)
    try:
        loaded = open_model(folder)
    except ArgumentError as error:
        pruned = "; it was pruned, and its config says the old widths" if file.modules else ""
        raise VerifyError(f"{error}{pruned}; export a .safetensors file, which needs no config"
                          ) from error  # fmt: skip
    notes = _names(loaded)
    if score is not None:
        name, value = scored(loaded.module, score)
        notes.append(f"{name} {value:.4f}")
    return tuple(notes)


def _names(loaded: LoadedModel) -> list[str]:
    """Which tensors the network took, and which it did not know, or missed."""
    notes = [f"transformers {version('transformers')} loads it: {len(loaded.names)} tensors, each "
             "with the values of the file"]  # fmt: skip
    for names, told in ((loaded.unmapped, "are not in its network"),
                        (loaded.missing, "of its network are not in the file")):  # fmt: skip
        if names:
            notes.append(f"{len(names)} tensors {told}: {', '.join(names[:3])}")
    return notes


def _nbytes(file: TautFile) -> int:
    """What the network takes as float32, in bytes."""
    return sum(4 * prod(info.shape) for info in file.infos)
