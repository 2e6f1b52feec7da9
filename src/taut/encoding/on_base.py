"""A model that stands on another: what is coded of each tensor is what it differs by."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from taut.container import ModelBase, xxh3
from taut.container.added import BaseTensor
from taut.container.bases import add
from taut.io import Source, TensorInfo
from taut.io.based_on import BasedOn
from taut.io.dtypes import SAFETENSORS_DTYPES
from taut.io.pairs import PairsInfo
from taut.planning import quantisable


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
