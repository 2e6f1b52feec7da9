"""Tensors of a Taut file as torch tensors, or as arrays of another dtype."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from taut.container import TautFile
from taut.container.reader import Reader
from taut.errors import ArgumentError
from taut.extras import need_extra
from taut.io import SAFETENSORS_DTYPES, TensorInfo
from taut.loading.on_gpu import gpu_tensors

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


_FLOATS = ("F64", "F32", "F16", "BF16")
_Given = TypeVar("_Given")


class _Within(Reader[_Given]):
    """What gives the tensors of a file in another form; `file` is that Taut file.

    Of a GGUF model `tensors` are its numbers, which are then given.
    """

    def __init__(self, file: TautFile, tensors: GgufTensors | None = None) -> None:
        self.file = file
        self._tensors: TautFile | GgufTensors = file if tensors is None else tensors
        self._dtypes = {info.name: info.dtype for info in self._tensors.infos}

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self.file.path

    @property
    def infos(self) -> tuple[TensorInfo, ...]:
        """Name, dtype, shape and bytes of each tensor as the file has it."""
        return self._tensors.infos

    def metadata(self) -> dict[str, str] | None:
        """What the original's header says beside its tensors."""
        return self._tensors.metadata()

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()

    def __iter__(self) -> Iterator[str]:
        """The names, in the model's order."""
        return iter(self._tensors)

    def __len__(self) -> int:
        """How many tensors there are."""
        return len(self._tensors)

    def __contains__(self, name: object) -> bool:
        """Whether there is a tensor of this name; decodes nothing."""
        return name in self._tensors

    @abstractmethod
    def _formed(self, array: np.ndarray, name: str) -> _Given:
        """Decoded values in the form in which they are given."""

    def __getitem__(self, name: str) -> _Given:
        """Decode one tensor."""
        return self._formed(self._tensors[name], name)

    def span(self, name: str, begin: int, end: int) -> _Given:
        """The values of one tensor from `begin` to `end`, flat."""
        return self._formed(self._tensors.span(name, begin, end), name)

    def tensors(self) -> Iterator[tuple[str, _Given]]:
        """Names and tensors in order, one decoded at a time."""
        for name in self:
            yield name, self[name]

    def load_all(self, *, threads: int | None = None) -> dict[str, _Given]:
        """Decode all tensors at once; those whose form does not change share one block."""
        arrays = self._tensors.load_all(threads=threads)
        return {name: self._formed(array, name) for name, array in arrays.items()}


class TorchFile(_Within["torch.Tensor"]):
    """The tensors of a Taut file by name as torch tensors, decoded when asked for.

    They are on the CPU, or on `device`; floats are of `dtype` if one is given. On a CUDA device
    large tensors are decoded by it, if triton is installed; a warning says where it is not.

    Raises:
        ArgumentError: torch has no such device or dtype, or is not installed.
    """

    def __init__(
        self,
        file: TautFile,
        tensors: GgufTensors | None = None,
        *,
        device: object = None,
        dtype: object = None,
    ) -> None:
        need_extra("torch", "torch", "this takes")
        super().__init__(file, tensors)
        self._device = None if device is None else torch_device(device)
        self._dtype = None if dtype is None else torch_dtype(dtype)
        self._gpu = gpu_tensors(file, self._device) if tensors is None else None

    def _formed(self, array: np.ndarray, name: str) -> torch.Tensor:
        return self._cast(to_torch(array, self._dtypes[name]), name)

    def _cast(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        dtype = self._dtype if self._dtypes[name] in _FLOATS else None
        return tensor.to(device=self._device, dtype=dtype)

    def __getitem__(self, name: str) -> torch.Tensor:
        """Decode one tensor."""
        if self._gpu is not None and name in self:
            for _, tensor in self._gpu.take([name]):
                return self._cast(tensor, name)
        return super().__getitem__(name)

    def load_all(self, *, threads: int | None = None) -> dict[str, torch.Tensor]:
        """Decode all tensors at once; those whose form does not change share one block.

        What a GPU does not decode is decoded one after the other then.
        """
        if self._gpu is None:
            return super().load_all(threads=threads)
        found = {name: self._cast(one, name) for name, one in self._gpu.take(list(self))}
        return {name: found[name] if name in found else super(TorchFile, self).__getitem__(name)
                for name in self}  # fmt: skip


class ArrayFile(_Within[np.ndarray]):
    """The tensors of a Taut file by name as arrays, floats of one `dtype`."""

    def __init__(
        self, file: TautFile, tensors: GgufTensors | None = None, *, dtype: object
    ) -> None:
        super().__init__(file, tensors)
        self._dtype = array_dtype(dtype)

    def _formed(self, array: np.ndarray, name: str) -> np.ndarray:
        return array.astype(self._dtype, copy=False) if self._dtypes[name] in _FLOATS else array


def torch_device(device: object, said: str = "device") -> torch.device:
    """A device of torch ("cpu", "cuda:0", 0) that is there; errors call it as it was `said`.

    Raises:
        ArgumentError: it is none, or this machine has none such.
    """
    import torch

    try:
        found = torch.device(device)  # type: ignore[call-overload]
        torch.empty(0, device=found)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        told = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ArgumentError(f"{said}: {device!r} cannot be used here ({told})") from None
    return torch.device(found)


def torch_dtype(dtype: object) -> torch.dtype:
    """A float dtype of torch, by itself or by its name ("float16", "bfloat16").

    Raises:
        ArgumentError: it is none.
    """
    import torch

    name = dtype.removeprefix("torch.") if isinstance(dtype, str) else ""
    found = getattr(torch, name, None) if name else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ArgumentError(f"dtype: {dtype!r} is no {_FLOAT_DTYPE}, as torch.float16")
    return found


_FLOAT_DTYPE = 'dtype of floats; give "float32", "float16" or "bfloat16"'


def array_dtype(dtype: object) -> np.dtype:
    """A float dtype of arrays, by itself or by its name ("float16", "bfloat16").

    Raises:
        ArgumentError: it is none.
    """
    known = {str(one): one for one in map(SAFETENSORS_DTYPES.__getitem__, _FLOATS)}
    try:
        found = known.get(str(dtype).removeprefix("torch."))
        return found if found is not None else known[str(np.dtype(dtype))]  # type: ignore[call-overload]
    except (TypeError, KeyError, ValueError):
        raise ArgumentError(f"dtype: {dtype!r} is no {_FLOAT_DTYPE}") from None


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
