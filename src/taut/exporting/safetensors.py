"""A model as ordinary safetensors again, in any float dtype: a file, or a Hugging Face folder.

The file is as large as the original at that dtype: it is made for loaders that know nothing of
Taut. Tensors pass one at a time, large ones in pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from taut.container import TautFile, made_file, made_folder
from taut.container.plain_file import Load, write_tensors
from taut.errors import ArgumentError
from taut.exporting.check import Comparison, expect, size_words
from taut.exporting.companions import companion_notes, copy_companions
from taut.exporting.result import Export
from taut.exporting.rounded_again import rounding_notes
from taut.exporting.shards import SHARD, write_shards
from taut.io import SAFETENSORS_DTYPES, TensorInfo, tensor_nbytes
from taut.io.nest import NEST
from taut.io.onnx import GRAPH
from taut.io.safetensors import SafetensorsSource, open_safetensors

DTYPES: Final = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_PIECE: Final = 1 << 24  # bytes of a tensor that are converted, or compared, at a time
_FLOATS: Final = ("F64", "F32", "F16", "BF16")

Progress = Callable[[str, int, int], None]


def export_file(
    file: TautFile,
    out: Path,
    *,
    dtype: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Export:
    """Write all tensors as one safetensors file; tied ones under each of their names.

    Raises:
        ArgumentError: a value is too large for `dtype`, or `out` may not be written.
        VerifyError: the file does not read back.
        TautError: it cannot be written.
    """
    metadata = dict(file.index.origin.metadata)
    # What ONNX or a checkpoint of PyTorch has beside its tensors: no tensor of the model.
    beside = {metadata.pop(key, "") for key in (GRAPH, NEST)} - {""}
    infos = [converted(info, dtype) for info in file.infos if info.name not in beside]
    with made_file(out, force=force) as path:
        load = _loading(file, infos)
        write_tensors(path, infos, load, metadata=metadata, told=steps("write", infos, progress))
        found = compare([path], file, steps("check", infos, progress))
        size = path.stat().st_size
    notes = (*_notes(file, infos, size), *rounding_notes(file, found.rounded))
    return _done("safetensors", out, [out], size, found, notes)


@dataclass(frozen=True)
class HubFolder:
    """What a Hugging Face folder is made with, besides a file's tensors.

    `companions` is a model folder: its config and tokenizer are copied, and the config names the
    new `dtype`, if there is one. Weights are in shards of `limit` bytes.
    """

    companions: Path
    dtype: str | None = None
    limit: int = SHARD


def export_folder(
    file: TautFile,
    out: Path,
    folder: HubFolder,
    *,
    force: bool = False,
    progress: Progress | None = None,
    judge: Callable[[Path], Sequence[str]] | None = None,
) -> Export:
    """Write a Hugging Face folder: the weights beside its other files.

    Tied tensors are left out, as transformers does: the config says which they are. `judge` is
    given the folder before it gets its name; it raises, or gives notes.

    Raises:
        as `export_file`.
    """
    tied = {record.name for record in file.index.records if record.tied}
    infos = [converted(info, folder.dtype) for info in file.infos if info.name not in tied]
    with made_folder(out, force=force, sole=True) as made:
        copy_companions(folder.companions, made, folder.dtype)
        load = _loading(file, infos)
        told = steps("write", infos, progress)
        weights = write_shards(made, infos, load, limit=folder.limit, told=told)
        found = compare(weights, file, steps("check", infos, progress))
        weighed = sum(path.stat().st_size for path in weights)
        judged = () if judge is None else judge(made)
        size, files = listed(made, out)
    again = rounding_notes(file, found.rounded)
    others = (*judged, *companion_notes(folder.companions), *again)
    notes = (*_notes(file, infos, weighed), *others)
    if tied:
        notes = (*notes, f"left out: {len(tied)} of tied tensors, which the config ties")
    return _done("hf", out, files, size, found, notes)


def listed(made: Path, out: Path) -> tuple[int, tuple[Path, ...]]:
    """The bytes of the files in a folder, and their paths once it is called `out`."""
    files = [path for path in sorted(made.rglob("*")) if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    return size, tuple(out / path.relative_to(made) for path in files)


def converted(info: TensorInfo, dtype: str | None) -> TensorInfo:
    """A tensor as it is to be written; only floats of 16 bits and more take another dtype.

    >>> converted(TensorInfo("w", "F32", (3,), 12), "bfloat16")
    TensorInfo(name='w', dtype='BF16', shape=(3,), nbytes=6)
    """
    if dtype is None or info.dtype not in _FLOATS:
        return info
    new = DTYPES[dtype]
    return TensorInfo(info.name, new, info.shape, tensor_nbytes(new, info.shape))


def convert(
    values: np.ndarray, info: TensorInfo, whole: Callable[[], Iterable[np.ndarray]] | None = None
) -> np.ndarray:
    """Values in the dtype of `info`, rounded to nearest where it is narrower.

    `whole` gives all of which they are a part, for what an error says.

    Raises:
        ArgumentError: a finite value is too large for it; names the tensor.
    """
    dtype = SAFETENSORS_DTYPES.get(info.dtype)
    if dtype is None or values.dtype == dtype:  # sub-byte values stay packed
        return values
    with np.errstate(over="ignore"):
        found = values.astype(dtype)
    if not np.isfinite(found).all() and (np.isfinite(values) & ~np.isfinite(found)).any():
        largest = max(map(_largest, [values] if whole is None else whole()))
        raise ArgumentError(
            f'tensor "{info.name}": its largest value, {largest:g}, is beyond {dtype}; '
            "export to bfloat16 or float32"
        )
    return found


def _largest(values: np.ndarray) -> float:
    """The largest magnitude of the finite values."""
    return float(np.abs(values[np.isfinite(values)].astype(np.float64)).max(initial=0.0))


def check_dtype(dtype: str | None) -> None:
    """Raise `ArgumentError` unless a dtype may be asked for."""
    if dtype is not None and dtype not in DTYPES:
        raise ArgumentError(f'dtype "{dtype}" is unknown; one of {", ".join(DTYPES)}')


def compare(
    paths: Iterable[Path], file: TautFile, told: Callable[[], None] | None = None
) -> Comparison:
    """Read safetensors files back: each tensor is the file's, rounded to its dtype, bit for bit.

    Raises:
        VerifyError: one is not.
    """
    found = Comparison()
    for source in map(open_safetensors, paths):
        for info in source.infos:
            found.add_pieces(info.name, _pairs(file, source, info))
            if told is not None:
                told()
    return found


def _pairs(
    file: TautFile, source: SafetensorsSource, info: TensorInfo
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pieces of a tensor of the file, and what was read back of each: bit for bit as it was to be.

    Raises:
        VerifyError: it is not.
    """
    read, begin = source.reader(info.name), 0
    for ours in _pieces(file, info.name):
        theirs = read(begin, begin + ours.size)
        begin += ours.size
        expect(info.name, convert(ours, info, lambda: _pieces(file, info.name)), theirs)
        yield ours, theirs


