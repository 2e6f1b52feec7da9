"""Records <-> the rows of the index: what many tensors share is written once, as a kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeVar, cast

from taut.container.index import OnBase, Part, Record, Store, stored_shape
from taut.container.schema import (
    check_keys,
    get_checksum,
    get_integer,
    get_list,
    get_number,
    get_object,
    get_text,
    numbered,
)
from taut.errors import FormatError
from taut.io.dtypes import MAX_DIMENSIONS, tensor_nbytes

_Value = TypeVar("_Value")

_LEVELS = 30_000  # of an error: further ones are written as numbers

Keys = Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]

_ALWAYS = ("name", "dtype", "shape", "scheme", "store")
FIRST: Final[Keys] = {
    "coded": ((*_ALWAYS, "sum", "parts"), ("as", "rel_mse")),
    "kept": ((*_ALWAYS, "sum"), ("as", "rel_mse")),
    "solid": ((*_ALWAYS, "solid", "at"), ("as", "rel_mse")),
    "alias": ((*_ALWAYS, "of"), ("tied", "rel_mse")),
}
"""The stores of version 1: the keys that a tensor's object must have, and may have."""

_BASE = ("base", "base_sum")
SECOND: Final[Keys] = {
    "coded": (FIRST["coded"][0], ("as", "rel_mse", *_BASE)),
    "packed": ((*_ALWAYS, "pack", "lengths"), ("as", "rel_mse", *_BASE)),
    "kept": FIRST["kept"],
    "solid": (FIRST["solid"][0], ("as", "rel_mse", *_BASE)),
    "alias": FIRST["alias"],
    "base": ((*_ALWAYS, "base_sum"), ("rel_mse",)),
}
"""Those of version 2, of a kind and a row together."""

# The keys of a kind, beside dtype, scheme and store: needed and optional. A row starts with the
# number of its kind, name and shape; here is what follows, before an error that is not 0.
_KIND: Final[Keys] = {
    "coded": ((), ("as", "base")),
    "packed": (("pack",), ("as", "base")),
    "kept": ((), ("as",)),
    "solid": (("solid",), ("as", "base")),
    "alias": ((), ("tied",)),
    "base": ((), ()),
}
_ROW: Final[Mapping[str, tuple[str, ...]]] = {
    "coded": ("sum", "parts"),
    "packed": ("lengths",),
    "kept": ("sum",),
    "solid": (),
    "alias": ("of",),
    "base": (),
}


def error_level(error: float) -> int:
    """A relative error above 0 in hundredths of a power of ten below 1."""
    return round(-100 * math.log10(error))


def level_error(level: int) -> float:
    """The relative error of a level.

    >>> level_error(200)
    0.01
    """
    return float(10.0 ** (-level / 100))


class Kinds:
    """What tensors share, in order of first use; `trees` are JSON objects."""

    def __init__(self) -> None:
        self.trees: list[dict[str, object]] = []
        self._numbers: dict[tuple[object, ...], int] = {}

    def row(self, record: Record) -> list[object]:
        """One tensor as a list: the number of its kind, its name, its shape, and where it lies."""
        row: list[object] = [self._number(record), record.name, list(record.shape)]
        if record.base_sum:
            name = record.base_name
            row.append([record.base_sum, name] if name else record.base_sum)
        if record.store == "coded":
            row += [record.sum, [[part.nbytes, part.checksum] for part in record.parts]]
        elif record.store == "packed":
            row.append([part.nbytes for part in record.parts])
        elif record.store == "kept":
            row.append(record.sum)
        elif record.store == "alias":
            row.append(record.of)
        if record.rel_mse:
            level = error_level(record.rel_mse)
            exact = abs(level) <= _LEVELS and level_error(level) == record.rel_mse
            row.append(level if exact else record.rel_mse)
        return row

    def _number(self, record: Record) -> int:
        tree: dict[str, object] = {
            "dtype": record.dtype,
            "scheme": record.scheme,
            "store": record.store,
        }
        if record.stored:
            tree["as"] = record.stored
        if record.store in ("packed", "solid"):
            key = "pack" if record.store == "packed" else "solid"
            tree[key] = getattr(record, key)
        if record.tied:
            tree["tied"] = True
        if record.base:
            tree["base"] = record.base
        number = self._numbers.setdefault(tuple(tree.items()), len(self.trees))
        if number == len(self.trees):
            self.trees.append(tree)
        return number


def expand_rows(kinds: list[object], rows: list[object]) -> Iterator[tuple[str, dict[str, object]]]:
    """Each row with its kind as one object, as version 1 has them, and what to call it in errors.

    Members of a solid group follow one another in it: that is where `at` comes from.
    """
    shared = [
        _checked_kind(get_object(item, where), where)
        for where, item in numbered(kinds, "index: kind")
    ]
    ends: dict[int, int] = {}
    for where, row in numbered(rows, "index: tensor"):
        if not isinstance(row, list) or not row:
            raise FormatError(f"{where}: is not a list")
        number = get_integer({"kind": row[0]}, "kind", where)
        if number >= len(shared):
            raise FormatError(f"{where}: is of kind {number}, of {len(shared)}")
        kind = shared[number]
        based = ("base_sum",) if "base" in kind or kind["store"] == "base" else ()
        keys = ("name", "shape", *based, *_ROW[str(kind["store"])], "rel_mse")
        if len(row) not in (len(keys), len(keys) + 1):
            raise FormatError(f"{where}: has {len(row)} values, not {', '.join(keys)}")
        tree = {**kind, **dict(zip(keys, row[1:], strict=False))}
        if type(tree.get("rel_mse")) is int:
            tree["rel_mse"] = level_error(_level(tree["rel_mse"], where))
        if kind["store"] == "solid":
            tree["at"] = _take(tree, ends, where)
        yield where, tree


