"""Taut as the bench's codec: the coding layer in memory, and whole files on disk."""

from __future__ import annotations

from typing import Literal

from bench.data.tensors import Array
from bench.lossless.codec import Codec
from taut import coding


class Taut(Codec[coding.CodedArray]):
    """The coding layer: every array coded for itself, all of them decoded in one call."""

    fills = True
    threads = True

    def __init__(self, effort: Literal["fast", "max"]) -> None:
        self.name = f"taut {effort}"
        self.effort: Literal["fast", "max"] = effort

    def encode(self, arrays: list[Array], dtype: str, threads: int) -> list[coding.CodedArray]:
        """Code each array."""
        return [coding.encode_lossless(a, effort=self.effort, threads=threads) for a in arrays]

    def nbytes(self, coded: coding.CodedArray) -> int:
        """Return header and payloads."""
        return coded.nbytes

    def decode(
        self, coded: list[coding.CodedArray], out: list[Array], dtype: str, threads: int
    ) -> list[object]:
        """Decode into the given arrays."""
        jobs = [coding.Job(c.header, c.chunks, o) for c, o in zip(coded, out, strict=True)]
        coding.decode(jobs, threads=threads)
        return list(out)
