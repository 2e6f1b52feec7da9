"""Tensors put into a file as what they differ by from a base's."""

from __future__ import annotations

import numpy as np

from taut.coding import Effort, Job, decode, encode_delta
from taut.coding.coder import CodedArray
from taut.container import SMALL, Layout, xxh3
from taut.container.added import BaseTensor
from taut.container.bases import add, summable
from taut.container.format import PART
from taut.encoding.in_pieces import PieceOptions
from taut.encoding.on_base import base_under, whole_of
from taut.encoding.tensor import Coded, encode_tensor, relative_error
from taut.errors import ArgumentError
from taut.io import Source, TensorInfo
from taut.io.dtypes import SAFETENSORS_DTYPES
from taut.io.pairs import PairsInfo
from taut.scheme import Scheme

_WORTH = 0.6  # of a tensor's bytes: a delta that takes more may be larger than the tensor alone


def added_on_base(
    layout: Layout, source: Source, info: TensorInfo, scheme: Scheme, options: PieceOptions
) -> bool:
    """Add a tensor as what it differs by; False where it is to be coded alone.

    Raises:
        ArgumentError: the scheme cannot be carried out on this tensor.
    """
    effort, threads, based = options.effort, options.threads, base_under(source)
    if based is None or scheme.kind == "keep" or isinstance(info, PairsInfo):
        return False
    original = whole_of(source, info)
    base = based.find(info, original)
    if base is None:
        return False
    if xxh3(np.ascontiguousarray(original)) == base.sum:
        layout.add_base(info, str(scheme), base)
        return True
    if str(scheme) == "lossless":
        return _added_exactly(layout, info, original, base, effort, threads)
    if not based.differs(info) or not summable(original.dtype):
        return False
    coded = encode_tensor(
        info,
        based.load(info.name),
        scheme,
        effort=effort,
        threads=threads,
        quantize=options.quantize,
    )
    return _added_rounded(layout, info, original, base, coded, threads)


def _added_exactly(
    layout: Layout,
    info: TensorInfo,
    values: np.ndarray,
    base: BaseTensor,
    effort: Effort,
    threads: int,
) -> bool:
    if values.nbytes < SMALL:
        layout.add_small(info, "lossless", values, base=base)
        return True
    coded = encode_delta(values, base.values, effort=effort, threads=threads)
    taken = coded.nbytes + PART * (1 + len(coded.chunks))
    if taken > _WORTH * values.nbytes:
        alone = encode_tensor(info, values, Scheme(), effort=effort, threads=threads)
        if isinstance(alone.data, CodedArray):
            taken -= alone.data.nbytes + PART * (1 + len(alone.data.chunks))
        else:
            taken -= values.nbytes
        if taken >= 0:
            return False
    layout.add_coded(info, "lossless", coded, xxh3(values), base=base, on_base="delta")
    return True


def _added_rounded(
    layout: Layout,
    info: TensorInfo,
    original: np.ndarray,
    base: BaseTensor,
    coded: Coded,
    threads: int,
) -> bool:
    if not isinstance(coded.data, CodedArray):
        return False
    dtype = SAFETENSORS_DTYPES[coded.stored or info.dtype]
    difference = np.empty(original.shape, dtype)
    decode([Job(coded.data.header, coded.data.chunks, difference)], threads=threads)
    values = add(base.values, difference)
    error = relative_error(original, values)
    if not np.isfinite(error):
        raise ArgumentError(
            f'tensor "{info.name}": scheme {coded.scheme} rounds a value out of {info.dtype}; '
            "leave the tensor lossless"
        )
    meant = xxh3(values)
    if meant == base.sum:
        layout.add_base(info, coded.scheme, base, rel_mse=error)
        return True
    layout.add_coded(
        info,
        coded.scheme,
        coded.data,
        coded.sum,
        meant=meant,
        stored=coded.stored,
        rel_mse=error,
        base=base,
        on_base="sum",
    )
    return True
