"""One tensor and a scheme in, its coded form out: the step that every way of compressing shares."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from taut.coding import CodedArray, Effort, Job, decode, encode_records
from taut.coding.packed_codes import encode_bits
from taut.container import SMALL, Layout, xxh3
from taut.container.format import PART
from taut.encoding.choose_coder import coded_few, coded_smallest
from taut.errors import ArgumentError
from taut.io import SAFETENSORS_DTYPES, Source, TensorInfo
from taut.io.pairs import PairsInfo
from taut.io.records_info import RecordsInfo
from taut.scheme import Scheme
from taut.transform import Grid, Indices, Rounded
from taut.transform.grid import check_divides, matrix_shape
from taut.transform.runtime import GRIDS, make_grid, masked, scheme_mask

_BLOCK = 1 << 20  # values whose error is summed at a time
# Smaller tensors share solid groups; up to SMALL so do those that gain little by themselves. Others
# would lose it there: scales whose last bits are zero, beside one tensor whose are not.
_SHARED = SMALL // 4
_FLOATS = ("F64", "F32", "F16", "BF16")

Quantize = Callable[[TensorInfo, np.ndarray, Scheme], Indices | Rounded | Grid | None]
"""Rounds a tensor, masked or not, as its scheme says; None leaves that to the scheme itself."""


@dataclass(frozen=True)
class Coded:
    """A tensor ready for the file.

    `data` is a coded array, or an array to store as it is; `small` ones join a solid group.
    `stored` names the dtype of the stored values where it is not the tensor's, `sum` is their
    xxh3 and `meant` that of the tensor they decode to.
    """

    data: CodedArray | np.ndarray
    scheme: str
    sum: str
    meant: str
    stored: str = ""
    small: bool = False
    rel_mse: float = 0.0


def encode_tensor(
    info: TensorInfo,
    values: np.ndarray,
    scheme: Scheme,
    *,
    effort: Effort = "fast",
    threads: int = 1,
    quantize: Quantize | None = None,
) -> Coded:
    """Code one tensor by its scheme; holds the tensor, its coded form and, if lossy, its decoding.

    `quantize` is asked first to carry out whatever goes to a grid; `rd` needs it. Masks are by
    magnitude.

    Raises:
        ArgumentError: the scheme cannot be carried out on this tensor: its dtype or shape, NaN or
            Inf.
    """
    check_scheme(info, scheme)
    if scheme.kind == "keep" or values.size == 0:
        checksum = xxh3(values)
        return Coded(values, str(scheme), checksum, checksum)
    sparse = (scheme.sparsity, scheme.n_of_m) != (None, None)
    if scheme.kind == "lossless" and not sparse:
        return _exact(values, str(scheme), effort, threads, info)
    check_finite(info, values, scheme)
    if scheme.kind in ("lossless", "fp16"):
        return _masked(info, values, scheme, effort, threads)
    found = quantize(info, values, scheme) if quantize is not None else None
    if found is None and scheme.kind in GRIDS:
        found = _on_grid(info, values, scheme)
    if found is None:
        raise ArgumentError(f'tensor "{info.name}": scheme {scheme} cannot be carried out here')
    return _rounded(info, values, scheme, found, effort, threads)


def check_scheme(info: TensorInfo, scheme: Scheme) -> None:
    """Raise `ArgumentError` for a scheme that the tensor's dtype and shape rule out."""
    where = f'tensor "{info.name}": scheme {scheme}'
    if scheme.channels is not None:
        raise ArgumentError(
            f"{where}: channels hang together across a network's layers: give the model that runs "
            "(file.py:function) and a plan with `steps: - channels: ...`"
        )
    if scheme.kind != "keep" and str(scheme) != "lossless" and info.dtype not in _FLOATS:
        raise ArgumentError(
            f'tensor "{info.name}" is {info.dtype}, scheme {scheme} is for {", ".join(_FLOATS)}; '
            "leave it lossless"
        )
    columns = matrix_shape(info.shape)[1]
    try:
        if columns and scheme.n_of_m is not None:
            check_divides("an M", scheme.n_of_m[1], columns)
        if columns and scheme.group is not None:
            check_divides("a group", scheme.group, columns)
    except ArgumentError as error:
        raise ArgumentError(f"{where}: {error}") from None


def check_schemes(source: Source, schemes: Mapping[str, Scheme]) -> None:
    """`check_scheme` for every tensor that is stored, before any work."""
    for info in source.infos:
        if info.name in schemes and info.name not in source.aliases:
            check_scheme(info, schemes[info.name])


def add_tensor(layout: Layout, info: TensorInfo, coded: Coded) -> None:
    """Add a coded tensor to the file."""
    scheme, stored, meant, rel_mse = coded.scheme, coded.stored, coded.meant, coded.rel_mse
    if isinstance(info, PairsInfo):
        info, stored = info.whole, stored or info.dtype
    if isinstance(coded.data, CodedArray):
        layout.add_coded(
            info, scheme, coded.data, coded.sum, meant=meant, stored=stored, rel_mse=rel_mse
        )
        return
    add = layout.add_small if coded.small else layout.add_kept
    add(info, scheme, coded.data, meant=meant, stored=stored, rel_mse=rel_mse)


