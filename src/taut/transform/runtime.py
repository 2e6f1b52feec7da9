"""The schemes that runtimes execute, carried out on one tensor without data: mask, then grid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError
from taut.scheme import Scheme
from taut.transform.codebook import codebook, levels_of_blocks, onto_levels
from taut.transform.float4 import GROUPS, float4
from taut.transform.grid import Grid
from taut.transform.lowbit import at_step, binary, fp8, integers, lowest, one_step, ternary
from taut.transform.mask import Mask, magnitude, n_of_m, unstructured
from taut.transform.obs import Bounds, prune_matrix, round_onto
from taut.transform.rounding import FactoredForms

INTEGERS: Final = {"int8": 8, "int4": 4, "int3": 3, "int2": 2}
GRIDS: Final = (*INTEGERS, "fp8", *GROUPS, "ternary", "binary", "codebook")

BLOCK: Final = 1 << 20
"""Values that are looked at together where all of a tensor count."""

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


@dataclass(frozen=True)
class WholeTensor:
    """What a grid has to know of all of a tensor where it is made of some rows of it.

    The step of a grid that has one; the levels of a codebook; the largest magnitude.
    """

    step: float | None = None
    levels: NDArray[np.float32] | None = None
    largest: float | None = None


Blocks = Callable[[], Iterable[tuple[np.ndarray, Mask | None]]]
"""Gives the values of a tensor, flat, and which of them stay, `BLOCK` at a time, in every pass."""


def look_at_whole(blocks: Blocks, scheme: Scheme) -> WholeTensor:
    """Look at all values of a tensor as often as its scheme takes; the values are finite.

    >>> scheme = Scheme("int8", per_tensor=True)
    >>> look_at_whole(lambda: [(np.array([127.0, 3.4]), None)], scheme).step
    1.0
    """
    kind = scheme.kind

    def left() -> Iterator[np.ndarray]:
        return (masked(values, mask) for values, mask in blocks())

    if scheme.per_tensor:
        return WholeTensor(step=one_step(left, INTEGERS[kind]))
    if kind == "codebook":
        kept = (values if mask is None else values[mask] for values, mask in blocks())
        sparse = (scheme.sparsity, scheme.n_of_m) != (None, None)
        levels = levels_of_blocks(kept, (scheme.entries or 2) - sparse)
        return WholeTensor(levels=levels.astype(np.float32))
    if kind in GROUPS:
        return WholeTensor(largest=max(float(np.abs(values).max()) for values in left()))
    return WholeTensor()


def make_grid(
    values: np.ndarray,
    scheme: Scheme,
    mask: Mask | None = None,
    whole: WholeTensor = WholeTensor(),
) -> Grid:
    """Round finite floats of any shape to the grid that a scheme of `GRIDS` names.

    Integers, ternary, binary and fp8 have a scale a row, or a group, or one a tensor where the
    scheme says so; a codebook is one a tensor. Of some rows of a tensor `whole` tells what
    `look_at_whole` has found in all of it.

    >>> make_grid(np.array([[7.0, 3.4, 0.2]]), Scheme("int4")).values(np.dtype("f4")).tolist()
    [[7.0, 3.0, 0.0]]

    Raises:
        ArgumentError: a group does not divide the columns, or a value is above float32's range.
    """
    with np.errstate(over="ignore"):
        weights = np.asarray(values, np.float32)
    if not np.isfinite(weights).all():
        raise ArgumentError("values above 3.4e38 are on no grid; leave the tensor lossless")
    kind = scheme.kind
    if scheme.per_tensor:
        return _of_one_scale(masked(weights, mask), INTEGERS[kind], whole.step)
    if kind in INTEGERS:
        return integers(
            weights,
            INTEGERS[kind],
            group=scheme.group_size,
            asymmetric=scheme.asymmetric,
            mask=mask,
            fraction=_FRACTION,
        )
    if kind == "ternary":
        return ternary(weights, mask=mask, fraction=_FRACTION)
    if kind == "binary":
        return binary(weights, mask=mask, fraction=_FRACTION)
    if kind == "codebook":
        return _on_codebook(weights, scheme.entries or 2, mask, whole.levels)
    if kind == "fp8":
        return fp8(weights, mask=mask)
    if kind in GROUPS:
        return float4(weights, kind, mask=mask, largest=whole.largest)
    raise ArgumentError(f"scheme {scheme}: {kind} names no grid; one of {', '.join(GRIDS)}")


def _on_codebook(
    weights: NDArray[np.float32],
    entries: int,
    mask: Mask | None,
    levels: NDArray[np.float32] | None,
) -> Grid:
    if levels is not None:
        return onto_levels(weights, levels, mask)
    return codebook(weights, entries, mask=mask)


def _of_one_scale(weights: NDArray[np.float32], bits: int, step: float | None) -> Grid:
    if step is None:
        flat = weights.reshape(-1)
        step = one_step(lambda: (flat[at : at + BLOCK] for at in range(0, flat.size, BLOCK)), bits)
    return Grid(at_step(weights, step, bits), step=step)


def calibrated_grid(values: np.ndarray, scheme: Scheme, metric: FactoredForms) -> Grid:
    """As `make_grid`, with mask and rounding by a matrix's metric, errors fed forward.

    First the mask, whose zeros the other weights make good; then the grid that fits these best;
    then one pass that makes good both. Rows are those of the metric: the first axis, or several of
    each of its entries.

    Raises:
        ArgumentError: as `make_grid`, or the mask does not fit.
    """
    mask, fitted = None, values
    if scheme.sparsity is not None or scheme.n_of_m is not None:
        rows = np.asarray(values, np.float32).reshape(len(metric.rows.weights), -1)
        pruned = prune_matrix(rows, metric, sparsity=scheme.sparsity, n_m=scheme.n_of_m)
        mask, fitted = pruned.mask.reshape(values.shape), pruned.values.reshape(values.shape)
    grid = make_grid(fitted, scheme, mask)
    return round_onto(values, metric, grid, _bounds(scheme, grid), mask)


def _bounds(scheme: Scheme, grid: Grid) -> Bounds | None:
    """The least and largest index of each group; None where there are signs alone."""
    if scheme.kind in ("binary", "fp8", "codebook", *GROUPS):  # signs alone, or levels
        return None
    shape = (len(grid.matrix), 1) if grid.scales is None else grid.scales.shape
    if scheme.kind not in INTEGERS:
        return np.full(shape, -1), np.full(shape, 1)
    bits = INTEGERS[scheme.kind]
    if scheme.asymmetric:  # any zero point that the fitted indices allow
        low = np.minimum(grid.matrix.reshape(*shape, -1).min(axis=2), 0)
        return low, low + 2**bits - 1
    return np.full(shape, lowest(bits)), np.full(shape, 2 ** (bits - 1) - 1)
