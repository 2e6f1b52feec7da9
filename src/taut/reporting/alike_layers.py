"""Tensors of a file in few lines: layers that are alike stand on one, with their indices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from operator import attrgetter
from typing import Final, Protocol

MOST_LINES: Final = 40  # beyond which layers are shown by the beginnings of their names

_Part = str | tuple[int, ...]  # of a name between dots: a word, or indices
_Name = tuple[_Part, ...]


class CostedTensor(Protocol):
    """What is known of a tensor of a file, as `info` and reports have it."""

    @property
    def name(self) -> str:
        """Its name, words and indices between dots."""

    @property
    def dtype(self) -> str:
        """As safetensors calls it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    @property
    def scheme(self) -> str:
        """How it is stored."""

    @property
    def bytes(self) -> int:
        """Bytes in the file."""

    @property
    def rel_mse(self) -> float:
        """Squared error over squared values."""


@dataclass(frozen=True)
class Line:
    """One tensor, or several: bytes and parameters of all, the error of the worst.

    `members` are their names in the file.
    """

    name: str
    count: int
    dtype: str
    shape: str
    scheme: str
    bytes: int
    parameters: int
    rel_mse: float
    members: tuple[str, ...] = ()

    @property
    def bits(self) -> float:
        """Bits per value."""
        return 8 * self.bytes / max(1, self.parameters)


SORTS: Final[dict[str, Callable[[Line], tuple[float, str]]]] = {
    "name": lambda line: (0.0, line.name),
    "bytes": lambda line: (-line.bytes, line.name),
    "bits": lambda line: (-line.bits, line.name),
    "error": lambda line: (-line.rel_mse, line.name),
}


def each_line(tensors: Iterable[CostedTensor]) -> list[Line]:
    """Every tensor by itself, in the order of the file."""
    return [_line(tensor.name, (tensor,)) for tensor in tensors]


def layer_lines(
    tensors: Sequence[CostedTensor], most: int = MOST_LINES, widest: int | None = None
) -> list[Line]:
    """Tensors whose names differ by indices alone, and nothing else, on one line.

    Where that takes more lines than `most`, or names of several tensors have more columns than
    `widest`, names are cut at as many dots as it takes: `encoder.layer.{0..5}.attention.*`.
    """
    lines = _alike(tensors)
    longest = max((tensor.name.count(".") for tensor in tensors), default=0)
    for depth in range(longest, 0, -1):
        longest_name = max((len(line.name) for line in lines if line.count > 1), default=0)
        fits = widest is None or longest_name <= widest
        if len(lines) <= most and fits:
            break
        lines = _beginning_alike(tensors, depth)
    return lines


def _alike(tensors: Iterable[CostedTensor]) -> list[Line]:
    """Lines of tensors that have all but indices in common; indices are merged from the last."""
    held: dict[tuple[_Name, object], list[CostedTensor]] = {}
    for one in tensors:
        held.setdefault((_parts(one.name), (one.dtype, one.shape, one.scheme)), []).append(one)
    for place in range(max((len(name) for name, _ in held), default=0), -1, -1):
        held = _merged_at(held, place)
    return [_line(_text(name), members) for (name, _), members in held.items()]


def _merged_at(
    held: dict[tuple[_Name, object], list[CostedTensor]], place: int
) -> dict[tuple[_Name, object], list[CostedTensor]]:
    """Groups that differ in the indices at one place alone, as one."""
    found: dict[object, tuple[_Name, object, list[CostedTensor]]] = {}
    for (name, kind), members in held.items():
        indices = name[place] if place < len(name) else ""
        key: object = (name, kind)
        if not isinstance(indices, str):
            key = (name[:place], name[place + 1 :], kind, len(name))
            if key in found:
                before, _, others = found[key]
                name = (*name[:place], _union(before[place], indices), *name[place + 1 :])
                members = others + members
        found[key] = (name, kind, members)
    return {(name, kind): members for name, kind, members in found.values()}


def _beginning_alike(tensors: Iterable[CostedTensor], depth: int) -> list[Line]:
    """Lines of tensors whose names begin with the same words, so many of them."""
    held: dict[tuple[str, ...], tuple[_Name, list[CostedTensor]]] = {}
    for one in tensors:
        name = _parts(one.name)[:depth]
        key = tuple(part if isinstance(part, str) else "" for part in name)
        if key in held:
            before, members = held[key]
            name = tuple(
                a if isinstance(a, str) else _union(a, b) for a, b in zip(before, name, strict=True)
            )
            held[key] = (name, [*members, one])
        else:
            held[key] = (name, [one])
    return [_line(_text(name), members, depth) for name, members in held.values()]


def _line(name: str, members: Sequence[CostedTensor], depth: int | None = None) -> Line:
    """A line of these; where names were cut at `depth` dots, it says so unless it is one tensor."""
    return Line(
        name=name if depth is None else _cut(name, members, depth),
        count=len(members),
        dtype=_common({one.dtype for one in members}),
        shape=_common({"x".join(map(str, one.shape)) or "scalar" for one in members}),
        scheme=_common({one.scheme for one in members}),
        bytes=sum(one.bytes for one in members),
        parameters=sum(prod(one.shape) for one in members),
        rel_mse=max(one.rel_mse or 0.0 for one in members),
        members=tuple(map(attrgetter("name"), members)),
    )


def _cut(name: str, members: Sequence[CostedTensor], depth: int) -> str:
    """The name of a line whose tensors' names were cut at `depth` dots."""
    if len(members) == 1:
        return members[0].name
    return f"{name}.*" if any(one.name.count(".") >= depth for one in members) else name


def _common(values: set[str]) -> str:
    return values.pop() if len(values) == 1 else "mixed"


def _parts(name: str) -> _Name:
    words = name.split(".")
    return tuple((int(word),) if word.isdecimal() and word.isascii() else word for word in words)


def _union(one: _Part, other: _Part) -> _Part:
    assert not isinstance(one, str) and not isinstance(other, str)
    return tuple(sorted({*one, *other}))


def _text(name: _Name) -> str:
    return ".".join(part if isinstance(part, str) else _indices(part) for part in name)


def _indices(numbers: tuple[int, ...]) -> str:
    """Indices as a shell would have them.

    >>> _indices((0, 1, 2, 5)), _indices((3,)), _indices((0, 2))
    ('{0..2,5}', '3', '{0,2}')
    """
    if len(numbers) == 1:
        return str(numbers[0])
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return f"{{{','.join(map(_run, runs))}}}"


def _run(run: list[int]) -> str:
    return f"{run[0]}..{run[-1]}" if len(run) > 2 else ",".join(map(str, run))
