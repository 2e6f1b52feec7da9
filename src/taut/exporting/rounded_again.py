"""What an export says of values that compression had rounded, and that the format rounds again."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from taut.container import TautFile
from taut.scheme import recorded_scheme


def rounding_notes(
    file: TautFile, rounded: Collection[str], kept: Collection[str] = ()
) -> list[str]:
    """Notes on those `rounded` tensors whose values had been rounded, and were judged as such.

    Of those that are `kept` the format holds the integers, and only their scales are rounded.
    """
    schemes = {record.name: recorded_scheme(record.scheme).kind for record in file.index.records}
    before = [name for name in rounded if schemes[name] not in ("lossless", "keep")]
    scaled = [name for name in before if name in kept]
    again = [name for name in before if name not in kept]
    notes = []
    if scaled:
        notes.append(
            f"{named(scaled)} written with the integers of the Taut file, and scales rounded"
        )
    if again:
        notes.append(
            f"{named(again)} rounded once more: what was evaluated is not quite what runs; "
            "evaluate this export, or leave its options out"
        )
    return notes


def counted_note(file: TautFile, rounded: int) -> list[str]:
    """A note where `rounded` weights of a graph, not told by name, may be the file's rounded ones.

    A graph's weights may be several tensors of the file in one, and bear other names.
    """
    schemes = [recorded_scheme(record.scheme).kind for record in file.index.records]
    before = sum(kind not in ("lossless", "keep") for kind in schemes)
    if not rounded or not before:
        return []
    return [
        f"{rounded} weights are rounded for this format, and {before} tensors of the Taut file had "
        "been rounded: where their grid is another, what was evaluated is not quite what runs; "
        "--score judges what was written"
    ]


def named(names: Sequence[str]) -> str:
    """A count of tensors and the first of their names.

    >>> named(["a"]), named(["a", "b"])
    ('1 tensor (a) is', '2 tensors (a, ...) are')
    """
    if len(names) == 1:
        return f"1 tensor ({names[0]}) is"
    return f"{len(names)} tensors ({names[0]}, ...) are"
