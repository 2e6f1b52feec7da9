"""Taut's native core (csrc/bindings/); arrays are one-dimensional and C-contiguous."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Buffer = bytes | bytearray | memoryview | NDArray[np.uint8]

class CoreFormatError(Exception): ...

def decode(
    jobs: Sequence[tuple[bytes, Sequence[Buffer], NDArray[np.uint8], NDArray[np.uint8] | None]],
    threads: int = 1,
    kernels: str = "",
) -> None: ...
def decode_chunks(
    header: Buffer,
    total: int,
    first: int,
    chunks: Sequence[Buffer],
    out: NDArray[np.uint8],
    threads: int = 1,
    base: NDArray[np.uint8] | None = None,
) -> None: ...
def device_header(header: Buffer, nbytes: int, chunks: int) -> dict[str, Any]: ...
def byte_stream(data: Buffer, count: int) -> bytes: ...

class ByteIntegers:
    def __init__(self, header: Buffer, nbytes: int, kernels: str = "") -> None: ...
    def take(self, chunk: Buffer) -> bool: ...
    def complete(self) -> bool: ...
    def held_bytes(self) -> int: ...
    def put(self, begin: int, end: int, out: NDArray[np.uint8]) -> None: ...
    def put_rows(self, rows: NDArray[np.int64], length: int, out: NDArray[np.uint8]) -> None: ...

class ChosenRows:
    def __init__(self, header: Buffer, total: int, row_nbytes: int) -> None: ...
    def take(
        self,
        chunk: int,
        data: Buffer,
        rows: NDArray[np.int64],
        scratch: NDArray[np.uint8],
        out: NDArray[np.uint8],
        base: NDArray[np.uint8] | None = None,
    ) -> None: ...

class Stream:
    def __init__(
        self,
        count: int,
        width: int,
        mode: int,
        mantissa: int,
        row_length: int,
        max_effort: bool,
    ) -> None: ...
    def sample_places(self) -> list[int]: ...
    def chunk_values(self) -> int: ...
    def choose(self, sample: NDArray[np.uint8]) -> None: ...
    def scan(self, values: NDArray[np.uint8]) -> None: ...
    def tally(self, values: NDArray[np.uint8]) -> None: ...
    def header(self) -> bytes: ...
    def code(self, values: NDArray[np.uint8], threads: int = 1) -> tuple[bytes, ...]: ...

class MatrixPasses:
    def __init__(
        self,
        rows: int,
        columns: int,
        step: float,
        offsets: Sequence[float],
        output: int,
        trellis: bool,
        max_effort: bool,
        row_exponents: NDArray[np.uint8],
        row_fraction: int,
    ) -> None: ...
    def chunk_rows(self) -> int: ...
    def sum(self, rows: NDArray[np.int32]) -> None: ...
    def count(self, rows: NDArray[np.int32]) -> None: ...
    def header(self) -> bytes: ...
    def code(self, rows: NDArray[np.int32], threads: int = 1) -> tuple[bytes, ...]: ...

class DeltaStream:
    def __init__(
        self, count: int, width: int, mode: int, shift: int, row_length: int, max_effort: bool
    ) -> None: ...
    def look(self, base: NDArray[np.uint8]) -> None: ...
    def measure(self, values: NDArray[np.uint8], base: NDArray[np.uint8]) -> None: ...
    def header(self) -> bytes: ...
    def chunk_values(self) -> int: ...
    def code(
        self, values: NDArray[np.uint8], base: NDArray[np.uint8], threads: int = 1
    ) -> tuple[bytes, ...]: ...

def encode_delta(
    values: NDArray[np.uint8],
    base: NDArray[np.uint8],
    width: int,
    mode: int,
    shift: int,
    row_length: int,
    max_effort: bool,
    threads: int = 1,
) -> tuple[bytes, tuple[bytes, ...]]: ...
def encode(
    values: NDArray[np.uint8],
    width: int,
    mode: int,
    mantissa: int,
    row_length: int,
    max_effort: bool,
    threads: int = 1,
) -> tuple[bytes, tuple[bytes, ...]]: ...
def encode_indices(
    indices: NDArray[np.int32],
    step: float,
    offsets: Sequence[float],
    output: int,
    row_length: int,
    max_effort: bool,
    threads: int = 1,
) -> tuple[bytes, tuple[bytes, ...]]: ...
def estimate_indices(indices: NDArray[np.int32], row_length: int, max_effort: bool) -> float: ...
def encode_matrix(
    indices: NDArray[np.int32],
    columns: int,
    step: float,
    offsets: Sequence[float],
    output: int,
    trellis: bool,
    row_exponents: NDArray[np.uint8],
    column_exponents: NDArray[np.uint8],
    row_fraction: int,
    column_fraction: int,
    basis_header: NDArray[np.uint8],
    basis_chunk: NDArray[np.uint8],
    max_effort: bool,
    threads: int = 1,
) -> tuple[bytes, tuple[bytes, ...]]: ...
def combine_rows(
    coefficients: NDArray[np.float32],
    basis: NDArray[np.float32],
    columns: int,
    out: NDArray[np.float32],
    kernels: str = "",
) -> None: ...
def estimate_matrix(
    indices: NDArray[np.int32],
    columns: int,
    trellis: bool,
    row_exponents: NDArray[np.uint8],
    column_exponents: NDArray[np.uint8],
    max_effort: bool,
) -> float: ...
def encode_adaptive(
    indices: NDArray[np.int32],
    columns: int,
    step: float,
    levels: NDArray[np.float32],
    low: int,
    scales: NDArray[np.float32],
    zeros: NDArray[np.int32],
    group: int,
    period: int,
    output: int,
    threads: int = 1,
) -> tuple[bytes, tuple[bytes, ...]]: ...

class UniformPasses:
    def __init__(
        self,
        count: int,
        step: float,
        offsets: Sequence[float],
        output: int,
        row_length: int,
        max_effort: bool,
    ) -> None: ...
    def chunk_values(self) -> int: ...
    def scan(self, indices: NDArray[np.int32]) -> None: ...
    def tally(self, indices: NDArray[np.int32]) -> None: ...
    def header(self) -> bytes: ...
    def code(self, indices: NDArray[np.int32], threads: int = 1) -> tuple[bytes, ...]: ...

class AdaptivePasses:
    def __init__(
        self,
        count: int,
        columns: int,
        step: float,
        levels: NDArray[np.float32],
        low: int,
        scales: NDArray[np.float32],
        zeros: NDArray[np.int32],
        group: int,
        period: int,
        output: int,
    ) -> None: ...
    def chunk_rows(self) -> int: ...
    def count(self, indices: NDArray[np.int32]) -> None: ...
    def sample_rows(self) -> int: ...
    def header(self, sample: NDArray[np.int32]) -> bytes: ...
    def code(self, indices: NDArray[np.int32], threads: int = 1) -> tuple[bytes, ...]: ...

def encode_records(
    values: NDArray[np.uint8], row_bytes: int, layout: NDArray[np.uint8], threads: int = 1
) -> tuple[bytes, tuple[bytes, ...]]: ...

class RecordsPasses:
    def __init__(self, count: int, row_bytes: int, layout: NDArray[np.uint8]) -> None: ...
    def chunk_bytes(self) -> int: ...
    def count(self, values: NDArray[np.uint8]) -> None: ...
    def header(self) -> bytes: ...
    def code(self, values: NDArray[np.uint8], threads: int = 1) -> tuple[bytes, ...]: ...

def quantize(
    values: NDArray[np.float32],
    row_length: int,
    step: float,
    lambda_: float,
    out: NDArray[np.int32],
    kernels: str = "",
) -> list[float]: ...

class QuantizePasses:
    def __init__(self, count: int, row_length: int, step: float, lambda_: float) -> None: ...
    def look(self, values: NDArray[np.float32]) -> None: ...
    def put(self, values: NDArray[np.float32], out: NDArray[np.int32]) -> None: ...
    def offsets(self) -> list[float]: ...

def round_matrix(
    values: NDArray[np.float32],
    columns: int,
    row_steps: NDArray[np.float32],
    column_scales: NDArray[np.float32],
    row_weights: NDArray[np.float32],
    column_weights: NDArray[np.float32],
    columns_factor: NDArray[np.float32],
    rows_factor: NDArray[np.float32],
    offsets: Sequence[float],
    lambda_: float,
    row_class: NDArray[np.uint8],
    column_class: NDArray[np.uint8],
    curves: NDArray[np.float32],
    trellis: bool,
    out: NDArray[np.int16],
    threads: int = 1,
    kernels: str = "",
) -> list[tuple[int, int]]: ...
def count_magnitudes(
    indices: NDArray[np.int16],
    row_class: NDArray[np.uint8],
    column_class: NDArray[np.uint8],
    trellis: bool,
    out: NDArray[np.int64],
) -> None: ...
def decode_levels(
    indices: NDArray[np.signedinteger],
    row_steps: NDArray[np.float32],
    column_scales: NDArray[np.float32],
    offsets: Sequence[float],
    trellis: bool,
    out: NDArray[np.float32],
) -> None: ...
def inspect(header: NDArray[np.uint8]) -> dict[str, int | float | str]: ...
def core_rate(
    kernels: str, dense: bool, deviation: float, repeats: int, trellis: bool = False
) -> tuple[float, float, float]: ...
def kernels() -> list[str]: ...
