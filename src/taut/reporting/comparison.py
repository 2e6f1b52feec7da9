"""Two Taut files of one model side by side, as plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from taut.container import TautFile, open_taut
from taut.container.info import Info, describe
from taut.errors import ArgumentError
from taut.reporting.origins import name_of
from taut.reporting.reading import read_json
from taut.reporting.story import TensorCost
from taut.reporting.tell import costs_of
from taut.scoring.results import Evaluation

_NAMED: Final = 2  # tensors that a message names


@dataclass(frozen=True)
class ComparedFile:
    """One of the two: `error` is the mean relative squared error, by number of weights."""

    name: str
    file: str
    size: int
    original_size: int
    parameters: int
    tensors: tuple[TensorCost, ...]
    evaluation: Evaluation | None = None

    @property
    def ratio(self) -> float:
        """Original size over size."""
        return self.original_size / self.size

    @property
    def bits(self) -> float:
        """Bits per weight of the whole file."""
        return 8 * self.size / max(1, self.parameters)

    @property
    def error(self) -> float:
        """The mean of all tensors' errors, each as often as it has values."""
        total = sum(tensor.values for tensor in self.tensors)
        return sum(tensor.rel_mse * tensor.values for tensor in self.tensors) / max(1, total)


@dataclass(frozen=True)
class FileComparison:
    """Two files of one model, and what a reader should know of the two.

    `direct` judged the second file against the first, on the same samples, None if nothing did.
    """

    first: ComparedFile
    second: ComparedFile
    direct: Evaluation | None = None
    notes: tuple[str, ...] = ()


def compare_files(
    first: str | Path,
    second: str | Path,
    evaluations: tuple[Evaluation | str | Path | None, ...] = (),
) -> FileComparison:
    """Read two Taut files, or folders, of one model; no tensor is decoded.

    `evaluations` are of the first and of the second, None where there is none; or one alone, of the
    second against the first.

    Raises:
        ArgumentError: there is no such file, both are one, or they are of different models; says
            what differs.
        FormatError, VerifyError: a file is damaged.
    """
    opened = _opened(first, second)
    a, b = map(describe, opened)
    notes = _check_comparable(a, b)
    judged = [_given(one) for one in (*evaluations, None, None)]
    direct = next((one for one in judged if one is not None and _is_direct(one, a, b)), None)
    if direct is not None:
        judged = [None, None]
    both = _named([_side(*one) for one in zip(opened, (a, b), judged, strict=False)])
    return FileComparison(both[0], both[1], direct, (*notes, *_doubts(both)))


def _opened(first: str | Path, second: str | Path) -> tuple[TautFile, TautFile]:
    one, other = open_taut(first), open_taut(second)
    if one.path.resolve() == other.path.resolve():
        raise ArgumentError(f"{second}: is {first} itself; give two files to compare")
    return one, other


def _named(both: list[ComparedFile]) -> list[ComparedFile]:
    """The two under names that differ."""
    if both[0].name != both[1].name:
        return both
    words = ("the first", "the second")
    return [replace(one, name=word) for one, word in zip(both, words, strict=True)]


def _given(found: Evaluation | str | Path | None) -> Evaluation | None:
    return read_json(Path(found), Evaluation) if isinstance(found, str | Path) else found


def _is_direct(found: Evaluation, first: Info, second: Info) -> bool:
    """Whether the second file was held against the first: both sizes are those."""
    original = found.original
    return original is not None and (original.size, found.model.size) == (first.size, second.size)


def _side(file: TautFile, info: Info, evaluation: Evaluation | None) -> ComparedFile:
    return ComparedFile(
        name=name_of(file.path),
        file=file.path.name,
        size=info.size,
        original_size=info.original_size,
        parameters=info.parameters,
        tensors=costs_of(info),
        evaluation=evaluation,
    )


def _check_comparable(first: Info, second: Info) -> tuple[str, ...]:
    """Raise ArgumentError unless both are of one model; gives what differs all the same."""
    a, b = ({tensor.name: tensor for tensor in one.tensors} for one in (first, second))
    common = [name for name in a if name in b]
    if not common:
        raise ArgumentError(
            f"{second.path}: has no tensor of {first.path} ({_some(b)}; there: {_some(a)}); two "
            "files of one model can be compared"
        )
    other = [name for name in common if a[name].shape != b[name].shape]
    if other and first.original_size != second.original_size:
        raise _reshaped(first, second, other)
    return (*_other(other), *_lone(first, a.keys() - b.keys()), *_lone(second, b.keys() - a.keys()))


def _other(names: list[str]) -> tuple[str, ...]:
    """What has other shapes in the two."""
    return (f"{len(names)} tensors have other shapes: {_some(names)}.",) if names else ()


def _lone(info: Info, names: set[str]) -> tuple[str, ...]:
    """What one of the two has alone."""
    return (f"Only {info.path.name} has {_some(sorted(names))}.",) if names else ()


def _reshaped(first: Info, second: Info, names: list[str]) -> ArgumentError:
    """That tensors of these names have other shapes in the second."""
    shapes = [
        "x".join(map(str, tensor.shape)) or "a scalar"
        for one in (second, first)
        for tensor in one.tensors
        if tensor.name == names[0]
    ]
    more = f", and {len(names) - 1} more tensors differ" if len(names) > 1 else ""
    return ArgumentError(
        f'{second.path}: tensor "{names[0]}" is {shapes[0]}, and {shapes[1]} in {first.path}'
        f"{more}; two files of one model can be compared"
    )


def _some(names: object) -> str:
    """The first names, and how many more there are."""
    listed = list(names)  # type: ignore[call-overload]
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more


def _doubts(both: list[ComparedFile]) -> list[str]:
    """Evaluations that seem to be of other files."""
    return [
        f"The evaluation of {one.file} is of a file of {judged.model.size:,} bytes; this one has "
        f"{one.size:,}: it may be of another."
        for one in both
        if (judged := one.evaluation) is not None
        and judged.model.size is not None
        and judged.model.size != one.size
    ]
