"""Calibration arrays of a `.npz` file, cut into batches of samples."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from taut.errors import ArgumentError
from taut.io.names import nearest
from taut.networks.graph_batches import graph_batches

if TYPE_CHECKING:
    import torch


def array_batches(
    path: Path, module: torch.nn.Module, batch_size: int, limit: int | None
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

    arrays = _read(path)
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


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ArgumentError(f"{path}: no such file{nearest(path.name, beside)}")
    name = ""
    try:
        _check_archive(path)
        arrays = {}
        with zipfile.ZipFile(path) as archive, np.load(path, allow_pickle=False) as file:
            for name in file.files:
                if _has_objects(archive, name):
                    raise ArgumentError(
                        f'{path}: array "{name}" holds Python objects; save plain numbers'
                    )
                arrays[name] = file[name]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        what = f'array "{name}" ' if name else ""
        raise ArgumentError(f"{path}: {what}cannot be read ({error})") from None
    return arrays


def _check_archive(path: Path) -> None:
    """Refuse by its first bytes what numpy would take for an array, or for a pickle."""
    with path.open("rb") as file:
        begin = file.read(len(np.lib.format.MAGIC_PREFIX))
    if begin == np.lib.format.MAGIC_PREFIX:
        raise ArgumentError(f"{path}: holds one bare array; save it with numpy.savez")
    if not begin.startswith(b"PK"):
        raise ArgumentError(f"{path}: is no archive of arrays; save it with numpy.savez")


def _has_objects(archive: zipfile.ZipFile, name: str) -> bool:
    """Whether an array's header says that it is of Python objects, which only pickle can hold."""
    member = name if name in archive.namelist() else f"{name}.npy"
    with archive.open(member) as data:
        version = np.lib.format.read_magic(data)
        if version == (1, 0):
            return bool(np.lib.format.read_array_header_1_0(data)[2].hasobject)
        return bool(np.lib.format.read_array_header_2_0(data)[2].hasobject)


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
