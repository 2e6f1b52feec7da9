"""Split and uniform arrays of one coder on a GPU: symbols, then their escapes, then values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from taut import _core
from taut.coding.coder import Buffer
from taut.coding.gpu import split_kernels as kernels
from taut.coding.gpu.chunk_fields import UNIT, ChunkFields, chunk_rows
from taut.coding.gpu.end_to_end import EndToEnd
from taut.coding.gpu.lane_kernels import CHUNK
from taut.coding.gpu.matrices import OUTPUTS
from taut.coding.gpu.planned_split import PlannedSplit, plan_split

_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_ROW_BLOCK = 1024  # values of a row that one program puts together
_PATCH_BLOCK = 256


@dataclass(frozen=True)
class _SplitArray:
    """One array: what is said of all its values, and where what is said of its rows lies."""

    number: int
    h: dict[str, Any]
    first_chunk: int
    first_row: int
    rows: int
    levels: int
    tails: list[bytes]
    exceptions: int


class Segmented:
    """The arrays that one launch decodes the symbols of."""

    def __init__(self, coder: int) -> None:
        self._coder = coder
        self._members: list[_SplitArray] = []
        self._symbols = 0
        self.chunks = EndToEnd(np.int64)
        self._blob, self._marked, self._levels = (EndToEnd(np.uint8) for _ in range(3))
        self._segments, self._slots, self._chunk_of = (EndToEnd(np.int32) for _ in range(3))
        self._starts, self._raws = EndToEnd(np.int64), EndToEnd(np.int64)
        self._sent: dict[str, torch.Tensor] = {}

    def add(
        self, number: int, h: dict[str, Any], chunks: Sequence[Buffer], fields: list[ChunkFields]
    ) -> None:
        """Plan an array, called by a number; raises `NotForGpuError` where that cannot be."""
        plan = plan_split(h, fields)
        first_chunk = self.chunks.size // CHUNK
        slots = self._slots.put(np.frombuffer(h["slots"], np.int32))
        segment = self._segments.put(plan.segments) // 3
        at = [self._blob.put(np.frombuffer(chunk, np.uint8)) for chunk in chunks]
        entry = h["width"] if h["kind"] == "split" else 4
        rows = chunk_rows(CHUNK, at, fields, entry)
        rows[:, 3] = self._symbols + plan.first_symbol
        rows[:, 4] = segment + plan.first_segment
        rows[:, 5] = plan.segment_count
        rows[:, 8] = slots
        rows[:, 14] = np.cumsum(rows[:, 13]) - rows[:, 13]
        self.chunks.put(rows)
        tails = [f.tail for f in fields]
        first_row, levels = self._rows(h, plan, np.array(at), first_chunk)
        self._members.append(
            _SplitArray(
                number,
                h,
                first_chunk,
                first_row,
                len(plan.starts),
                levels,
                tails,
                int(rows[:, 13].sum()),
            )
        )
        self._symbols += h["count"]

    def _rows(
        self, h: dict[str, Any], plan: PlannedSplit, at: np.ndarray, first_chunk: int
    ) -> tuple[int, int]:
        """Take note of an array's rows: the number of the first, and of its levels' first byte."""
        first_row = self._starts.put(plan.starts + self._symbols)
        self._raws.put(plan.raws + at[plan.chunk_of])
        self._marked.put(plan.marked)
        self._chunk_of.put(plan.chunk_of + first_chunk)
        return first_row, self._levels.put(np.frombuffer(h.get("levels", b""), np.uint8))

    def send(self, device: torch.device) -> None:
        """Put all that was planned on a device."""
        self._sent = {
            "blob": self._blob.on(device, 16),  # a field is loaded with up to seven bytes behind it
            "chunks": self.chunks.on(device),
            "segments": self._segments.on(device),
            "slots": self._slots.on(device),
            "starts": self._starts.on(device),
            "raws": self._raws.on(device),
            "marked": self._marked.on(device),
            "chunk_of": self._chunk_of.on(device),
            "levels": self._levels.on(device),
        }
        self._blob.parts.clear()

    def decode(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Number and words of each array that decodes as it should."""
        s, count = self._sent, self.chunks.size // CHUNK
        device = s["blob"].device
        symbols = torch.empty(self._symbols, dtype=torch.uint8, device=device)
        escapes = torch.empty(count, dtype=torch.int32, device=device)
        bad = torch.empty(count, dtype=torch.int32, device=device)
        dense = UNIT[self._coder] == 2
        kernels.decode_segments[(count,)](
            s["blob"], s["chunks"], s["segments"], s["slots"], symbols, escapes, bad,
            LANES=64, BANKS=1 if dense else 2, BITS=12 if dense else 8, UNIT=UNIT[self._coder],
            num_warps=1,
        )  # fmt: skip
        refused = self._patch(symbols, escapes.cpu().numpy())
        values = [(m, self._values(m, symbols, bad)) for m in self._members]
        wrong = (bad.cpu().numpy() != 0) | refused
        for m, words in values:
            if not wrong[m.first_chunk : m.first_chunk + len(m.tails)].any():
                yield m.number, words

    def _patch(self, symbols: torch.Tensor, escapes: np.ndarray) -> np.ndarray:
        """Settle escapes; which chunks have a tail that is not of as many bytes."""
        tails, rows = EndToEnd(np.uint8), np.zeros((len(escapes), CHUNK), np.int64)
        refused = np.zeros(len(escapes), np.bool_)
        coded = [tail for m in self._members for tail in m.tails]
        for chunk in np.flatnonzero((escapes > 0) | np.array([bool(tail) for tail in coded])):
            count = int(escapes[chunk])
            try:
                data = _core.byte_stream(np.frombuffer(coded[chunk], np.uint8), count)
            except _core.CoreFormatError:
                data = b""
            refused[chunk] = not count or len(data) != count
            rows[chunk, 6] = tails.put(np.frombuffer(data, np.uint8))
            rows[chunk, 7] = len(data)
        if tails.size:
            s, device = self._sent, symbols.device
            chunks = s["chunks"].clone()
            chunks[: rows.size] += torch.from_numpy(rows.reshape(-1)).to(device)
            kernels.patch_escapes[(len(escapes),)](
                s["blob"], chunks, s["segments"], tails.on(device), symbols,
                BLOCK=_PATCH_BLOCK, num_warps=1,
            )  # fmt: skip
        return refused

    def _values(self, m: _SplitArray, symbols: torch.Tensor, bad: torch.Tensor) -> torch.Tensor:
        s, h = self._sent, m.h
        width, columns = h["width"], h["row_length"]
        uniform = h["kind"] == "uniform"
        words = OUTPUTS[h["output"]] if uniform else _WORDS[width]
        out = torch.empty(h["count"], dtype=words, device=symbols.device)
        rows = slice(m.first_row, m.first_row + m.rows)
        block = min(_ROW_BLOCK, max(32, 1 << (columns - 1).bit_length()))
        grid = (m.rows, -(-columns // block))
        starts, chunk_of = s["starts"][rows], s["chunk_of"][rows]
        ahead = self._exceptions_ahead(m, symbols, bad, grid, block) if m.exceptions else starts
        if uniform:
            levels = s["levels"][m.levels : m.levels + 256 * width].clone().view(words)
            shifts = torch.from_numpy(np.frombuffer(h["shifts"], np.float32).copy())
            kernels.look_up_rows[grid](
                s["blob"], s["chunks"], symbols, starts, chunk_of, ahead, levels,
                shifts.to(out.device), out, bad, columns, h["count"], OUTPUT=h["output"],
                EXCEPTIONS=m.exceptions > 0, BLOCK=block, enable_fp_fusion=False,
            )  # fmt: skip
            return out
        base = h["base"] if h["base"] < 1 << 63 else h["base"] - (1 << 64)
        kernels.merge_rows[grid](
            s["blob"], s["chunks"], symbols, starts, s["raws"][rows], s["marked"][rows], chunk_of,
            ahead, out, bad, h["low"], h["drop"], base, columns, h["count"],
            WIDTH=width, MODE=h["mode"], BYTES=_bytes_of_field(h), EXCEPTIONS=m.exceptions > 0,
            BLOCK=block,
        )  # fmt: skip
        return out

    def _exceptions_ahead(
        self,
        m: _SplitArray,
        symbols: torch.Tensor,
        bad: torch.Tensor,
        grid: tuple[int, int],
        block: int,
    ) -> torch.Tensor:
        """How many exceptions of an array come before each block of its rows."""
        counts = torch.empty(grid[0] * grid[1], dtype=torch.int32, device=symbols.device)
        starts = self._sent["starts"][m.first_row : m.first_row + m.rows]
        kernels.count_exceptions[grid](
            symbols, starts, counts, m.h["row_length"], m.h["count"], BLOCK=block
        )
        upto = torch.cumsum(counts, 0, dtype=torch.int64)
        bad[m.first_chunk] |= (upto[-1] != m.exceptions).to(bad.dtype)
        return upto - counts


def _bytes_of_field(h: dict[str, Any]) -> int:
    """Bytes that a field may touch, which begins anywhere in one unless all are whole bytes."""
    plain = h["low"] % 8 == 0 and h["drop"] % 8 == 0
    return max(1, (int(h["low"]) + (0 if plain else 7) + 7) // 8)
