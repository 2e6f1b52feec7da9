"""Tensors put into a file as what they differ by from a base's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from taut.coding import Job, decode, encode_delta
from taut.coding.coder import CodedArray
from taut.container import SMALL, Layout, xxh3
from taut.container.added import BaseTensor
from taut.container.bases import add
from taut.container.format import PART
from taut.encoding.delta_pieces import WORTH, added_exactly_in_pieces, exact_in_pieces
from taut.encoding.in_pieces import PieceOptions
from taut.encoding.on_base import OnBase, base_under
from taut.encoding.rounded_pieces import added_sum_in_pieces, lossy_in_pieces
from taut.encoding.tensor import encode_tensor, relative_error
from taut.errors import ArgumentError
from taut.io import Source, TensorInfo
from taut.io.dtypes import SAFETENSORS_DTYPES
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
    exact = str(scheme) == "lossless"
    if not exact and not based.differs(info):
        return False
    if not exact and lossy_in_pieces(info, scheme, options.quantize):
        return added_sum_in_pieces(layout, based, info, scheme, base, options)
    if base.values is None:
        base = replace(base, values=based.base.load(info.name))
    held = _HeldOnBase(layout, based, info, base, options)
    return held.added_exactly() if exact else held.added_rounded(scheme)


@dataclass(frozen=True)
class _HeldOnBase:
    """A tensor that differs from the base's of its name; both are held."""

    layout: Layout
    based: OnBase
    info: TensorInfo
    base: BaseTensor
    options: PieceOptions

    def added_exactly(self) -> bool:
        """Add how its bits differ; False where the tensor by itself is smaller."""
        values, base = self.based.original(self.info.name), self._base
        effort, threads = self.options.effort, self.options.threads
        if values.nbytes < SMALL:
            self.layout.add_small(self.info, "lossless", values, base=self.base)
            return True
        coded = encode_delta(values, base, effort=effort, threads=threads)
        taken = coded.nbytes + PART * (1 + len(coded.chunks))
        if taken > WORTH * values.nbytes:
            alone = encode_tensor(self.info, values, Scheme(), effort=effort, threads=threads)
            if isinstance(alone.data, CodedArray):
                taken -= alone.data.nbytes + PART * (1 + len(alone.data.chunks))
            else:
                taken -= values.nbytes
            if taken >= 0:
                return False
        self.layout.add_coded(
            self.info, "lossless", coded, xxh3(values), base=self.base, on_base="delta"
        )
        return True

    def added_rounded(self, scheme: Scheme) -> bool:
        """Add what it differs by, rounded; False where the tensor by itself is as near."""
        info = self.info
        coded = encode_tensor(
            info,
            self.based.load(info.name),
            scheme,
            effort=self.options.effort,
            threads=self.options.threads,
            quantize=self.options.quantize,
        )
        if not isinstance(coded.data, CodedArray):
            return False
        original = self.based.original(info.name)
        values = add(self._base, self._decoded(coded.data, coded.stored or info.dtype))
        error, meant = relative_error(original, values), xxh3(values)
        if not np.isfinite(error):
            raise ArgumentError(
                f'tensor "{info.name}": scheme {coded.scheme} rounds a value out of {info.dtype}; '
                "leave the tensor lossless"
            )
        if meant == self.base.sum:
            self.layout.add_base(info, coded.scheme, self.base, rel_mse=error)
            return True
        self.layout.add_coded(
            info,
            coded.scheme,
            coded.data,
            coded.sum,
            meant=meant,
            stored=coded.stored,
            rel_mse=error,
            base=self.base,
            on_base="sum",
        )
        return True

    @property
    def _base(self) -> np.ndarray:
        assert self.base.values is not None  # which are held here
        return self.base.values

    def _decoded(self, coded: CodedArray, dtype: str) -> np.ndarray:
        found = np.empty(self.info.shape, SAFETENSORS_DTYPES[dtype])
        decode([Job(coded.header, coded.chunks, found)], threads=self.options.threads)
        return found
