"""Arrays from a file: `.npz` and `.npy` of numpy, `.pt` of PyTorch."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from taut.errors import ArgumentError
from taut.io.names import nearest
from taut.io.pytorch import is_tensor
from taut.networks.calls import told

if TYPE_CHECKING:
    import torch


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by their names; the one of a `.npy`, or a lone tensor, has none.

    Raises:
        ArgumentError: there is no such file, it cannot be read, or holds Python objects.
    """
    if not path.is_file():
        beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ArgumentError(f"{path}: no such file{nearest(path.name, beside)}")
    if path.suffix.lower() == ".npy":
        return _bare(path)
    return _archive(path) if path.suffix.lower() == ".npz" else _tensors(path)


def _bare(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file:
            if file.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
                raise ArgumentError(f"{path}: is no array of numpy; save it with numpy.save")
        return {"": np.load(path, mmap_mode="r", allow_pickle=False)}
    except (OSError, ValueError, EOFError) as error:
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise ArgumentError(
                f"{path}: holds Python objects, as rows of different lengths are; save one row of "
                "numbers, or rows of one length"
            ) from None
        raise ArgumentError(f"{path}: cannot be read ({error})") from None


def _tensors(path: Path) -> dict[str, np.ndarray]:
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what the loader of PyTorch raises is not told
        raise ArgumentError(f"{path}: cannot be read as tensors ({told(error)})") from None
    named = found if isinstance(found, Mapping) else {"": found}
    arrays = {str(name): tensor for name, tensor in named.items() if is_tensor(tensor)}
    if not arrays or len(arrays) < len(named):
        raise ArgumentError(f"{path}: holds a {type(found).__name__}; save one tensor, or a dict")
    return {name: _as_array(tensor) for name, tensor in arrays.items()}


def _as_array(tensor: torch.Tensor) -> np.ndarray:
    import torch

    narrow = tensor.dtype == torch.bfloat16  # which numpy has not
    return (tensor.float() if narrow else tensor).numpy()


def _archive(path: Path) -> dict[str, np.ndarray]:
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
