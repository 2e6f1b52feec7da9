"""What a caller may name as a model: tensors at rest, or code that builds the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from taut.io.pytorch import is_module

if TYPE_CHECKING:
    import numpy as np
    import torch

Model: TypeAlias = (
    "str | Path | Mapping[str, np.ndarray] | Mapping[str, torch.Tensor] | torch.nn.Module"
)
"""A file, a folder, `file.py:function`, tensors by name, or a module."""


def without_masks(src: Model) -> tuple[Model, tuple[str, ...]]:
    """The source, of a module with pruning masks a copy with the weights they leave, and a note."""
    from taut.networks.pruned_weights import effective

    return effective(src) if is_module(src) else (src, ())


def built(src: Model) -> Model:
    """The source itself, or the module that a function of the user's file gives."""
    if isinstance(src, str | Path) and ".py:" in str(src):
        from taut.networks.callables import names_callable

        if names_callable(str(src)):
            from taut.networks import open_model

            return open_model(str(src)).source
    return src