def check_finite(
    info: TensorInfo, values: np.ndarray, scheme: Scheme, first: int | None = None
) -> None:
    """Raise `ArgumentError` unless `values` are finite floats: lossy coding has no NaN nor Inf.

    They are all of a tensor, or those from the place `first` on.
    """
    check_scheme(info, scheme)
    flat = values.reshape(-1)
    shape = values.shape if first is None else info.shape
    for begin in range(0, flat.size, _BLOCK):
        finite = np.isfinite(flat[begin : begin + _BLOCK])
        if not finite.all():
            at = begin + int(np.argmin(finite))
            where = [int(i) for i in np.unravel_index(at + (first or 0), shape)]
            raise ArgumentError(
                f'tensor "{info.name}" has the value {float(flat[at])} at {where}; '
                f"scheme {scheme} wants finite ones: mend the model, or leave the tensor lossless"
            )


def relative_error(values: np.ndarray, decoded: np.ndarray) -> float:
    """sum((values - decoded)^2) / sum(values^2) in float64; 0 where both sums are 0."""
    found = RelativeError()
    found.add(values, decoded)
    return found.close()


class RelativeError:
    """`relative_error` of values that come in pieces: the same number, however they are cut."""

    def __init__(self) -> None:
        self._error = self._power = 0.0
        self._left: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, values: np.ndarray, decoded: np.ndarray) -> None:
        """Take in some values, and what they are decoded to."""
        first, second = values.reshape(-1), decoded.reshape(-1)
        if self._left is not None:
            first = np.concatenate([self._left[0], first])
            second = np.concatenate([self._left[1], second])
        whole = first.size // _BLOCK * _BLOCK
        for begin in range(0, whole, _BLOCK):
            self._sum(first[begin : begin + _BLOCK], second[begin : begin + _BLOCK])
        self._left = (first[whole:], second[whole:])

    def close(self) -> float:
        """The error of all of them."""
        if self._left is not None and self._left[0].size:
            self._sum(*self._left)
        self._left = None
        return self._error / self._power if self._power else self._error

    def _sum(self, first: np.ndarray, second: np.ndarray) -> None:
        block = first.astype(np.float64)
        self._power += float(np.sum(block * block))  # no dot product: BLAS would wake its threads
        block -= second.astype(np.float64)
        self._error += float(np.sum(block * block))


def _exact(
    values: np.ndarray, scheme: str, effort: Effort, threads: int, info: TensorInfo | None = None
) -> Coded:
    checksum = xxh3(values)
    if isinstance(info, RecordsInfo):
        return _records(values, scheme, info, threads)
    few = coded_few(values, effort=effort, threads=threads)
    if few is not None:
        return Coded(few, scheme, checksum, checksum)
    if values.nbytes < _SHARED:
        return Coded(values, scheme, checksum, checksum, small=True)
    coded = encode_bits(values, effort=effort, threads=threads)
    if values.nbytes < SMALL and 2 * coded.nbytes > values.nbytes:
        return Coded(values, scheme, checksum, checksum, small=True)
    pays = coded.nbytes + PART * (1 + len(coded.chunks)) < values.nbytes
    return Coded(coded if pays else values, scheme, checksum, checksum)


def _records(values: np.ndarray, scheme: str, info: RecordsInfo, threads: int) -> Coded:
    """Records field by field, where that pays."""
    checksum = xxh3(values)
    coded = encode_records(values.view(np.uint8), info.layout, info.row_bytes, threads=threads)
    pays = coded.nbytes + PART * (1 + len(coded.chunks)) < values.nbytes
    small = not pays and values.nbytes < SMALL
    return Coded(coded if pays else values, scheme, checksum, checksum, small=small)


def _masked(
    info: TensorInfo, values: np.ndarray, scheme: Scheme, effort: Effort, threads: int
) -> Coded:
    """What a mask leaves, bit for bit or as fp16."""
    kept = masked(values, scheme_mask(values, scheme, f'tensor "{info.name}"'))
    if scheme.kind == "fp16":
        coded, decoded = _half(info, kept, scheme, effort, threads)
    else:
        coded, decoded = _exact(kept, str(scheme), effort, threads), kept
    return replace(coded, rel_mse=relative_error(values, decoded))


def _half(
    info: TensorInfo, values: np.ndarray, scheme: Scheme, effort: Effort, threads: int
) -> tuple[Coded, np.ndarray]:
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise ArgumentError(
            f'tensor "{info.name}" has values above 65504, which float16 cannot hold; '
            "leave it lossless"
        )
    decoded = half.astype(SAFETENSORS_DTYPES[info.dtype])
    coded = _exact(half, str(scheme), effort, threads)
    stored = "F16" if info.dtype != "F16" else ""
    return replace(coded, meant=xxh3(decoded), stored=stored), decoded


def _on_grid(info: TensorInfo, values: np.ndarray, scheme: Scheme) -> Grid:
    mask = scheme_mask(values, scheme, f'tensor "{info.name}"')
    try:
        return make_grid(values, scheme, mask)
    except ArgumentError as error:
        raise ArgumentError(f'tensor "{info.name}": scheme {scheme}: {error}') from None


def _rounded(
    info: TensorInfo,
    values: np.ndarray,
    scheme: Scheme,
    found: Indices | Rounded | Grid,
    effort: Effort,
    threads: int,
) -> Coded:
    coded = coded_smallest(found, values.dtype, effort=effort, threads=threads)
    decoded = np.empty_like(values)
    decode([Job(coded.header, coded.chunks, decoded)], threads=threads)
    error = relative_error(values, decoded)
    if not math.isfinite(error):
        raise ArgumentError(
            f'tensor "{info.name}": scheme {scheme} rounds a value out of {info.dtype}; '
            "leave the tensor lossless"
        )
    checksum = xxh3(decoded)
    return Coded(coded, str(scheme), checksum, checksum, rel_mse=error)
