"""What differs between two models, tensor by tensor: how far, and in how many values."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Literal, Protocol

import numpy as np
import xxhash

from taut.io import TensorInfo, storage
from taut.io.tensor_pieces import LARGE, PIECE, Read
from taut.pictured import Pictured
from taut.progress import Progress

State = Literal["same", "changed", "new", "missing", "reshaped", "renamed"]
_BLOCK = 1 << 20  # values that are compared at a time


class Compared(Protocol):
    """A model: what to call it, and its tensors by name."""

    @property
    def identity(self) -> str:
        """What to call it."""

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Its tensors by name."""

    def load(self, name: str) -> np.ndarray:
        """One tensor, as its values are."""

    def reader(self, name: str) -> Read:
        """What gives the values of one tensor from one number to another, flat."""


@dataclass(frozen=True)
class TensorDifference:
    """One tensor of two models; numbers are of a changed one.

    `changed` values of `values` differ in some bit. `relative` is sum((a - b)^2) / sum(a^2) over
    what is finite in both; `ulps` is how many numbers of the dtype lie between, at most and in the
    mean of the changed values. `zeros` are those of each model, `old_name` is what a renamed tensor
    was called.
    """

    name: str
    state: State
    dtype: str
    shape: tuple[int, ...]
    values: int = 0
    changed: int = 0
    relative: float = 0.0
    ulps: int = 0
    mean_ulps: float = 0.0
    zeros: tuple[int, int] = (0, 0)
    old_name: str = ""


@dataclass(frozen=True, repr=False)
class Differences(Pictured):
    """Two models side by side: what each is called, and their tensors, the second's in order.

    `notes` tell of changes that are no loss: batch norms that the second has folded.
    """

    first: str
    second: str
    tensors: tuple[TensorDifference, ...]
    notes: tuple[str, ...] = ()

    @property
    def alike(self) -> bool:
        """Whether all tensors are the same to the bit, under the same names."""
        return all(tensor.state == "same" for tensor in self.tensors)

    def count(self, state: State) -> int:
        """How many tensors are in that state."""
        return sum(tensor.state == state for tensor in self.tensors)

    def to_json(self) -> dict[str, object]:
        """The differences as plain JSON values; the keys are part of the interface."""
        tensors = [{**asdict(t), "shape": list(t.shape)} for t in self.tensors]
        return {
            "first": self.first,
            "second": self.second,
            "alike": self.alike,
            "tensors": [{**tree, "zeros": list(tree["zeros"])} for tree in tensors],
            "notes": list(self.notes),
        }


def differences(first: Compared, second: Compared, progress: Progress | None = None) -> Differences:
    """Compare two models; holds a tensor of each at a time, of a large one a piece.

    Progress is the stage `compare`.

    >>> from taut.container import open_base
    >>> a, b = {"w": np.ones(4, np.float32)}, {"w": np.float32([1, 1, 1, 1.0000001])}
    >>> found, = differences(open_base(a), open_base(b)).tensors
    >>> found.state, found.changed, found.ulps
    ('changed', 1, 1)
    """
    found = []
    for number, one in enumerate(_all(first, second), 1):
        found.append(one)
        if progress is not None:
            progress("compare", number, max(number, len(second.infos)))
    notes = _folded(second, found)
    return Differences(first.identity, second.identity, tuple(found), notes)


def _folded(second: Compared, found: Sequence[TensorDifference]) -> tuple[str, ...]:
    """A note of the batch norms whose statistics the second has folded into what is beside them."""
    changed = [one.name for one in found if one.state == "changed" and _variance(one.name)]
    folded = sum(bool((second.load(name) == 1).all()) for name in changed)
    return (folded_note(folded, "the second model", "the first's"),) if folded else ()


def _variance(name: str) -> bool:
    return name.rpartition(".")[2] == "running_var"


def folded_note(norms: int, model: str, others: str) -> str:
    """What is to be said of weights and layers beside batch norms that are folded.

    >>> folded_note(1, "the model", "the original's")[:45]
    '1 batch norm is folded in the model: the weig'
    """
    have = "1 batch norm is" if norms == 1 else f"{norms} batch norms are"
    return (
        f"{have} folded in {model}: the weights before them have other scales than {others}, "
        "which is no error; what the outputs lose counts (taut eval)"
    )


def _all(first: Compared, second: Compared) -> Iterator[TensorDifference]:
    lost = {name: info for name, info in first.infos.items() if name not in second.infos}
    sums: dict[str, str] = {}
    for name, info in second.infos.items():
        before = first.infos.get(name)
        if before is None:
            old = _renamed(first, second, info, lost, sums)
            if old is None:
                yield TensorDifference(name, "new", info.dtype, info.shape)
            else:
                del lost[old]
                yield TensorDifference(name, "renamed", info.dtype, info.shape, old_name=old)
        elif (before.dtype, before.shape) != (info.dtype, info.shape):
            yield TensorDifference(name, "reshaped", info.dtype, info.shape)
        else:
            yield compared(info, _values(first, info), _values(second, info))
    for name, info in lost.items():
        yield TensorDifference(name, "missing", info.dtype, info.shape)


