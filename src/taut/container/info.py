"""What a Taut file holds and what each tensor of it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path

from taut.container.find import as_path
from taut.container.opening import open_taut
from taut.container.read import TautFile
from taut.container.through_stores import through_stores
from taut.errors import FormatError
from taut.io.file_objects import BinaryFile
from taut.io.gguf import FRAME
from taut.io.gguf_frame import frame_tensors, read_frame
from taut.io.nest import NEST
from taut.io.onnx import GRAPH
from taut.pictured import Pictured


@dataclass(frozen=True)
class TensorReport:
    """One tensor: `bytes` it takes in the file (a solid group's are shared out), `bits` per value.

    `rel_mse` is sum((original - decoded)^2) / sum(original^2), 0 for a bit-exact one.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scheme: str
    bytes: int
    bits: float
    rel_mse: float


@dataclass(frozen=True, repr=False)
class Info(Pictured):
    """A file: sizes in bytes on disk, everything counted.

    `ratio` is original_size / size, `parameters` counts the values of all tensors (tied ones
    once), `bits` is 8 * size / parameters. `base` is what the file that a delta stands on was
    called ("?" where it had no name), "" of what is no delta.
    """

    path: Path
    size: int
    original_size: int
    ratio: float
    bits: float
    parameters: int
    tensors: tuple[TensorReport, ...]
    base: str = field(default="", kw_only=True)

    def to_json(self) -> dict[str, object]:
        """The report as plain JSON values; the keys are part of the interface."""
        tree = asdict(self)
        tree["path"] = str(self.path)
        tree["tensors"] = [{**asdict(t), "shape": list(t.shape)} for t in self.tensors]
        return tree


@through_stores("file", glance=lambda given: True)
def info(file: str | Path | BinaryFile | bytes) -> Info:
    """Describe a Taut file, or the one in a folder; decodes nothing.

    Raises:
        FormatError, VerifyError: header or index are damaged.
        ArgumentError: no such file.
    """
    return describe(open_taut(as_path(file)))


def describe(file: TautFile) -> Info:
    """Describe an open file."""
    values = _values(file)
    reports = tuple(
        TensorReport(
            record.name,
            record.dtype,
            record.shape,
            record.scheme,
            nbytes,
            bits_per_value(nbytes, values.get(record.name) or prod(record.shape)),
            record.rel_mse,
        )
        for record, nbytes in zip(file.index.records, _bytes(file), strict=True)
    )
    beside = {file.index.origin.metadata.get(key) for key in (GRAPH, FRAME, NEST)}
    own = [r for r in file.index.records if not r.tied and r.name not in beside]
    parameters = sum(values.get(r.name) or prod(r.shape) for r in own)
    original = file.index.origin.nbytes
    return Info(
        file.path,
        file.size,
        original,
        original / file.size,
        bits_per_value(file.size, parameters),
        parameters,
        reports,
        base=base_name(file),
    )


def _values(file: TautFile) -> dict[str, int]:
    """How many weights the blocks of each tensor stand for, where a GGUF model says it."""
    frame = file.index.origin.metadata.get(FRAME)
    if frame is None or frame not in file or file.index.origin.files:
        return {}
    try:
        files = read_frame(file[frame], f'{file.path}: the GGUF frame "{frame[:80]}"')
    except FormatError:  # whoever wants the GGUF back is told
        return {}
    return {name: prod(one.shape) for name, one in frame_tensors(files).items()}


def base_name(file: TautFile) -> str:
    """What the base of a delta was called; "?" where it had no name, "" of what is no delta."""
    return (file.index.origin.base or "?") if file.is_delta else ""


def bits_per_value(nbytes: int, values: int) -> float:
    """8 * nbytes / values, and 0 where there is no value."""
    return 8 * nbytes / values if values else 0.0


def share(nbytes: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Share `nbytes` out by weight in whole bytes, so that the shares add up to it.

    >>> share(10, {"a": 1, "b": 1, "c": 1})
    {'a': 3, 'b': 3, 'c': 4}
    """
    total, seen, given = sum(weights.values()), 0, 0
    shares = {}
    for name, weight in weights.items():
        seen += weight
        upto = nbytes * seen // total if total else 0
        shares[name] = upto - given
        given = upto
    return shares


def _bytes(file: TautFile) -> list[int]:
    """What each record takes in the bodies, in order; an alias takes nothing there."""
    found = {
        prefix + name: nbytes
        for prefix, part in file.named_parts
        for name, nbytes in _bytes_of(part).items()
    }
    return [found.get(name, 0) for name in file]


def _bytes_of(file: TautFile) -> dict[str, int]:
    """What each tensor takes in the body of one file."""
    contents = file.contents
    members: list[dict[str, int]] = [{} for _ in contents.groups]
    for tensor, record in zip(contents.infos, contents.records.values(), strict=True):
        if record.store == "solid":
            members[record.solid][record.name] = tensor.nbytes
    found = {name: place.entry.nbytes for name, place in contents.places.items()}
    for group, weights in zip(contents.groups, members, strict=True):
        del found[group.name]
        found |= share(group.entry.nbytes, weights)
    return found
