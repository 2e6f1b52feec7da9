"""Numbers and arrays of the user's, checked: finite, and of the right shape.

Each function raises an `ArgumentError` that begins with `where` unless they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, SupportsFloat, TypeAlias

import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError
from taut.io.pytorch import is_tensor, to_numpy

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

_RULED_OUT: Final = -1e300  # for minus infinity, which scikit-learn refuses


def read_number(value: object, where: str) -> float:
    """One finite number."""
    if isinstance(value, str | bytes) or not isinstance(value, SupportsFloat):
        raise ArgumentError(
            f"{where}: gave a {type(value).__name__}; it must give one number, higher is better"
        )
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):  # an array of several
        raise ArgumentError(f"{where}: gave several numbers; it must give one") from None
    if not math.isfinite(number):
        raise ArgumentError(f"{where}: gave {number}; it must give a finite number")
    return number


def is_array(value: object) -> bool:
    """Whether a value has axes; a 0-d tensor has none, and is a number."""
    if isinstance(value, list | tuple):
        return True
    return bool(getattr(value, "ndim", 0)) and not isinstance(value, str)


def read_array(value: object, where: str) -> np.ndarray:
    """Numbers of any shape, at least one; numpy's, lists or tensors."""
    if is_tensor(value):
        value = value.detach().cpu()
        value = to_numpy(value.double() if value.is_floating_point() else value)
    try:
        array = np.asarray(value)
    except ValueError:  # rows of several lengths
        raise ArgumentError(f"{where}: the rows differ in length") from None
    if array.dtype.kind not in "biuf":
        what = "texts" if array.dtype.kind in "US" else f"{array.dtype}"
        raise ArgumentError(f"{where}: are {what}; give numbers")
    if not array.size:
        raise ArgumentError(f"{where}: is empty; give at least one sample")
    return array


def read_floats(value: object, where: str, axes: int = 1) -> Floats:
    """Finite floats, one a sample."""
    array = read_array(value, where)
    if array.ndim != axes:
        raise ArgumentError(f"{where}: has shape {list(array.shape)}; give one number a sample")
    array = array.astype(np.float64)
    bad = ~np.isfinite(array)
    if bad.any():
        at = int(bad.argmax())
        raise ArgumentError(f"{where}: is {array[at]:g} at sample {at} ({bad.sum()} in all)")
    return array


def read_logits(value: object, where: str) -> Floats:
    """Logits (samples, classes); minus infinity is kept as the least of floats."""
    array = read_array(value, where)
    if array.ndim != 2 or array.shape[1] < 2:
        raise ArgumentError(
            f"{where}: has shape {list(array.shape)}; give (samples, classes), of two classes or "
            "more; reshape(-1, classes) puts positions among the samples"
        )
    array = array.astype(np.float64)
    # Minus infinity rules a class out, which is allowed unless it rules out all.
    bad = np.isnan(array).any(1) | (array == np.inf).any(1) | (array == -np.inf).all(1)
    if bad.any():
        at = int(bad.argmax())
        raise ArgumentError(f"{where}: not finite at sample {at} ({bad.sum()} such samples)")
    return np.asarray(np.maximum(array, _RULED_OUT))


def read_integers(value: object, where: str) -> Integers:
    """Whole numbers, one a sample."""
    array = read_array(value, where)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ArgumentError(f"{where}: has shape {list(array.shape)}; give one integer a sample")
    if array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.floor(array))).all():
        raise ArgumentError(f"{where}: are no integers")
    return array.astype(np.int64)


def read_names(value: object, where: str) -> tuple[str, ...]:
    """Names, each once."""
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        raise ArgumentError(f"{where}: is a {type(value).__name__}; give a list of names")
    names = tuple(str(name) for name in value)
    if len(set(names)) < len(names):
        raise ArgumentError(f"{where}: a name comes twice")
    return names


def want(arrays: Mapping[str, object], where: str, *names: str) -> None:
    """Check that arrays of these names were given."""
    for name in names:
        if name not in arrays:
            raise ArgumentError(f'{where}: gave "{next(iter(arrays))}"; give "{name}" too')


def same_length(where: str, **arrays: np.ndarray) -> None:
    """Check that two arrays have as many samples."""
    (one, first), (other, second) = arrays.items()
    if len(first) != len(second):
        raise ArgumentError(f"{where}: {len(first)} {one} and {len(second)} {other}")


def within(values: Integers, number: int, where: str) -> None:
    """Check that all are classes, of so many."""
    bad = (values < 0) | (values >= number)
    if bad.any():
        at = int(bad.argmax())
        raise ArgumentError(
            f"{where}: {values[at]} at sample {at} is no class: they go from 0 to {number - 1} "
            f"({bad.sum()} such samples)"
        )
