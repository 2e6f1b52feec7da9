"""Tensors decoded on a GPU, where that can be; the others come from the CPU."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from taut.container import TautFile
from taut.container.coded_arrays import Checked
from taut.io import TensorInfo

if TYPE_CHECKING:
    import torch

_BATCH = 1 << 29  # decoded bytes that are sent together: beside them lie symbols, half as many
_WORTH = 1 << 16  # bytes: what is smaller is decoded before a kernel starts
_TYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64", "I8": "int8",
          "I16": "int16", "I32": "int32", "I64": "int64", "U8": "uint8", "BOOL": "bool",
          "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}  # fmt: skip


def gpu_decoder_lacks(device: torch.device) -> str:
    """Why nothing is decoded on a device, with what to do where that helps; "" where it is."""
    if device.type != "cuda":
        return f"the kernels are for CUDA, not for {device.type}"
    try:
        import triton  # noqa: F401
    except ImportError:
        is_linux = sys.platform == "linux"  # there are no packages for others
        return "triton is not installed" + (": pip install 'taut[gpu]'" if is_linux else "")
    return ""


class GpuTensors:
    """Decodes tensors of a file on a device.

    What an encoder would not have written is found there, and told by the CPU's decoder, in its
    words: a file that is refused on a CPU is refused here.
    """

    def __init__(self, file: TautFile, device: torch.device) -> None:
        self._file, self._device, self._broken = file, device, False
        self._infos = {info.name: info for info in file.infos}

    def take(self, names: Sequence[str]) -> Iterator[tuple[str, torch.Tensor]]:
        """Name and tensor of those that are decoded on the device, some hundred MB at a time.

        Raises:
            VerifyError, FormatError: a tensor is damaged.
        """
        batch: list[tuple[str, Checked]] = []
        nbytes = 0
        for name in names:
            checked = self._coded(self._infos[name])
            if checked is None:
                continue
            if batch and nbytes + checked.nbytes > _BATCH:
                yield from self._decoded(batch)
                batch, nbytes = [], 0
            batch.append((name, checked))
            nbytes += checked.nbytes
        if batch:
            yield from self._decoded(batch)

    def _coded(self, info: TensorInfo) -> Checked | None:
        if self._broken or info.nbytes < _WORTH or info.dtype not in _TYPES:
            return None
        return self._file.coded(info.name)

    def _decoded(self, batch: list[tuple[str, Checked]]) -> Iterator[tuple[str, torch.Tensor]]:
        import torch

        from taut.coding.gpu import GpuBatch, GpuJob

        jobs = [GpuJob(checked.header, checked.chunks, checked.nbytes) for _, checked in batch]
        try:
            decoded = GpuBatch(jobs, self._device).decode()
        except Exception as error:  # no C compiler for Triton, too old a GPU, too little memory
            told = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            warnings.warn(f"device: decoded on the CPU, then copied: {told}", stacklevel=5)
            self._broken = True
            return
        for (name, _), found in zip(batch, decoded, strict=True):
            if found is not None:
                dtype = getattr(torch, _TYPES[self._infos[name].dtype])
                yield name, found.view(dtype).reshape(self._infos[name].shape)


def gpu_tensors(file: TautFile, device: torch.device | None) -> GpuTensors | None:
    """What decodes on a CUDA device; None, and a warning, where a GPU's tensors come by the CPU."""
    if device is None or device.type != "cuda":
        return None
    lacks = gpu_decoder_lacks(device)
    if lacks:
        warnings.warn(f"device: decoded on the CPU, then copied: {lacks}", stacklevel=4)
        return None
    return GpuTensors(file, device)
