"""Arrays of samples cut into the batches that a graph takes, whose axes may be fixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from taut.errors import ArgumentError

Shapes: TypeAlias = "Mapping[str, tuple[int | None, ...]]"
"""The shapes of a graph's inputs; None is an axis of any size."""


def graph_batches(
    arrays: Mapping[str, np.ndarray], shapes: Shapes, batch_size: int, where: str
) -> list[dict[str, np.ndarray]]:
    """The arrays as batches by the inputs' names; a lone array is the lone input's.

    Where each array has an axis more than its input, that axis counts batches. Else the first axis
    counts samples: `batch_size` of them are one batch, or as many as the graph wants at once; a
    rest that fills none is left out then. An input without axes gets the one number of its array.

    Raises:
        ArgumentError: the graph takes batches that such arrays cannot be cut into.

    >>> [one["x"].shape for one in graph_batches({"a": np.ones((5, 3))}, {"x": (2, 3)}, 16, "a")]
    [(2, 3), (2, 3)]
    """
    if len(arrays) == len(shapes) == 1:
        arrays = dict(zip(shapes, arrays.values(), strict=True))
    known = {name: shape for name, shape in shapes.items() if name in arrays}
    if _are_batches(arrays, known):
        count = len(next(iter(arrays.values())))
        return [{n: a[number] for n, a in arrays.items()} for number in range(count)]
    return _cut(arrays, known, batch_size, where)


def _are_batches(arrays: Mapping[str, np.ndarray], shapes: Shapes) -> bool:
    """Whether all arrays of a graph's inputs have one axis more than these."""
    return bool(shapes) and all(arrays[name].ndim == len(s) + 1 for name, s in shapes.items())


def _cut(
    arrays: Mapping[str, np.ndarray], shapes: Shapes, batch_size: int, where: str
) -> list[dict[str, np.ndarray]]:
    """Batches of as many samples as the graph wants; a lone number goes into each."""
    lone = _lone_numbers(arrays, shapes, where)
    cut = {name: array for name, array in arrays.items() if name not in lone}
    wanted = {name: shape[0] for name, shape in shapes.items() if shape and shape[0] is not None}
    count = len(next(iter(cut.values()), ()))
    size = _size(wanted, count, where) if wanted else batch_size
    ends = count - count % size if wanted else count
    return [
        {name: array[begin : begin + size] for name, array in cut.items()} | lone
        for begin in range(0, ends, size)
    ]


def _lone_numbers(
    arrays: Mapping[str, np.ndarray], shapes: Shapes, where: str
) -> dict[str, np.ndarray]:
    """What goes into inputs without axes."""
    return {name: _lone(arrays[name], name, where) for name, shape in shapes.items() if not shape}


def _lone(array: np.ndarray, name: str, where: str) -> np.ndarray:
    if array.ndim == 1 and len(array) and (array == array[0]).all():
        return np.asarray(array[0])
    raise ArgumentError(
        f'{where}: input "{name}" is a single number, and the array has several; save one number '
        "again and again, or give file.py:function that gives batches"
    )


def _size(wanted: Mapping[str, int | None], count: int, where: str) -> int:
    """How many samples the graph wants at once."""
    told = ", ".join(f"{name}: {size}" for name, size in wanted.items())
    sizes = {size for size in wanted.values() if size}
    if len(sizes) != 1:
        raise ArgumentError(
            f"{where}: the graph fixes the first axes of its inputs ({told}); save arrays with one "
            "axis more, in front, that counts batches"
        )
    (size,) = sizes
    if count < size:
        raise ArgumentError(
            f"{where}: the graph takes {size} samples at once ({told}), and there are {count}; "
            "save as many"
        )
    return size


def is_fixed(shapes: Shapes) -> bool:
    """Whether a batch for such inputs may not be cut.

    >>> is_fixed({"x": (4, 3)}), is_fixed({"x": (None, 3)})
    (True, False)
    """
    return any(shape and shape[0] is not None for shape in shapes.values())
