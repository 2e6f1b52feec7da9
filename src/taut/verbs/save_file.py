"""The verb `save_file`: a dict of tensors to a Taut file, as safetensors' function of that name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from taut.errors import ArgumentError
from taut.io.in_memory import Tagged
from taut.verbs.compress import Result, compress

if TYPE_CHECKING:
    import numpy as np
    import torch

    from taut.coding import Effort
    from taut.io.file_objects import BinaryFile
    from taut.planning.as_plan import PlanSpec
    from taut.scheme import Scheme

__all__ = ["save_file"]


def save_file(
    tensors: Mapping[str, np.ndarray] | Mapping[str, torch.Tensor],
    filename: str | Path | BinaryFile,
    metadata: Mapping[str, str] | None = None,
    *,
    bits: float | str | None = None,
    size: str | int | None = None,
    ratio: float | str | None = None,
    scheme: str | Scheme | None = None,
    plan: PlanSpec | None = None,
    effort: Effort | None = None,
    threads: int | None = None,
) -> Result:
    """Write tensors, and texts beside them, to a Taut file; bit-exact unless less is asked for.

    As safetensors' `save_file` does, it replaces the file that is there, once the new one is whole.
    `bits`, `size`, `ratio`, `scheme`, `plan` and what is raised are as in `compress`.

    >>> import io, numpy as np
    >>> save_file({"w": np.zeros((64, 64), "f4")}, io.BytesIO(), {"format": "np"}).parameters
    4096
    """
    if not isinstance(tensors, Mapping):
        raise ArgumentError(
            f"tensors: a {type(tensors).__name__}; give a dict of name to tensor, or use compress"
        )
    return compress(
        Tagged(tensors, _texts(metadata)),
        filename,
        bits=bits,
        size=size,
        ratio=ratio,
        scheme=scheme,
        plan=plan,
        effort=effort,
        threads=threads,
        force=True,
    )


def _texts(metadata: object) -> dict[str, str]:
    """The texts to write; raises ArgumentError if they are none."""
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise ArgumentError(f"metadata: a {type(metadata).__name__}; give a dict of texts")
    for key, text in metadata.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise ArgumentError(f"metadata: {key!r}: {text!r} is not a text for a text")
    return dict(metadata)
