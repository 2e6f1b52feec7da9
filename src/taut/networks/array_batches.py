"""Calibration arrays of a `.npz`, `.npy` or `.pt` file: tokens, or samples cut into batches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from taut.errors import ArgumentError
from taut.networks.array_files import read_arrays
from taut.networks.graph_batches import graph_batches
from taut.networks.text_batches import Batches, Reading
from taut.networks.token_arrays import are_tokens, token_batches

if TYPE_CHECKING:
    import torch

    from taut.networks.models import LoadedModel
    from taut.networks.text_data import TextData

ARRAY_SUFFIXES: Final = (".npz", ".npy", ".pt", ".pth")


def file_batches(path: Path, model: LoadedModel, data: TextData, reading: Reading) -> Batches:
    """The batches of a file of arrays: windows of tokens, or its samples.

    Raises:
        ArgumentError: the file cannot be read, or its arrays do not fit together or the network.
    """
    arrays = read_arrays(path)
    lone = next(iter(arrays.values())) if len(arrays) == 1 else None
    if lone is not None and are_tokens(lone, model, data):
        batches, notes = token_batches(lone, model, data, str(path), reading.progress)
        return batches[: reading.limit], notes
    options = ("length", "windows", "column", "blend", "generated")
    if asked := [name for name in options if getattr(data, name)]:
        raise ArgumentError(
            f"{path}: {asked[0]}: is of texts and tokens, and this holds arrays of samples"
        )
    return array_batches(path, arrays, model.module, reading.batch_size, reading.limit), ()


def array_batches(
    path: Path,
    arrays: dict[str, np.ndarray],
    module: torch.nn.Module,
    batch_size: int,
    limit: int | None,
) -> list[object]:
    """Batches of the arrays' samples (their first axis), in order.

    A single array becomes the one argument of the model, several become keyword arguments. Floats
    take the dtype of the model's parameters, integers stay as they are. For a graph, whose inputs
    have `input_shapes`, batches are cut as these want (`graph_batches`).

    Raises:
        ArgumentError: the file cannot be read, or an array is empty, of objects, or of another
            number of samples than the others.
    """
    import torch

    shapes = getattr(module, "input_shapes", None)
    count = _count(path, arrays, texts=bool(shapes))
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), None)

    def tensor(array: np.ndarray) -> torch.Tensor | np.ndarray:
        if array.dtype.kind == "U":
            return array.astype(object)
        found = torch.from_numpy(np.array(array, order="C"))
        return found.to(dtype) if dtype and found.is_floating_point() else found

    given = {name: array[:limit] for name, array in arrays.items()}
    if shapes:
        cut = graph_batches(given, shapes, batch_size, str(path))
        return [{name: tensor(part) for name, part in batch.items()} for batch in cut]
    tensors = {name: tensor(array) for name, array in given.items()}
    return _in_batches(tensors, min(count, limit or count), batch_size)


def _in_batches(tensors: Mapping[str, Any], count: int, batch_size: int) -> list[object]:
    """Batches of arguments by name; a lone one is given as it is."""
    batches: list[object] = []
    for begin in range(0, count, batch_size):
        batch = {name: one[begin : begin + batch_size] for name, one in tensors.items()}
        batches.append(batch if len(batch) > 1 else next(iter(batch.values())))
    return batches


def _count(path: Path, arrays: dict[str, np.ndarray], *, texts: bool) -> int:
    """How many samples each of the arrays has; a graph may take texts."""
    kinds = "biufU" if texts else "biuf"
    counts = {}
    for name, array in arrays.items():
        if array.dtype.kind not in kinds:
            raise ArgumentError(f'{path}: array "{name}" is {array.dtype}; save numbers')
        if array.ndim == 0:
            raise ArgumentError(f'{path}: array "{name}" is a lone number; its first axis counts '
                                "samples")  # fmt: skip
        counts[name] = len(array)
    if not counts or not max(counts.values()):
        raise ArgumentError(f"{path}: has no samples")
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise ArgumentError(f"{path}: the arrays differ in their number of samples ({told})")
    return next(iter(counts.values()))