def _level(value: object, where: str) -> int:
    if not isinstance(value, int) or abs(value) > _LEVELS:
        raise FormatError(f'{where}: "rel_mse" is not a level within -{_LEVELS} .. {_LEVELS}')
    return value


def _checked_kind(tree: dict[str, object], where: str) -> dict[str, object]:
    store = get_text(tree, "store", where)
    if store not in _KIND:
        raise FormatError(f"{where}: unknown store {store!r:.80}")
    needed, optional = _KIND[store]
    check_keys(tree, ("dtype", "scheme", "store", *needed), optional, where)
    return tree


def _take(tree: dict[str, object], ends: dict[int, int], where: str) -> int:
    """Where a member of a solid group begins; the next one begins where it ends."""
    name = get_text(tree, "name", where)
    where = f'index: tensor "{name:.200}"'
    group = get_integer(tree, "solid", where)
    dtype = get_text(tree, "dtype", where)
    stored = get_text(tree, "as", where) if "as" in tree else dtype
    at = ends.get(group, 0)
    try:
        shape = stored_shape(dtype, stored, _shape(tree, where))
        ends[group] = at + tensor_nbytes(stored, shape)
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from None
    return at


def parse_record(tree: dict[str, object], stores: Keys, where: str) -> Record:
    """A tensor's object as a record; raises `FormatError` that names it."""
    name = get_text(tree, "name", where)
    where = f'index: tensor "{name:.200}"'
    store = get_text(tree, "store", where)
    if store not in stores:
        raise FormatError(f"{where}: unknown store {store!r:.80}")
    check_keys(tree, *stores[store], where)
    tied = tree.get("tied", False)
    if not isinstance(tied, bool):
        raise FormatError(f"{where}: tied is not true or false")
    parts: tuple[Part, ...] = ()
    if store in ("coded", "packed"):
        parts = (parse_parts if store == "coded" else parse_lengths)(tree, where)
    base, base_sum, base_name = _parse_base(tree, where)
    return Record(
        name,
        get_text(tree, "dtype", where),
        _shape(tree, where),
        get_text(tree, "scheme", where),
        cast(Store, store),
        sum=_given(get_checksum, tree, "sum", where, ""),
        parts=parts,
        pack=_given(get_integer, tree, "pack", where, 0),
        solid=_given(get_integer, tree, "solid", where, 0),
        at=_given(get_integer, tree, "at", where, 0),
        stored=_given(get_text, tree, "as", where, ""),
        of=_given(get_text, tree, "of", where, ""),
        tied=tied,
        rel_mse=_given(get_number, tree, "rel_mse", where, 0.0),
        base=base,
        base_sum=base_sum,
        base_name=base_name,
    )


def _parse_base(tree: dict[str, object], where: str) -> tuple[OnBase, str, str]:
    """How a tensor needs one of the base, the checksum of that one, and its name if another."""
    base = _given(get_text, tree, "base", where, "")
    if base not in ("", "delta", "sum"):
        raise FormatError(f"{where}: unknown base {base!r:.80}")
    if "base_sum" not in tree:
        return "", "", ""
    found = tree["base_sum"]
    if not isinstance(found, list):
        return cast(OnBase, base), get_checksum(tree, "base_sum", where), ""
    if len(found) != 2:
        raise FormatError(f"{where}: its base is not a checksum, or [checksum, name]")
    item = dict(zip(("base_sum", "name"), found, strict=True))
    name = get_text(item, "name", where)
    return cast(OnBase, base), get_checksum(item, "base_sum", where), name


def _given(
    read: Callable[[dict[str, object], str, str], _Value],
    tree: dict[str, object],
    key: str,
    where: str,
    without: _Value,
) -> _Value:
    return read(tree, key, where) if key in tree else without


def _shape(tree: dict[str, object], where: str) -> tuple[int, ...]:
    shape = get_list(tree, "shape", where)
    if len(shape) > MAX_DIMENSIONS:
        raise FormatError(f"{where}: {len(shape)} dimensions, at most {MAX_DIMENSIONS}")
    return tuple(get_integer({"dimension": n}, "dimension", where) for n in shape)


def parse_parts(tree: dict[str, object], where: str) -> tuple[Part, ...]:
    """The parts of a coded array that has an entry of its own."""
    parts = []
    for number, pair in enumerate(get_list(tree, "parts", where)):
        if not isinstance(pair, list) or len(pair) != 2:
            raise FormatError(f"{where}: part {number} is not [length, checksum]")
        item = {"length": pair[0], "checksum": pair[1]}
        spot = f"{where}: part {number}"
        parts.append(Part(get_integer(item, "length", spot), get_checksum(item, "checksum", spot)))
    if not parts:
        raise FormatError(f"{where}: no parts")
    return tuple(parts)


def parse_lengths(tree: dict[str, object], where: str) -> tuple[Part, ...]:
    """The parts of a coded array in a pack."""
    lengths = get_list(tree, "lengths", where)
    if not lengths:
        raise FormatError(f"{where}: no parts")
    return tuple(
        Part(get_integer({"length": nbytes}, "length", f"{where}: part {number}"))
        for number, nbytes in enumerate(lengths)
    )
