"""Matrices that a file holds once, since they are equal: they are rounded once, for all uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from taut.io import Source, TensorInfo
from taut.io.digest import Digest
from taut.scheme import Scheme


def twins_of(
    source: Source, infos: Sequence[TensorInfo], schemes: Mapping[str, Scheme]
) -> dict[str, str]:
    """Of these tensors those that equal an earlier one of the same scheme: their names to its."""
    first: dict[tuple[object, ...], str] = {}
    twins: dict[str, str] = {}
    for info in infos:
        values = source.load(info.name)
        digest = Digest()
        digest.add(values, info.name)
        key = (info.dtype, info.shape, str(schemes[info.name]), digest.text())
        one = first.setdefault(key, info.name)
        if one != info.name and np.array_equal(source.load(one), values):
            twins[info.name] = one
    return twins
