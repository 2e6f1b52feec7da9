"""A model that stands on another: what is coded of each tensor is what it differs by."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from taut.coding import Effort, Job, decode, encode_delta
from taut.coding.coder import CodedArray
from taut.container import SMALL, Layout, ModelBase, xxh3
from taut.container.bases import add, summable
from taut.container.format import PART
from taut.container.layout import BaseTensor
from taut.encoding.in_pieces import PieceOptions
from taut.encoding.tensor import Coded, encode_tensor, relative_error
from taut.errors import ArgumentError
from taut.io import Source, TensorInfo
from taut.io.based_on import BasedOn
from taut.io.dtypes import SAFETENSORS_DTYPES
from taut.io.pairs import PairsInfo
from taut.planning import quantisable
from taut.scheme import Scheme

_WORTH = 0.6  # of a tensor's bytes: a delta that takes more may be larger than the tensor alone


@dataclass(frozen=True)
class OnBase(BasedOn):
    """A source whose tensors are coded as what they differ by from those of `base`.

    Where matrices are to be rounded (`rounds`), `load` gives what theirs differ by, in their dtype;
    `original` gives any tensor as it is.
    """

    whole: Source
    base: ModelBase
    rounds: bool = False
    _sums: dict[str, str] = field(default_factory=dict, repr=False)
    _near: dict[str, bool] = field(default_factory=dict, repr=False)

    def load(self, name: str) -> np.ndarray:
        """The tensor, or what it differs by where that is to be rounded."""
        values = self.whole.load(name)
        info = next(i for i in self.whole.infos if i.name == name)
        if not self.differs(info):
            return values
        wide = np.float64 if info.dtype == "F64" else np.float32
        with np.errstate(over="ignore", invalid="ignore"):
            difference = values.astype(wide) - self.base.load(name).astype(wide)
            found: np.ndarray = difference.astype(SAFETENSORS_DTYPES[info.dtype])
        return found

    def view(self, name: str) -> np.ndarray:
        """As `load`."""
        return self.load(name)

    def original(self, name: str) -> np.ndarray:
        """The tensor as it is."""
        return self.whole.load(name)

    def has(self, info: TensorInfo) -> bool:
        """Whether the base has a tensor of this name, dtype and shape."""
        found = self.base.infos.get(info.name)
        return found is not None and (found.dtype, found.shape) == (info.dtype, info.shape)

    def shares_any(self) -> bool:
        """Whether the base has any of the tensors: by name, or else one that equals it."""
        infos = self.whole.infos
        return any(map(self.has, infos)) or any(
            self.find(info, self.whole.load(info.name)) is not None
            for info in infos
            if any((o.dtype, o.shape) == (info.dtype, info.shape) for o in self.base.infos.values())
        )

    def differs(self, info: TensorInfo) -> bool:
        """Whether `load` gives what the tensor differs by: less than the tensor itself is."""
        if not (self.rounds and quantisable(info.dtype, info.shape) and self.has(info)):
            return False
        if info.name not in self._near:
            values = self.whole.load(info.name).astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):
                difference = values - self.base.load(info.name).astype(np.float64)
                nearer = np.sum(difference * difference) < np.sum(values * values)
            self._near[info.name] = bool(nearer)
        return self._near[info.name]

    def holds(self, info: TensorInfo, values: np.ndarray) -> bool:
        """Whether these values of a tensor are the base's of its name, bit for bit."""
        if isinstance(info, PairsInfo) or not self.has(info):
            return False
        return xxh3(np.ascontiguousarray(values)) == self._sum(info.name)

    def untouched(self) -> frozenset[str]:
        """The tensors that are the base's of their names."""
        infos = self.whole.infos
        return frozenset(i.name for i in infos if self.holds(i, self.whole.load(i.name)))

    def find(self, info: TensorInfo, values: np.ndarray) -> BaseTensor | None:
        """The base's tensor that a tensor stands on: of its name, or one that equals it."""
        if isinstance(info, PairsInfo) or not info.nbytes:
            return None
        if self.has(info):
            base = np.ascontiguousarray(self.base.load(info.name))
            return BaseTensor(base, self._sum(info.name, base))
        sum_ = xxh3(np.ascontiguousarray(values))
        for name, other in self.base.infos.items():
            if (other.dtype, other.shape) == (info.dtype, info.shape) and self._sum(name) == sum_:
                return BaseTensor(values, sum_, name)
        return None

    def _sum(self, name: str, values: np.ndarray | None = None) -> str:
        if name not in self._sums:
            found = self.base.load(name) if values is None else values
            self._sums[name] = xxh3(np.ascontiguousarray(found))
        return self._sums[name]


def base_under(source: Source) -> OnBase | None:
    """What of a source stands on a base, if it does, or a part of it."""
    while not isinstance(source, OnBase):
        if not isinstance(source, BasedOn):
            return None
        source = source.whole
    return source


def base_of(source: Source) -> ModelBase | None:
    """The base that a source, or the whole of which it is a part, stands on."""
    found = base_under(source)
    return None if found is None else found.base


def differs(source: Source, info: TensorInfo) -> bool:
    """Whether what a source, or a part of it, gives for a tensor is what it differs by."""
    based = base_under(source)
    return based is not None and based.differs(info)


def is_the_base(source: Source, info: TensorInfo) -> bool:
    """Whether a tensor is that of the base on which its source stands, bit for bit."""
    based = base_under(source)
    return based is not None and based.holds(info, source.load(info.name))


def standing(source: Source, info: TensorInfo, values: np.ndarray) -> np.ndarray:
    """What a file decodes to that has `values` for a tensor: with the base's, if they differ by it.

    In the dtype and shape of the tensor then. Of one that is the base's as it is, that.
    """
    based = base_under(source)
    if based is None:
        return values
    if based.differs(info):
        difference = values.reshape(info.shape).astype(SAFETENSORS_DTYPES[info.dtype], copy=False)
        return add(based.base.load(info.name), difference)
    whole = source.load(info.name)
    return whole if based.holds(info, whole) else values


def whole_of(source: Source, info: TensorInfo) -> np.ndarray:
    """A tensor as it is, also where the source gives what it differs by."""
    based = base_under(source)
    if based is not None and based.differs(info):
        return based.original(info.name)
    return source.load(info.name)


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
    coded = encode_delta(values, base.values, threads=threads)
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
