"""The verb `diff`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from taut.analysis.differences import Differences, differences
from taut.container import BaseSpec, open_base
from taut.container.through_stores import through_stores
from taut.display import displayed
from taut.io.staged import told_paths
from taut.loading.gguf_by_network import compared

if TYPE_CHECKING:
    from taut.io.file_objects import BinaryFile
    from taut.progress import Shown

__all__ = ["Differences", "diff"]


@through_stores(("first", "second"))
def diff(
    first: BaseSpec | BinaryFile | bytes,
    second: BaseSpec | BinaryFile | bytes,
    *,
    progress: Shown = True,
) -> Differences:
    """Say which tensors differ between two models, and how far.

    Each is a Taut file, or anything that `taut.compress` reads: a file, a folder, shards, a dict of
    arrays, an open file. A tensor that is new under its name and equals one that is no more counts
    as renamed. Low-bit weights, and the blocks of GGUF, are compared as the floats that they stand
    for, unless both models hold them in the same form. A GGUF model beside one with the names of
    its network is compared as transformers reads it.

    Raises:
        ArgumentError: there is no such model.
        FormatError, VerifyError: a file is damaged.

    >>> import numpy as np
    >>> diff({"w": np.zeros(3)}, {"w": np.zeros(3)}).alike
    True
    """
    models = open_base(cast("BaseSpec", first)), open_base(cast("BaseSpec", second))
    with compared(*models) as (one, other, notes), displayed(progress) as step:
        found = differences(one, other, step)
    return replace(
        found,
        first=told_paths(found.first),
        second=told_paths(found.second),
        notes=(*found.notes, *map(told_paths, notes)),
    )
