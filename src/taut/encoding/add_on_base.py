"""Tensors put into a file as what they differ by from a base's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from taut.coding import Job, decode, encode_delta
from taut.coding.coder import CodedArray
from taut.container import SMALL, Layout, xxh3
from taut.container.added import BaseTensor
from taut.container.bases import add, summable
from taut.container.format import PART
from taut.encoding.delta_pieces import WORTH, added_exactly_in_pieces, exact_in_pieces
from taut.encoding.in_pieces import PieceOptions
from taut.encoding.on_base import OnBase, base_under
from taut.encoding.tensor import encode_tensor, relative_error
from taut.errors import ArgumentError
from taut.io import Source, TensorInfo
from taut.io.dtypes import SAFETENSORS_DTYPES, storage
from taut.io.pairs import PairsInfo
from taut.scheme import Scheme


def added_on_base(
    layout: Layout, source: Source, info: TensorInfo, scheme: Scheme, options: PieceOptions
) -> bool:
    """Add a tensor as what it differs by; False where it is to be coded alone.

    Raises:
        ArgumentError: the scheme cannot be carried out on this tensor.
    """
    based = base_under(source)
    if based is None or scheme.kind == "keep" or isinstance(info, PairsInfo):
        return False
    if str(scheme) == "lossless" and exact_in_pieces(based, info):
        return added_exactly_in_pieces(layout, based, info, options)
    base = based.find(info)
    if base is None:
        return False
    if based.own_sum(info) == base.sum:
        layout.add_base(info, str(scheme), base)
        return True
    return _added_held(layout, based, info, scheme, base, options)


def _added_held(
    layout: Layout,
    based: OnBase,
    info: TensorInfo,
    scheme: Scheme,
    base: BaseTensor,
    options: PieceOptions,
) -> bool:
    """Add a tensor that differs from the base's, and is held."""
    if base.values is None:
        base = replace(base, values=based.base.load(info.name))
    if str(scheme) == "lossless":
        return _added_exactly(layout, info, based.original(info.name), base, options)
    if not based.differs(info) or not summable(storage(info.dtype, info.shape)[0]):
        return False
    return _added_rounded(layout, based, info, scheme, base, options)


def _added_exactly(
    layout: Layout,
    info: TensorInfo,
    values: np.ndarray,
    base: BaseTensor,
    options: PieceOptions,
) -> bool:
    effort, threads = options.effort, options.threads
    if values.nbytes < SMALL:
        layout.add_small(info, "lossless", values, base=base)
        return True
    assert base.values is not None  # a base's of the same name
    coded = encode_delta(values, base.values, effort=effort, threads=threads)
    taken = coded.nbytes + PART * (1 + len(coded.chunks))
    if taken > WORTH * values.nbytes:
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
    based: OnBase,
    info: TensorInfo,
    scheme: Scheme,
    base: BaseTensor,
    options: PieceOptions,
) -> bool:
    original, threads = based.original(info.name), options.threads
    coded = encode_tensor(
        info,
        based.load(info.name),
        scheme,
        effort=options.effort,
        threads=threads,
        quantize=options.quantize,
    )
    if not isinstance(coded.data, CodedArray):
        return False
    dtype = SAFETENSORS_DTYPES[coded.stored or info.dtype]
    difference = np.empty(original.shape, dtype)
    decode([Job(coded.data.header, coded.data.chunks, difference)], threads=threads)
    assert base.values is not None
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
