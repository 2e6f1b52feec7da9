"""Equal tensors are stored once, if they were rounded alike: in training equal ones may part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Protocol, runtime_checkable

import numpy as np

from taut.transform import Grid, Indices


@runtime_checkable
class OnGrids(Protocol):
    """What quantises tensors to grids that it has already, by the tensors' names."""

    @property
    def grids(self) -> Mapping[str, Grid | Indices] | Mapping[str, Grid]:
        """The integers of tensors, and what they stand for."""


def rounded_alike(quantize: object, name: str, other: str) -> bool:
    """Whether two tensors of equal values and scheme come out alike: as far as grids tell."""
    if not isinstance(quantize, OnGrids):
        return True
    one, its = quantize.grids.get(name), quantize.grids.get(other)
    if one is its or one is None or its is None:
        return one is its
    return type(one) is type(its) and all(
        np.array_equal(getattr(one, field.name), getattr(its, field.name)) for field in fields(one)
    )
