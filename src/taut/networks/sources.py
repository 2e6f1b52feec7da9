"""What a caller may name as a model: tensors at rest, or code that builds the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from taut.errors import ArgumentError
from taut.io.checkpoint_parts import ALL, WholeCheckpoint, choose_part
from taut.io.model_file import ModelFile, path_of
from taut.io.pytorch import is_module

if TYPE_CHECKING:
    import numpy as np
    import torch

Model: TypeAlias = (
    "str | Path | ModelFile | Mapping[str, np.ndarray] | Mapping[str, torch.Tensor] | "
    "torch.nn.Module"
)
"""A file, a folder, `file.py:function`, tensors by name, or a module."""


def without_masks(src: Model) -> tuple[Model, tuple[str, ...]]:
    """The source, of a module with pruning masks a copy with the weights they leave, and a note."""
    from taut.networks.pruned_weights import effective

    return effective(src) if is_module(src) else (src, ())


def chosen(src: Model, key: str | None, *, strict: bool = False) -> Model:
    """A model with the part of a checkpoint that `key` names, and shards held to their index.

    Raises:
        ArgumentError: there is a key, and the model is no checkpoint, or has no such part.
    """
    if key is None and not strict:
        return src
    if isinstance(src, Mapping) and key == ALL:
        return WholeCheckpoint(src)  # type: ignore[return-value]  # opened as what it is
    if isinstance(src, Mapping) and key is not None:
        return choose_part(src, key, f"dict of {len(src)} entries").tensors  # type: ignore[return-value]  # checked where it is opened
    path = path_of(src)
    if path is not None and not isinstance(src, ModelFile) and ".py:" not in str(path):
        return ModelFile(path, key, strict)
    if key is not None:
        raise ArgumentError(
            f"key (--key) {key!r}: names a part of a PyTorch checkpoint, and the model is none; "
            "leave it out"
        )
    return src


def built(src: Model) -> Model:
    """The source itself, or the module that a function of the user's file gives."""
    if isinstance(src, str | Path) and ".py:" in str(src):
        from taut.networks.callables import names_callable

        if names_callable(str(src)):
            from taut.networks import open_model

            return open_model(str(src)).source
    return src
