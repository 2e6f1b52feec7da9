"""What is opened to read tensors from: a mapping, with the words that safetensors has for it."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Callable, Iterable, KeysView, Mapping
from math import prod
from types import EllipsisType
from typing import Any, Generic, TypeAlias, TypeVar, cast

from taut.io.dtypes import storage
from taut.io.staged import told_paths
from taut.io.tensor_info import TensorInfo
from taut.machine.closing import Closing

Values = TypeVar("Values")
Index: TypeAlias = "int | slice | EllipsisType | tuple[object, ...] | list[int] | None"
"""What picks a part of a tensor, as arrays take it."""


class TensorNames(KeysView[str]):
    """The names of tensors in order; `[0]` is the first."""

    def __getitem__(self, number: int) -> str:
        """The name at a place."""
        return list(self)[number]

    def __repr__(self) -> str:
        """As the list of them."""
        return repr(list(self))


class TensorSlice(Generic[Values]):
    """One tensor of which a part is wanted: of a large one, only rows that are asked for decode.

    `read` gives its values from one to another, flat.

    >>> import numpy as np
    >>> part = TensorSlice("F32", (4, 2), lambda i, j: np.arange(8, dtype="f4")[i:j])
    >>> part[1:3].tolist(), part[-1].tolist(), part.get_shape()
    ([[2.0, 3.0], [4.0, 5.0]], [6.0, 7.0], [4, 2])
    """

    def __init__(
        self, dtype: str, shape: tuple[int, ...], read: Callable[[int, int], Values]
    ) -> None:
        self.dtype, self.shape = dtype, shape
        self._stored = storage(dtype, shape)[1]  # packed dtypes come as their bytes
        self._read = read

    def get_shape(self) -> list[int]:
        """The shape of the whole tensor."""
        return list(self.shape)

    def get_dtype(self) -> str:
        """The dtype, as safetensors writes it: "F32"."""
        return self.dtype

    def __getitem__(self, index: Index) -> Values:
        """Decode a part; what arrays take as an index is taken here.

        Raises:
            IndexError: there is no such part.
            VerifyError: it is damaged.
        """
        first, *rest = index if isinstance(index, tuple) and index else (index,)
        rows = self._rows(first)
        if rows is None:
            return self._block(0, prod(self._stored), self._stored, index)
        width = prod(self._stored[1:])
        low, high = (min(rows), max(rows) + 1) if rows else (0, 0)
        shape = (high - low, *self._stored[1:])
        inner = 0 if not isinstance(first, slice) else slice(None, None, rows.step)
        return self._block(low * width, high * width, shape, (inner, *rest))

    def _rows(self, first: object) -> range | None:
        """The rows that the first part of an index means; None where all of the tensor is needed.

        Raises:
            IndexError: there is no such row.
        """
        if not self._stored or isinstance(first, bool):
            return None
        count = self._stored[0]
        if isinstance(first, slice):
            return range(*first.indices(count))
        if not hasattr(first, "__index__") or getattr(first, "ndim", False):
            return None
        row = operator.index(cast("int", first))
        if not -count <= row < count:
            raise IndexError(f"row {row} of a tensor of shape {list(self.shape)}")
        return range(row % count, row % count + 1)

    def _block(self, begin: int, end: int, shape: tuple[int, ...], index: object) -> Values:
        """What an index means of the values between, in memory of its own."""
        block = cast(Any, self._read(begin, end)).reshape(shape)
        if hasattr(block, "numel"):  # torch's
            part = block[index]
            return cast(Values, part if part.numel() == block.numel() else part.clone())
        picked = index if isinstance(index, tuple) else (index,)
        part = block[picked if Ellipsis in picked else (*picked, ...)]  # never a scalar
        return cast(Values, part if part.size == block.size else part.copy())

    def __repr__(self) -> str:
        """Dtype and shape."""
        return f"TensorSlice({self.dtype}, {list(self.shape)})"


class Reader(Closing, Mapping[str, Values]):
    """Tensors by name in the model's order, decoded when asked for; a context manager.

    Beside what a mapping has there is what those who come from `safetensors.safe_open` expect:
    `get_tensor`, `get_slice`, `offset_keys`, `metadata`.
    """

    @property
    @abstractmethod
    def infos(self) -> tuple[TensorInfo, ...]:
        """Name, dtype, shape and decoded bytes of each tensor, in the model's order."""

    @abstractmethod
    def metadata(self) -> dict[str, str] | None:
        """What the original's header says beside its tensors; None where it says nothing."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file; what was decoded stays, and decoding more is an error."""

    def span(self, name: str, begin: int, end: int) -> Values:
        """The values of one tensor from `begin` to `end`, flat."""
        return cast(Values, cast(Any, self[name]).reshape(-1)[begin:end])

    def keys(self) -> TensorNames:
        """The names, in the model's order."""
        return TensorNames(self)

    def offset_keys(self) -> list[str]:
        """The names, in the order in which the tensors were written."""
        return list(self)

    def get_tensor(self, name: str) -> Values:
        """Decode one tensor, as `file[name]` does."""
        return self[name]

    def get_tensors(self, names: Iterable[str]) -> dict[str, Values]:
        """Decode several tensors."""
        return {name: self[name] for name in names}

    def get_slice(self, name: str) -> TensorSlice[Values]:
        """One tensor of which a part is to be decoded: `file.get_slice(name)[:10]`.

        Raises:
            ArgumentError: there is no such tensor.
        """
        found = {info.name: info for info in self.infos}.get(name)
        if found is None:
            self[name]  # raises, and says which is nearest
            raise KeyError(name)
        return TensorSlice(found.dtype, found.shape, lambda i, j: self.span(name, i, j))

    def __repr__(self) -> str:
        """Where it lies, and how many tensors there are."""
        count = len(self)
        told = f"{count:,} tensor{'' if count == 1 else 's'}"
        path = getattr(self, "path", None)
        where = "" if path is None else f"{told_paths(str(path))}: "
        return f"<{type(self).__name__} {where}{told}>"
