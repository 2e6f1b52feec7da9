"""Many coded arrays planned, sent to a GPU together, and decoded there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch

from taut import _core
from taut.coding.coder import Buffer
from taut.coding.gpu.chunk_fields import NotForGpuError, chunk_fields
from taut.coding.gpu.matrices import Matrices
from taut.coding.gpu.segmented import Segmented

_CODERS = 2  # fast and dense; what is coded by the small one is smaller than the launch of a kernel


@dataclass(frozen=True)
class GpuJob:
    """A coded array, `nbytes` long when it is decoded; its checksums are whoever's gives it."""

    header: Buffer
    chunks: Sequence[Buffer]
    nbytes: int


class GpuBatch:
    """Arrays on a GPU, coded, of the kinds that are decoded there; `decode` gives their bytes.

    Compressed bytes and tables go to `device` when it is made. `planned` counts the arrays that are
    decoded there: split arrays whose zeros are not bare, uniform ones and matrices, all of the
    coders fast and dense.

    Raises:
        FormatError: never; what an encoder would not have written is left to the CPU's decoder.
    """

    def __init__(self, jobs: Sequence[GpuJob], device: torch.device) -> None:
        self._device = device
        self._count = len(jobs)
        self._segmented = {(coder,): Segmented(coder) for coder in range(_CODERS)}
        self._matrices = {
            (coder, trellis): Matrices(coder, trellis)
            for coder in range(_CODERS)
            for trellis in (False, True)
        }
        self.planned = sum(self._plan(number, job) for number, job in enumerate(jobs))
        with self._chosen():
            for family in self._families():
                family.send(device)

    def decode(self) -> list[torch.Tensor | None]:
        """The bytes of each array, uint8, in order; None for what is left to the CPU."""
        found: list[torch.Tensor | None] = [None] * self._count
        with self._chosen():
            for family in self._families():
                for number, values in family.decode():
                    found[number] = values.reshape(-1).view(torch.uint8)
        return found

    def _chosen(self) -> AbstractContextManager[object]:
        """Kernels run on the current GPU: this makes it the batch's."""
        is_gpu = self._device.type == "cuda"
        return torch.cuda.device(self._device) if is_gpu else nullcontext()

    def _families(self) -> list[Segmented | Matrices]:
        every: list[Segmented | Matrices] = [*self._segmented.values(), *self._matrices.values()]
        return [family for family in every if family.chunks.size]

    def _plan(self, number: int, job: GpuJob) -> bool:
        try:
            header = np.frombuffer(job.header, np.uint8)
            h = _core.device_header(header, job.nbytes, len(job.chunks))
            if h["kind"] not in ("split", "uniform", "matrix") or h["coder"] >= _CODERS:
                return False
            if not h["chunks"]:
                return False
            matrix, most = h["kind"] == "matrix", h["chunk_rows"] * h["row_length"]
            entry = h["width"] if h["kind"] == "split" else 4
            fields = [chunk_fields(c, h["coder"], most, entry, matrix=matrix) for c in job.chunks]
            if matrix:
                self._matrices[h["coder"], h["trellis"]].add(number, h, job.chunks, fields)
            else:
                self._segmented[(h["coder"],)].add(number, h, job.chunks, fields)
        except (NotForGpuError, _core.CoreFormatError):
            return False
        return True
