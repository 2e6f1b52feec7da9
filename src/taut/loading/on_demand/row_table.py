"""Rows of an embedding: those that a text asks for are decoded, and some of them kept."""

from __future__ import annotations

import threading
from typing import Protocol

import numpy as np
import torch
from torch.utils import _python_dispatch

from taut.container import RowReader
from taut.io.tensor_info import TensorInfo
from taut.loading.arrays import to_torch
from taut.loading.on_demand.kept_bytes import KeptBytes
from taut.loading.on_demand.kept_narrow import KeptNarrow
from taut.loading.on_demand.pool import Pool

_FEW = 4  # a look-up of more than one row in so many decodes the whole table
_SHARE = 16  # of the budget, to rows that are kept


class TableWeight(Protocol):
    """The weight of an embedding: what it is, and what is kept of it."""

    info: TensorInfo
    narrow: KeptNarrow | None


class RowTable:
    """Looks rows up; as many of the last as a part of the budget holds are kept.

    Where the weight's integers are kept, or rounded values, rows are made of them.
    """

    def __init__(
        self, weight: TableWeight, reader: RowReader, budget: KeptBytes, pool: Pool
    ) -> None:
        self._weight, self._info, self._reader = weight, weight.info, reader
        share = 0 if weight.narrow else min(self._info.nbytes, budget.nbytes // _SHARE)
        self._most = budget.take_some(share) // reader.row_nbytes
        self.begin_anew(pool)

    @property
    def nbytes(self) -> int:
        """Bytes of the rows that are kept."""
        return self._kept.nbytes

    def begin_anew(self, pool: Pool) -> None:
        """Forget all rows, in a process that was forked off too: its locks may be held."""
        self._pool, self._lock = pool, threading.Lock()
        self._numbers = np.empty(0, np.int64)  # sorted
        self._kept = self._reader.empty(0)

    def serves(self, args: tuple[object, ...], kwargs: dict[str, object]) -> bool:
        """Whether a call of the layer asks for few rows, by numbers that can be read here.

        All else (a trace, an export, another device, a number out of range) is for the layer's own
        forward with its whole weight.
        """
        if kwargs or len(args) != 1 or type(args[0]) is not torch.Tensor or _is_recorded():
            return False
        (ids,) = args
        assert isinstance(ids, torch.Tensor)
        if ids.device.type != "cpu" or ids.dtype not in (torch.int64, torch.int32):
            return False
        if torch._C._functorch.is_functorch_wrapped_tensor(ids):
            return False
        if not 0 < ids.numel() <= self._reader.rows // _FEW:
            return False
        return int(ids.min()) >= 0 and int(ids.max()) < self._reader.rows

    def look_up(self, ids: torch.Tensor) -> torch.Tensor:
        """The rows of these numbers, in their shape.

        Raises:
            VerifyError, FormatError: a chunk that holds one of them is damaged.
        """
        numbers, places = np.unique(ids.numpy().astype(np.int64), return_inverse=True)
        rows = to_torch(self._rows(numbers), self._info.dtype)
        return torch.nn.functional.embedding(torch.from_numpy(places).reshape(ids.shape), rows)

    def _rows(self, numbers: np.ndarray) -> np.ndarray:
        narrow = self._weight.narrow
        held = None if narrow is None else narrow.held()
        if held is not None:
            rows = self._reader.empty(len(numbers))
            held.read_rows(numbers, rows[0].size, rows.reshape(-1).view(np.uint8))
            return rows
        with self._lock:
            new = np.setdiff1d(numbers, self._numbers, assume_unique=True)
            if len(new):
                self._add(new)
            found: np.ndarray = self._kept[np.searchsorted(self._numbers, numbers)]
            if len(self._numbers) > self._most:
                self._keep(numbers[: self._most], found[: self._most].copy())
            return found

    def _add(self, new: np.ndarray) -> None:
        scratch = self._pool.lend(self._reader.scratch)
        try:
            rows = self._reader.take(new, scratch)
        finally:
            self._pool.take_back(scratch)
        numbers = np.concatenate([self._numbers, new])
        order = np.argsort(numbers)
        self._keep(numbers[order], np.concatenate([self._kept, rows])[order])

    def _keep(self, numbers: np.ndarray, rows: np.ndarray) -> None:
        self._numbers, self._kept = numbers, rows


def _is_recorded() -> bool:
    """Whether somebody records the operations of now, to whom a look-up of fewer rows is wrong."""
    return bool(
        torch._C._get_tracing_state()
        or torch.compiler.is_compiling()
        or torch.onnx.is_in_onnx_export()
        or _python_dispatch._get_current_dispatch_mode() is not None
    )
