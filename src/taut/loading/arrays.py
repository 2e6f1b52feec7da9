"""Tensors of a Taut file as torch tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from taut.container import TautFile
from taut.errors import ArgumentError
from taut.extras import need_extra
from taut.io import SAFETENSORS_DTYPES, TensorInfo

if TYPE_CHECKING:
    import torch

    from taut.loading.gguf_tensors import GgufTensors

# torch has its own types where numpy has none of its own: they pass as integers of their width.
TORCH_TYPES = {
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
}


class TorchFile(Mapping[str, "torch.Tensor"]):
    """The tensors of a Taut file by name as torch tensors on the CPU, decoded when asked for.

    Of a GGUF model `tensors` are its numbers, which are then given.
    """

    def __init__(self, file: TautFile, tensors: GgufTensors | None = None) -> None:
        need_extra("torch", "torch", "this takes")
        self.file = file
        self._tensors = file if tensors is None else tensors
        self._dtypes = {info.name: info.dtype for info in self._tensors.infos}

    def __getitem__(self, name: str) -> torch.Tensor:
        """Decode one tensor."""
        return to_torch(self._tensors[name], self._dtypes[name])

    def __iter__(self) -> Iterator[str]:
        """The names, in the model's order."""
        return iter(self._tensors)

    def __len__(self) -> int:
        """How many tensors there are."""
        return len(self._tensors)

    def __contains__(self, name: object) -> bool:
        """Whether there is a tensor of this name; decodes nothing."""
        return name in self._tensors

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Names and tensors in order, one decoded at a time."""
        for name in self:
            yield name, self[name]

    def load_all(self, *, threads: int | None = None) -> dict[str, torch.Tensor]:
        """Decode all tensors at once; they share one block of memory."""
        arrays = self._tensors.load_all(threads=threads)
        return {name: to_torch(array, self._dtypes[name]) for name, array in arrays.items()}


def to_torch(array: np.ndarray, dtype: str) -> torch.Tensor:
    """A torch tensor on the memory of `array`, which has the safetensors dtype `dtype`.

    Sub-byte dtypes stay packed bytes (uint8), but for float4, which torch has as pairs.
    """
    import torch

    if dtype not in TORCH_TYPES:
        return torch.from_numpy(array)
    integer = np.int16 if SAFETENSORS_DTYPES[dtype].itemsize == 2 else np.uint8
    name = TORCH_TYPES[dtype]
    if not hasattr(torch, name):
        raise ArgumentError(f"torch {torch.__version__} has no {name}; install a newer one")
    return torch.from_numpy(array.view(integer)).view(getattr(torch, name))


def tensors_of(file: TautFile) -> dict[str, torch.Tensor]:
    """The tensors by name, tied ones as one."""
    infos = {info.name: info for info in file.infos}
    found = {name: _tensor(values, infos[name]) for name, values in file.load_all().items()}
    for record in file.index.records:
        if record.tied and record.of:
            found[record.name] = found[record.of]
    return found


def _tensor(values: np.ndarray, info: TensorInfo) -> torch.Tensor:
    import torch

    if info.dtype != "F4":
        return to_torch(values, info.dtype)
    pairs = torch.from_numpy(values).view(torch.float4_e2m1fn_x2)
    return pairs.reshape(*info.shape[:-1], info.shape[-1] // 2)
