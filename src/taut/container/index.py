"""The table of contents of a Taut file as frozen records (docs/format.md, 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Store = Literal["coded", "packed", "kept", "solid", "alias", "base"]
OnBase = Literal["", "delta", "sum"]  # what a base is to the stored values, if anything


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a coded array: the array header or a chunk; in a pack it has no checksum."""

    nbytes: int
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Pack:
    """Many small coded arrays end to end: in the entry `name`, or after the index if it has none.

    `checksum` is of its bytes ("" after the index, whose own covers them), `sum` is the xxh3 of
    its members' sums, the 16 digits of each one after the other.
    """

    name: str
    checksum: str
    sum: str


@dataclass(frozen=True, slots=True)
class SolidGroup:
    """A solid group: many small tensors of one dtype in one coded array; `pack`: where, if any."""

    name: str
    dtype: str
    sum: str
    parts: tuple[Part, ...]
    pack: int | None = None
    base: bool = False  # its base is that of its members, one after the other


def stored_shape(dtype: str, stored: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which a tensor's values lie: complex ones of another dtype lie as pairs.

    >>> stored_shape("C64", "F16", (3, 4)), stored_shape("C64", "C64", (3, 4))
    ((3, 8), (3, 4))
    """
    if dtype != "C64" or stored == "C64":
        return shape
    return (*shape[:-1], 2 * shape[-1]) if shape else (2,)


@dataclass(frozen=True, slots=True)
class Record:
    """One tensor of the model and where its data lies."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scheme: str
    store: Store
    sum: str = ""  # coded, kept
    parts: tuple[Part, ...] = ()  # coded, packed
    pack: int = 0  # packed: the number of the pack
    solid: int = 0  # solid: the number of the group
    at: int = 0  # solid: first byte in the decoded group
    stored: str = ""  # the dtype of the stored values, where it is not `dtype`; "as" in the file
    of: str = ""  # alias
    tied: bool = False  # alias
    rel_mse: float = 0.0
    base: OnBase = ""  # how the base's tensor is needed; of the store "base" it is all that is
    base_sum: str = ""  # what the base's tensor must be
    base_name: str = ""  # what it is called there, where that is another name

    @property
    def stored_dtype(self) -> str:
        """The safetensors dtype in which the values lie in the file."""
        return self.stored or self.dtype

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape of the stored values: of complex ones that lie as pairs, the pairs in a row."""
        return stored_shape(self.dtype, self.stored_dtype, self.shape)


@dataclass(frozen=True)
class Origin:
    """What was compressed: enough to write its files again byte for byte.

    `files` and `texts` are (name, text) pairs: verbatim safetensors headers, and the small text
    files that describe the shards. `modules` are the attributes that the network's modules have
    to have for the tensors to fit, by the module's name: `{"conv1": {"out_channels": 12}}`.
    `quantization` is JSON that says how low-bit weights among the tensors become floats. `base` is
    what the file of the model that a delta stands on was called.
    """

    nbytes: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    files: tuple[tuple[str, str], ...] = ()
    texts: tuple[tuple[str, str], ...] = ()
    modules: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    quantization: str = ""
    base: str = ""


@dataclass(frozen=True)
class Index:
    """The whole table of contents."""

    origin: Origin
    groups: tuple[SolidGroup, ...]
    records: tuple[Record, ...]
    packs: tuple[Pack, ...] = ()
