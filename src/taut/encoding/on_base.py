"""A model that stands on another: what is coded of each tensor is what it differs by."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Final

import numpy as np
import xxhash

from taut.container import ModelBase, xxh3
from taut.container.added import BaseTensor
from taut.container.bases import add
from taut.io import Source, TensorInfo
from taut.io.based_on import BasedOn
from taut.io.dtypes import SAFETENSORS_DTYPES, storage
from taut.io.pairs import PairsInfo
from taut.io.tensor_pieces import LARGE, PIECE, Read, file_reader, pieces_of
from taut.planning import quantisable

_BLOCK: Final = 1 << 20  # values that are subtracted, and whose squares are summed up, together


@dataclass(frozen=True)
class OnBase(BasedOn):
    """A source whose tensors are coded as what they differ by from those of `base`.

    Where matrices are to be rounded (`rounds`), `load` gives what theirs differ by, in their dtype;
    `original` gives any tensor as it is.
    """

    whole: Source
    base: ModelBase
    rounds: bool = False
    _sums: dict[str, str] = field(default_factory=dict, repr=False)  # of the base's tensors
    _own: dict[str, str] = field(default_factory=dict, repr=False)  # of large ones as they are
    _near: dict[str, bool] = field(default_factory=dict, repr=False)
    _readers: dict[str, Read] = field(default_factory=dict, repr=False)

    def load(self, name: str) -> np.ndarray:
        """The tensor, or what it differs by where that is to be rounded."""
        values, info = self.whole.load(name), self._infos[name]
        if not self.differs(info):
            return values
        return _difference(values, self.base.load(name), info)

    def view(self, name: str) -> np.ndarray:
        """As `load`."""
        return self.load(name)

    def original(self, name: str) -> np.ndarray:
        """The tensor as it is."""
        return self.whole.load(name)

    def reader(self, name: str) -> Read | None:
        """What reads some values of a tensor, or what they differ by; None where it is held."""
        read = file_reader(self.whole, name)
        info = self._infos[name]
        if read is None or not self._may_differ(info):
            return read

        def difference(begin: int, end: int) -> np.ndarray:
            values = read(begin, end)
            if not self.differs(info):
                return values
            return _difference(values, self.base_reader(name)(begin, end), info)

        return difference

    @cached_property
    def _infos(self) -> dict[str, TensorInfo]:
        return {info.name: info for info in self.whole.infos}

    def base_reader(self, name: str) -> Read:
        """What reads the base's tensor of a name; the last one is kept: it may hold all of it."""
        if name not in self._readers:
            self._readers.clear()
            self._readers[name] = self.base.reader(name)
        return self._readers[name]

    def has(self, info: TensorInfo) -> bool:
        """Whether the base has a tensor of this name, dtype and shape."""
        found = self.base.infos.get(info.name)
        return found is not None and (found.dtype, found.shape) == (info.dtype, info.shape)

    def shares_any(self) -> bool:
        """Whether the base has any of the tensors: by name, or else one that equals it."""
        infos = self.whole.infos
        return any(map(self.has, infos)) or any(
            self.find(info) is not None
            for info in infos
            if any((o.dtype, o.shape) == (info.dtype, info.shape) for o in self.base.infos.values())
        )

    def differs(self, info: TensorInfo) -> bool:
        """Whether `load` gives what the tensor differs by: less than the tensor itself is."""
        if not self._may_differ(info):
            return False
        if info.name not in self._near:
            self._near[info.name] = self._nearer(info)
        return self._near[info.name]

    def _may_differ(self, info: TensorInfo) -> bool:
        return self.rounds and quantisable(info.dtype, info.shape) and self.has(info)

    def _nearer(self, info: TensorInfo) -> bool:
        """Whether the squares of a tensor's differences sum up to less than its own."""
        base, begin, sums = self.base_reader(info.name), 0, np.zeros(2)
        for piece in pieces_of(self.whole, info):
            for at in range(0, piece.size, _BLOCK):
                values = piece[at : at + _BLOCK].astype(np.float64)
                with np.errstate(over="ignore", invalid="ignore"):
                    difference = values - base(begin, begin + values.size).astype(np.float64)
                    sums += np.sum(difference * difference), np.sum(values * values)
                begin += values.size
        return bool(sums[0] < sums[1])

    def holds(self, info: TensorInfo, values: np.ndarray | None = None) -> bool:
        """Whether a tensor, or these values of it, is the base's of its name, bit for bit."""
        if isinstance(info, PairsInfo) or not self.has(info):
            return False
        own = self.own_sum(info) if values is None else xxh3(np.ascontiguousarray(values))
        return own == self._sum(info.name)

    def untouched(self) -> frozenset[str]:
        """The tensors that are the base's of their names."""
        return frozenset(info.name for info in self.whole.infos if self.holds(info))

    def find(self, info: TensorInfo) -> BaseTensor | None:
        """The base's tensor that a tensor stands on: of its name, or one that equals it."""
        if isinstance(info, PairsInfo) or not info.nbytes:
            return None
        if self.has(info):
            if info.nbytes > LARGE:
                return BaseTensor(None, self._sum(info.name))
            base = np.ascontiguousarray(self.base.load(info.name))
            self._sums.setdefault(info.name, xxh3(base))
            return BaseTensor(base, self._sums[info.name])
        sum_ = self.own_sum(info)
        for name, other in self.base.infos.items():
            if (other.dtype, other.shape) == (info.dtype, info.shape) and self._sum(name) == sum_:
                return BaseTensor(None, sum_, name)
        return None

    def own_sum(self, info: TensorInfo) -> str:
        """The checksum of a tensor as it is; a search asks for that of a large one again."""
        if info.name in self._own:
            return self._own[info.name]
        digest = xxhash.xxh3_64()
        for piece in pieces_of(self.whole, info):
            digest.update(np.ascontiguousarray(piece).view(np.uint8).data)
        found = str(digest.hexdigest())
        if info.nbytes > LARGE:
            self._own[info.name] = found
        return found

    def _sum(self, name: str) -> str:
        """The checksum of the base's tensor of a name."""
        if name not in self._sums:
            info, digest = self.base.infos[name], xxhash.xxh3_64()
            dtype, shape = storage(info.dtype, info.shape)
            read, step = self.base_reader(name), max(1, PIECE // dtype.itemsize)
            for begin in range(0, prod(shape), step):
                piece = np.ascontiguousarray(read(begin, min(prod(shape), begin + step)))
                digest.update(piece.view(np.uint8).data)
            self._sums[name] = str(digest.hexdigest())
        return self._sums[name]


def _difference(values: np.ndarray, base: np.ndarray, info: TensorInfo) -> np.ndarray:
    """What values differ by from a base's, in the dtype of their tensor."""
    wide = np.float64 if info.dtype == "F64" else np.float32
    found = np.empty(values.shape, SAFETENSORS_DTYPES[info.dtype])
    out, first, second = found.reshape(-1), values.reshape(-1), base.reshape(-1)
    for at in range(0, out.size, _BLOCK):
        block = slice(at, at + _BLOCK)
        with np.errstate(over="ignore", invalid="ignore"):
            out[block] = first[block].astype(wide) - second[block].astype(wide)
    return found


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


def as_it_is(source: Source, info: TensorInfo) -> Source:
    """What gives a tensor as it is, also where the source gives what it differs by."""
    based = base_under(source)
    return based.whole if based is not None and based.differs(info) else source
