"""The index of a model in several files: which shard holds which tensor, and what else is there.

The index rules: a model is the tensors that it lists, each from the shard that it names. Shards of
another download, or an overlay of some tensors, leave more in the files; that is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from taut.errors import ArgumentError, FormatError
from taut.io.content import first_bytes, why_not_fetched

MAX_INDEX = 64_000_000  # bytes of a sharded model's index; 90 k tensors take 9 MB

_SHOWN = 3  # tensors that a note names


def read_index(path: Path) -> dict[str, str]:
    """Which shard holds which tensor, from a Hugging Face index (`{"weight_map": {...}}`).

    Raises:
        FormatError: it is not such an index, or names a shard outside its folder.
        ArgumentError: it cannot be opened.
    """
    if not path.is_file():
        raise ArgumentError(f"{path}: no such file")
    if path.stat().st_size > MAX_INDEX:
        raise FormatError(f"{path}: over {MAX_INDEX} bytes; not an index of shards")
    try:
        index = json.loads(path.read_bytes(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        why = why_not_fetched(first_bytes(path))
        raise FormatError(f"{path}: {why or f'not a valid JSON index ({error})'}") from None
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read ({error.strerror})") from error
    return _weight_map(index, path)


def _weight_map(index: object, path: Path) -> dict[str, str]:
    """The tensors with their shards, each a file beside the index."""
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise FormatError(f'{path}: an index of shards needs a "weight_map" of tensor to file')
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str) or not _is_plain(shard):
            raise FormatError(
                f'{path}: tensor "{tensor}": {shard!r} must be the name of a file beside the index'
            )
    return weight_map


def shard_paths(index: Path, weight_map: Mapping[str, str]) -> list[Path]:
    """The shards beside their index, sorted by name.

    Raises:
        ArgumentError: one is missing; says how many tensors are in it.
    """
    names = sorted(set(weight_map.values()))
    for name in names:
        if not (index.parent / name).is_file():
            count = sum(found == name for found in weight_map.values())
            raise ArgumentError(
                f'{index}: shard "{name}" is missing, {count} tensors are in it; '
                "download it into the same folder"
            )
    return [index.parent / name for name in names]


def bytes_with_shards(path: Path) -> int:
    """Bytes of a file; of an index, those of its shards too.

    Raises:
        ArgumentError, FormatError: it is an index that cannot be read, or a shard is missing.
    """
    shards = shard_paths(path, read_index(path)) if path.name.endswith(".index.json") else []
    return sum(file.stat().st_size for file in (path, *shards))


@dataclass(frozen=True)
class ShardedTensors:
    """Which shard each tensor is taken from, in the index's order.

    `whole` says that every tensor of every shard is taken once; `notes` tell what differs.
    """

    shards: Mapping[str, str]
    whole: bool
    notes: tuple[str, ...]


def take_listed(
    index: Path, weight_map: Mapping[str, str], held: Mapping[str, Iterable[str]], *, strict: bool
) -> ShardedTensors:
    """Take the tensors that an index lists from the shards, of which `held` are the names by file.

    One that another shard holds instead is taken from there; one that none holds is left out.

    Raises:
        FormatError: none is there; with `strict`, anything that differs. Names the tensor.
    """
    where = _holders(held)
    problems = _Problems([], [], [], [])
    taken = {name: problems.place(name, shard, where) for name, shard in weight_map.items()}
    found = {name: shard for name, shard in taken.items() if shard is not None}
    problems.extra.extend(
        f'shard "{where[name][0]}" holds the tensor "{name}", which the index does not list'
        for name in where.keys() - weight_map.keys()
    )
    problems.extra.sort()
    if problems.all and (strict or not found):
        raise FormatError(f"{index}: {problems.all[0]}")
    whole = found.keys() == where.keys() and all(len(one) == 1 for one in where.values())
    return ShardedTensors(found, whole, problems.notes)


def _holders(held: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """The shards that hold each tensor."""
    found: dict[str, list[str]] = {}
    for shard, names in held.items():
        for name in names:
            found.setdefault(name, []).append(shard)
    return found


@dataclass(frozen=True)
class _Problems:
    """What differs between an index and its shards, a line for each tensor."""

    twice: list[str]
    missing: list[str]
    moved: list[str]
    extra: list[str]

    def place(self, name: str, shard: str, where: Mapping[str, list[str]]) -> str | None:
        """The shard that a tensor is taken from; None if none holds it."""
        found = where.get(name, [])
        if not found:
            self.missing.append(f'tensor "{name}" is listed, but not in its shard "{shard}"')
            return None
        if shard not in found:
            also = "".join(f' and "{one}"' for one in found[1:])
            lies = f'"{found[0]}"{also}'
            self.moved.append(f'tensor "{name}" is listed in "{shard}", but lies in {lies}')
            return found[0]
        if len(found) > 1:
            self.twice.append(f'tensor "{name}" is in both "{found[0]}" and "{found[1]}"')
        return shard

    @property
    def all(self) -> list[str]:
        return [*self.twice, *self.extra, *self.missing, *self.moved]

    @property
    def notes(self) -> tuple[str, ...]:
        """A note for each kind."""
        kinds = (
            (self.missing, "left out of the model"),
            (self.moved, "taken from the first of these"),
            (self.twice, "taken from where the index says"),
            (self.extra, "not taken"),
        )
        notes = [f"the index rules: {_told(lines)}; {what}" for lines, what in kinds if lines]
        if self.twice or self.extra:
            notes.append("the shards are more than the model: decompressed, it is one file")
        return tuple(notes)


def _told(lines: list[str]) -> str:
    more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return "; ".join(lines[:_SHOWN]) + more


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f'the name "{name}" comes twice')
        found[name] = value
    return found


def _is_plain(name: str) -> bool:
    """Whether `name` is a file's name alone: no folder, no drive, no way up."""
    return name not in ("", ".", "..") and not any(c in name for c in "/\\:\0")