def _renamed(
    first: Compared,
    second: Compared,
    info: TensorInfo,
    lost: dict[str, TensorInfo],
    sums: dict[str, str],
) -> str | None:
    """The tensor that is no more and equals this new one."""
    alike = [n for n, one in lost.items() if (one.dtype, one.shape) == (info.dtype, info.shape)]
    if not alike or not info.nbytes:
        return None
    wanted = _sum(_values(second, info))
    for name in alike:
        if name not in sums:
            sums[name] = _sum(_values(first, lost[name]))
        if sums[name] == wanted:
            return name
    return None


@dataclass(frozen=True)
class Values:
    """The `count` values of a tensor, of which `read` gives some, flat."""

    count: int
    read: Read

    def pieces(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """All of them in order, with the numbers from and to."""
        one = self.read(0, min(1, self.count))
        step = max(_BLOCK, PIECE // max(1, one.itemsize) // _BLOCK * _BLOCK)
        for begin in range(0, self.count, step):
            end = min(self.count, begin + step)
            yield begin, end, self.read(begin, end)


def _values(model: Compared, info: TensorInfo) -> Values:
    """A tensor's values: read as they are wanted, unless it is small."""
    if info.nbytes > LARGE:
        return Values(prod(storage(info.dtype, info.shape)[1]), model.reader(info.name))
    flat = model.load(info.name).reshape(-1)
    return Values(flat.size, lambda begin, end: flat[begin:end])


def _sum(values: Values) -> str:
    digest = xxhash.xxh3_64()
    for _, _, piece in values.pieces():
        digest.update(np.ascontiguousarray(piece).view(np.uint8).data)
    return str(digest.hexdigest())


def compared(info: TensorInfo, a: Values, b: Values) -> TensorDifference:
    """Two tensors of one dtype and shape."""
    total = _Changes(_unit(a, b))
    for begin, end, piece in a.pieces():
        other = b.read(begin, end)
        for at in range(0, piece.size, _BLOCK):
            total.add(piece[at : at + _BLOCK], other[at : at + _BLOCK])
    return TensorDifference(
        info.name,
        "changed" if total.changed else "same",
        info.dtype,
        info.shape,
        a.count,
        total.changed,
        total.relative,
        total.ulps,
        total.moved / total.changed if total.changed else 0.0,
        (total.zeros[0], total.zeros[1]),
    )


class _Changes:
    """What adds up over blocks of values; `unit` is what they are measured in."""

    def __init__(self, unit: float) -> None:
        self._unit = unit
        self.changed = self.ulps = 0
        self.error = self.power = self.moved = 0.0
        self.zeros = [0, 0]

    @property
    def relative(self) -> float:
        """Squared error over squares, or as it is where all is zero; a finite number."""
        found = self.error / self.power if self.power else self.error * self._unit * self._unit
        return min(found, sys.float_info.max)

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        words = [_words(one) for one in (a, b)]
        with np.errstate(invalid="ignore"):  # NaN that signals
            self.zeros[0] += int(np.count_nonzero(a == 0))
            self.zeros[1] += int(np.count_nonzero(b == 0))
            x, y = _wide(a), _wide(b)
        finite = np.isfinite(x) & np.isfinite(y)
        x, y = x[finite] / self._unit, y[finite] / self._unit
        self.power += float(np.sum(np.abs(x) ** 2))
        other = words[0] != words[1]
        self.changed += int(np.count_nonzero(other.reshape(a.size, -1).any(axis=1)))
        if not other.any():
            return
        self.error += float(np.sum(np.abs(x - y) ** 2))
        first, second = (_places(one[other], a.dtype) for one in words)
        steps = np.where(first > second, first - second, second - first)
        self.ulps = max(self.ulps, int(steps.max()))
        self.moved += float(np.sum(steps.astype(np.float64)))


def _wide(values: np.ndarray) -> np.ndarray:
    return values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)


def _unit(*arrays: Values) -> float:
    """A power of two beside which no square of the arrays' finite values is too large or small.

    1 of types whose squares are numbers of float64.
    """
    if arrays[0].read(0, min(1, arrays[0].count)).dtype not in (np.float64, np.complex128):
        return 1.0
    found = [
        _ends(np.ascontiguousarray(piece).view(np.float64))
        for one in arrays
        for _, _, piece in one.pieces()
    ]
    largest = float(np.abs(np.concatenate([np.zeros(1), *found])).max())
    return math.ldexp(1.0, min(max(math.frexp(largest)[1], -1000), 1000)) if largest else 1.0


def _ends(values: np.ndarray) -> np.ndarray:
    """The least and the largest finite value."""
    found = [
        end(block, initial=0.0, where=np.isfinite(block))
        for begin in range(0, values.size, _BLOCK)
        for block in (values[begin : begin + _BLOCK],)
        for end in (np.min, np.max)
    ]
    return np.array(found, np.float64)


def _words(values: np.ndarray) -> np.ndarray:
    """The values as unsigned words; complex ones as two each."""
    width = values.itemsize // 2 if values.dtype.kind == "c" else values.itemsize
    return np.ascontiguousarray(values).view(f"u{width}")


def _places(words: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Where words stand among the numbers of their dtype, from the least on."""
    top = words.dtype.type(1 << (8 * words.itemsize - 1))
    if dtype.kind in "ub":
        return words
    signed: np.ndarray = words ^ top
    if dtype.kind == "i":
        return signed
    found: np.ndarray = np.where(words & top, ~words, words | top)
    return found