def _pieces(file: TautFile, name: str) -> Iterator[np.ndarray]:
    return file.pieces(name, _PIECE)


def _loading(file: TautFile, infos: Iterable[TensorInfo]) -> Load:
    wanted = {info.name: info for info in infos}

    def pieces(name: str) -> Iterator[np.ndarray]:
        return (
            convert(piece, wanted[name], lambda: _pieces(file, name))
            for piece in _pieces(file, name)
        )

    return pieces


def steps(
    stage: str, infos: Sequence[TensorInfo], progress: Progress | None
) -> Callable[[], None] | None:
    """What is called after each tensor."""
    if progress is None:
        return None
    count = 0

    def told() -> None:
        nonlocal count
        count += 1
        progress(stage, count, len(infos))

    return told


def _notes(file: TautFile, infos: Sequence[TensorInfo], size: int) -> tuple[str, ...]:
    """What the format costs, in honest words."""
    names = {code: name for name, code in DTYPES.items()}
    told = sorted({names[info.dtype] for info in infos if info.dtype in names})
    words = size_words(file.index.origin.nbytes, file.size, size)
    return (
        f"{' and '.join(told) or 'plain tensors'} again: {words}; made for loaders that know "
        "nothing of Taut, and no faster than before",
    )


def _done(
    kind: str,
    out: Path,
    files: Iterable[Path],
    size: int,
    found: Comparison,
    notes: tuple[str, ...],
) -> Export:
    return Export(
        path=out,
        format=kind,
        files=tuple(files),
        size=size,
        exact=len(found.exact),
        rounded=len(found.rounded),
        check=found.check("read back from the disk"),
        notes=notes,
    )
