"""What enters a block, for all batches: in memory, or in a file that vanishes."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _Entry:
    """A tensor of a file: where it begins, how it was, and how it is written."""

    offset: int
    shape: torch.Size
    dtype: torch.dtype
    written: torch.dtype


class Shelf:
    """Tensors, one after the other, by number; on the CPU.

    In memory as they are; in a file of `folder` (None: where temporary files lie), `narrow` as
    bfloat16, which keeps a float32's range and two of its digits. The file has no name.
    """

    def __init__(self, *, spill: bool, folder: Path | None = None, narrow: bool = False) -> None:
        self.spilled, self._folder, self._narrow = spill, folder, narrow
        self.values = 0  # of all tensors together
        self._held: list[torch.Tensor] = []
        self._entries: list[_Entry] = []
        self._file: Any = None
        self._end = 0

    @property
    def plain(self) -> bool:
        """Whether all tensors are of dtypes that numpy has."""
        import torch

        dtypes = {*(one.dtype for one in self._held), *(one.dtype for one in self._entries)}
        return torch.bfloat16 not in dtypes

    def put(self, tensor: torch.Tensor) -> None:
        """Add a tensor."""
        import torch

        tensor = tensor.detach().cpu()
        self.values += tensor.numel()
        if not self.spilled:
            self._held.append(tensor)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(  # noqa: SIM115  # closed by `close`
                prefix="taut-", dir=self._folder, buffering=0
            )
        written = torch.bfloat16 if self._narrow and tensor.dtype == torch.float32 else tensor.dtype
        values = tensor.to(written).contiguous().view(-1).view(torch.uint8).numpy()
        self._file.seek(self._end)
        self._file.write(values.data)
        self._entries.append(_Entry(self._end, tensor.shape, tensor.dtype, written))
        self._end += values.nbytes

    def get(self, number: int) -> torch.Tensor:
        """A tensor as it was put in; of a file a copy."""
        import torch

        if not self.spilled:
            return self._held[number]
        entry = self._entries[number]
        count = entry.shape.numel() * entry.written.itemsize
        values = np.empty(count, np.uint8)
        self._file.seek(entry.offset)
        self._file.readinto(values.data)
        found = torch.from_numpy(values).view(entry.written).view(entry.shape)
        return found.to(entry.dtype)

    def close(self) -> None:
        """Let go of the tensors, and of the disk they take."""
        self._held.clear()
        if self._file is not None:
            self._file.close()
            self._file = None
