"""The schemes that runtimes execute, carried out on one tensor without data: mask, then grid."""

from __future__ import annotations

from typing import Final

import numpy as np

from laconic.errors import ArgumentError
from laconic.scheme import Scheme
from laconic.transform.codebook import codebook
from laconic.transform.grid import Grid
from laconic.transform.lowbit import binary, fp8, integers, ternary
from laconic.transform.mask import Mask, magnitude, n_of_m, unstructured

INTEGERS: Final = {"int8": 8, "int4": 4, "int3": 3, "int2": 2}
GRIDS: Final = (*INTEGERS, "fp8", "ternary", "binary", "codebook")

_FRACTION = 4  # scales are powers of 2^(1/16): a byte each


def scheme_mask(values: np.ndarray, scheme: Scheme, name: str = "the tensor") -> Mask | None:
    """The scheme's mask by magnitude; None if it has none.

    Raises:
        ArgumentError: it would empty the tensor, or M does not divide its columns.
    """
    if scheme.n_of_m is not None:
        return n_of_m(magnitude(values), *scheme.n_of_m, name=name)
    if scheme.sparsity is not None:
        return unstructured(magnitude(values), scheme.sparsity, name=name)
    return None


def masked(values: np.ndarray, mask: Mask | None) -> np.ndarray:
    """The values, of their own dtype, with zeros where the mask is not True."""
    if mask is None:
        return values
    kept: np.ndarray = np.where(mask, values, values.dtype.type(0))
    return kept


def make_grid(values: np.ndarray, scheme: Scheme, mask: Mask | None = None) -> Grid:
    """Round finite floats of any shape to the grid that a scheme of `GRIDS` names.

    Integers, ternary, binary and fp8 have a scale a row, or a group; a codebook is one a tensor.

    >>> make_grid(np.array([[7.0, 3.4, 0.2]]), Scheme("int4")).values(np.dtype("f4")).tolist()
    [[7.0, 3.0, 0.0]]

    Raises:
        ArgumentError: a group does not divide the columns, or a value is above float32's range.
    """
    with np.errstate(over="ignore"):
        weights = np.asarray(values, np.float32)
    if not np.isfinite(weights).all():
        raise ArgumentError("values above 3.4e38 are on no grid; leave the tensor lossless")
    kind, group = scheme.kind, scheme.group_size
    if kind in INTEGERS:
        asymmetric = scheme.asymmetric
        return integers(
            weights,
            INTEGERS[kind],
            group=group,
            asymmetric=asymmetric,
            mask=mask,
            fraction=_FRACTION,
        )
    if kind == "ternary":
        return ternary(weights, mask=mask, fraction=_FRACTION)
    if kind == "binary":
        return binary(weights, mask=mask, fraction=_FRACTION)
    if kind == "codebook":
        return codebook(weights, scheme.entries or 2, mask=mask)
    if kind == "fp8":
        return fp8(weights, mask=mask)
    raise ArgumentError(f"scheme {scheme}: {kind} names no grid; one of {', '.join(GRIDS)}")
