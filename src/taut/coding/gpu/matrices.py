"""Matrices of one coder on a GPU: levels in coded order, then values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from taut import _core
from taut.coding.coder import Buffer
from taut.coding.gpu import matrix_kernels as kernels
from taut.coding.gpu.chunk_fields import LANES, UNIT, ChunkFields, chunk_rows
from taut.coding.gpu.end_to_end import EndToEnd
from taut.coding.gpu.lane_kernels import CHUNK
from taut.coding.gpu.planned_matrix import PlannedMatrix, plan_matrix

OUTPUTS = (torch.float32, torch.float16, torch.int16, torch.float64)  # by output; bfloat16 as bits
_COLUMN_BLOCK = 32
_RARE_BLOCK = 128


@dataclass(frozen=True)
class _Matrix:
    """One array, and where what is said of its rows, columns and groups lies."""

    number: int
    h: dict[str, Any]
    first_chunk: int
    first_level: int
    first_group: int
    groups: int
    first_row: int
    first_column: int
    offsets: int
    first_rare: int
    rare: int


class Matrices:
    """The matrices that one launch decodes the levels of."""

    def __init__(self, coder: int, trellis: bool) -> None:
        self._coder, self._trellis = coder, trellis
        self._members: list[_Matrix] = []
        self._levels = self._rare = 0
        self.chunks = EndToEnd(np.int64)
        self._blob, self._contexts, self._marks, self._tails = (
            EndToEnd(np.uint8) for _ in range(4)
        )
        self._groups, self._slots = EndToEnd(np.int32), EndToEnd(np.int32)
        self._places, self._order = EndToEnd(np.int64), EndToEnd(np.int64)
        self._rows, self._columns, self._offsets = (EndToEnd(np.float32) for _ in range(3))
        self._sent: dict[str, torch.Tensor] = {}

    def add(
        self, number: int, h: dict[str, Any], chunks: Sequence[Buffer], fields: list[ChunkFields]
    ) -> None:
        """Plan a matrix, called by a number; raises `NotForGpuError` where that cannot be."""
        plan = plan_matrix(h)
        tails = [_core.byte_stream(np.frombuffer(f.tail, np.uint8), f.escapes) if f.escapes else b""
                 for f in fields]  # fmt: skip
        first_chunk = self.chunks.size // CHUNK
        group = self._groups.put(plan.groups) // 2
        at = [self._blob.put(np.frombuffer(chunk, np.uint8)) for chunk in chunks]
        rows = chunk_rows(CHUNK, at, fields, 4)
        rows[:, 3] = self._levels + plan.first_symbol
        rows[:, 4] = group + plan.first_group
        rows[:, 5] = plan.group_count
        rows[:, 6] = [self._tails.put(np.frombuffer(tail, np.uint8)) for tail in tails]
        rows[:, 7] = [len(tail) for tail in tails]
        rows[:, 8] = self._slots.put(np.frombuffer(h["slots"], np.int32))
        rows[:, 9] = h["row_length"]
        rows[:, 10] = self._contexts.put(plan.contexts)
        rows[:, 11] = self._marks.put(np.frombuffer(h["marks"], np.uint8))
        rows[:, 14] = self._rare + np.cumsum(rows[:, 13]) - rows[:, 13]
        self.chunks.put(rows)
        self._members.append(self._placed(number, h, plan, first_chunk, int(rows[:, 13].sum())))
        self._levels += h["count"]
        self._rare += int(rows[:, 13].sum())

    def _placed(
        self, number: int, h: dict[str, Any], plan: PlannedMatrix, first_chunk: int, rare: int
    ) -> _Matrix:
        first_row = self._order.put(plan.order)
        self._rows.put(np.frombuffer(h["row_scales"], np.float32))
        first_column = self._columns.put(np.frombuffer(h["column_scales"], np.float32))
        return _Matrix(
            number,
            h,
            first_chunk,
            self._levels,
            self._places.put(plan.places) // 3,
            len(plan.places),
            first_row,
            first_column,
            self._offsets.put(np.array([0.0, *h["offsets"]])),
            self._rare,
            rare,
        )

    def send(self, device: torch.device) -> None:
        """Put all that was planned on a device."""
        self._sent = {
            "blob": self._blob.on(device),
            "chunks": self.chunks.on(device),
            "groups": self._groups.on(device),
            "contexts": self._contexts.on(device),
            "slots": self._slots.on(device),
            "marks": self._marks.on(device),
            "tails": self._tails.on(device),
            "places": self._places.on(device),
            "order": self._order.on(device),
            "rows": self._rows.on(device),
            "columns": self._columns.on(device),
            "offsets": self._offsets.on(device),
        }
        self._blob.parts.clear()

    def decode(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Number and values of each matrix that decodes as it should; bfloat16 as its bits."""
        s, count = self._sent, self.chunks.size // CHUNK
        levels = torch.empty(self._levels, dtype=torch.int16, device=s["blob"].device)
        rare = torch.zeros(
            max(1, kernels.RARE * self._rare), dtype=torch.int32, device=levels.device
        )
        bad = torch.empty(count, dtype=torch.int32, device=s["blob"].device)
        dense = UNIT[self._coder] == 2
        kernels.decode_matrix[(count,)](
            s["blob"], s["chunks"], s["groups"], s["contexts"], s["slots"], s["marks"], s["tails"],
            levels, rare, bad, LANES=LANES[self._coder], BITS=12 if dense else 8,
            UNIT=UNIT[self._coder], TRELLIS=self._trellis, num_warps=1,
        )  # fmt: skip
        values = [(m, self._values(m, levels, rare)) for m in self._members]
        wrong = bad.cpu().numpy() != 0
        for m, numbers in values:
            if not wrong[m.first_chunk : m.first_chunk + m.h["chunks"]].any():
                yield m.number, numbers

    def _values(self, m: _Matrix, levels: torch.Tensor, rare: torch.Tensor) -> torch.Tensor:
        s, columns = self._sent, m.h["row_length"]
        out = torch.empty(m.h["count"], dtype=OUTPUTS[m.h["output"]], device=levels.device)
        to = (
            s["order"][m.first_row :], s["rows"][m.first_row :], s["columns"][m.first_column :],
            s["offsets"][m.offsets :], out, columns,
        )  # fmt: skip
        kernels.put_levels[(m.groups, -(-columns // _COLUMN_BLOCK))](
            levels[m.first_level :], s["places"][3 * m.first_group :], *to, TRELLIS=self._trellis,
            OUTPUT=m.h["output"], LANES=LANES[self._coder], BLOCK=_COLUMN_BLOCK,
        )  # fmt: skip
        if m.rare:
            kernels.put_exceptions[(-(-m.rare // _RARE_BLOCK),)](
                rare[kernels.RARE * m.first_rare :], s["places"], *to, m.rare,
                TRELLIS=self._trellis, OUTPUT=m.h["output"], BLOCK=_RARE_BLOCK,
            )  # fmt: skip
        return out
