"""One tensor and a scheme in, its coded form out: the step that every way of compressing shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from laconic.coding import (
    CodedArray,
    Effort,
    Job,
    decode,
    encode_indices,
    encode_lossless,
    encode_matrix,
)
from laconic.container import SMALL, Layout, xxh3
from laconic.errors import ArgumentError
from laconic.io import SAFETENSORS_DTYPES, TensorInfo
from laconic.scheme import Scheme
from laconic.transform import Indices, Rounded

_PART = 24  # what a part's length and checksum take in the deflated index, at most
_BLOCK = 1 << 20  # values whose error is summed at a time
_FLOATS = ("F64", "F32", "F16", "BF16")


Quantize = Callable[[TensorInfo, np.ndarray, Scheme], Indices | Rounded]


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

    `quantize` carries out the `rd` schemes.

    Raises:
        ArgumentError: the scheme cannot be carried out on this tensor: its dtype, NaN or Inf.
    """
    if (scheme.sparsity, scheme.n_of_m, scheme.channels) != (None, None, None):
        raise ArgumentError(f'tensor "{info.name}": scheme {scheme}: pruning is not done here')
    if scheme.kind == "keep" or (values.size == 0 and scheme.kind == "lossless"):
        checksum = xxh3(values)
        return Coded(values, str(scheme), checksum, checksum)
    if scheme.kind == "lossless":
        return _exact(values, str(scheme), effort, threads)
    check_finite(info, values, scheme)
    if scheme.kind == "fp16":
        return _half(info, values, scheme, effort, threads)
    if scheme.kind == "rd" and quantize is not None:
        return _quantized(info, values, scheme, quantize, effort, threads)
    raise ArgumentError(f'tensor "{info.name}": scheme {scheme} cannot be carried out here')


def add_tensor(layout: Layout, info: TensorInfo, coded: Coded) -> None:
    """Add a coded tensor to the file."""
    scheme, stored, meant, rel_mse = coded.scheme, coded.stored, coded.meant, coded.rel_mse
    if isinstance(coded.data, CodedArray):
        layout.add_coded(
            info, scheme, coded.data, coded.sum, meant=meant, stored=stored, rel_mse=rel_mse
        )
        return
    add = layout.add_small if coded.small else layout.add_kept
    add(info, scheme, coded.data, meant=meant, stored=stored, rel_mse=rel_mse)


def check_finite(info: TensorInfo, values: np.ndarray, scheme: Scheme) -> None:
    """Raise `ArgumentError` unless `values` are finite floats: lossy coding has no NaN nor Inf."""
    if info.dtype not in _FLOATS:
        raise ArgumentError(
            f'tensor "{info.name}" is {info.dtype}, scheme {scheme} is for {", ".join(_FLOATS)}; '
            "leave it lossless"
        )
    flat = values.reshape(-1)
    for begin in range(0, flat.size, _BLOCK):
        finite = np.isfinite(flat[begin : begin + _BLOCK])
        if not finite.all():
            at = begin + int(np.argmin(finite))
            where = [int(i) for i in np.unravel_index(at, values.shape)]
            raise ArgumentError(
                f'tensor "{info.name}" has the value {float(flat[at])} at {where}; '
                f"scheme {scheme} wants finite ones: mend the model, or leave the tensor lossless"
            )


def relative_error(values: np.ndarray, decoded: np.ndarray) -> float:
    """sum((values - decoded)^2) / sum(values^2) in float64; 0 where both sums are 0."""
    error = power = 0.0
    first, second = values.reshape(-1), decoded.reshape(-1)
    for begin in range(0, first.size, _BLOCK):
        block = first[begin : begin + _BLOCK].astype(np.float64)
        power += float(np.sum(block * block))  # not a dot product: BLAS would wake its threads
        block -= second[begin : begin + _BLOCK].astype(np.float64)
        error += float(np.sum(block * block))
    return error / power if power else error


def _exact(values: np.ndarray, scheme: str, effort: Effort, threads: int) -> Coded:
    checksum = xxh3(values)
    if values.nbytes < SMALL:
        return Coded(values, scheme, checksum, checksum, small=True)
    coded = encode_lossless(values, effort=effort, threads=threads)
    pays = coded.nbytes + _PART * (1 + len(coded.chunks)) < values.nbytes
    return Coded(coded if pays else values, scheme, checksum, checksum)


def _half(
    info: TensorInfo, values: np.ndarray, scheme: Scheme, effort: Effort, threads: int
) -> Coded:
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise ArgumentError(
            f'tensor "{info.name}" has values above 65504, which float16 cannot hold; '
            "leave it lossless"
        )
    decoded = half.astype(SAFETENSORS_DTYPES[info.dtype])
    coded = _exact(half, str(scheme), effort, threads)
    return Coded(
        coded.data,
        coded.scheme,
        coded.sum,
        xxh3(decoded),
        "F16" if info.dtype != "F16" else "",
        coded.small,
        relative_error(values, decoded),
    )


def _quantized(
    info: TensorInfo,
    values: np.ndarray,
    scheme: Scheme,
    quantize: Quantize,
    effort: Effort,
    threads: int,
) -> Coded:
    coded = _coded(quantize(info, values, scheme), values.dtype, effort, threads)
    decoded = np.empty_like(values)
    decode([Job(coded.header, coded.chunks, decoded)], threads=threads)
    checksum = xxh3(decoded)
    return Coded(coded, str(scheme), checksum, checksum, rel_mse=relative_error(values, decoded))


def _coded(found: Indices | Rounded, dtype: np.dtype, effort: Effort, threads: int) -> CodedArray:
    if isinstance(found, Rounded):
        return encode_matrix(
            found.indices,
            step=found.step,
            offsets=found.offsets,
            row_exponents=found.row_exponents,
            column_exponents=found.column_exponents,
            row_fraction=found.fraction,
            column_fraction=found.fraction,
            trellis=found.trellis,
            dtype=dtype,
            effort=effort,
            threads=threads,
        )
    return encode_indices(
        found.values,
        step=found.step,
        offsets=found.offsets,
        dtype=dtype,
        effort=effort,
        threads=threads,
    )
