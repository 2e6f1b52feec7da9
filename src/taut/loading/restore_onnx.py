"""A Taut file that was made of an ONNX model in, the .onnx out: its bytes, if it is lossless."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from taut.container import AtomicFile, TautFile, check_destination, open_taut
from taut.container.format import as_bytes
from taut.errors import ArgumentError, FormatError, VerifyError
from taut.io import TensorInfo
from taut.io.names import as_text
from taut.io.onnx import (
    GRAPH,
    Hole,
    RecipeFile,
    pack_varints,
    plain_path,
    raw_size,
    unpack_recipe,
    with_keys,
)
from taut.io.onnx_locations import HoledBytes, Piece, names_beside, renamed


def is_onnx(file: TautFile) -> bool:
    """Whether the file was made of an ONNX model."""
    return not file.index.origin.files and GRAPH in file.index.origin.metadata


def holds_onnx(path: Path) -> bool:
    """Whether a file, not a folder, was made of an ONNX model; False where it cannot be read."""
    try:
        return path.is_file() and is_onnx(open_taut(path))
    except (FormatError, VerifyError):
        return False


def write_onnx(file: TautFile, target: Path, *, force: bool = False) -> dict[Path, int]:
    """Write the model as `target`, and beside it the files that its weights lay in.

    Under the name that it had, all files are as they were. Under another, data files are named
    after `target`, and the graph names them so: what lies beside it may be the original's.

    Gives the bytes written of each, the model first: a name may be another writer's by then.

    Each file is whole or not there; the model itself comes last. Holds one tensor at a time.

    Raises:
        ArgumentError: a file exists (and not `force`).
        FormatError, VerifyError: the file is damaged.
    """
    files = read_recipe(file)
    names = _new_names(files, target)
    paths = [target, *(target.parent / names.get(one.name, one.name) for one in files[1:])]
    for path in paths:
        _check_free(path, file.path, force=force)
    written = dict.fromkeys(paths, 0)
    for one, path in reversed(list(zip(files, paths, strict=True))):
        if path is not target:
            _make_folder(path.parent, target.parent)
        with AtomicFile(path, force=force) as out:
            for data in _contents(file, one, names if path is target else {}):
                out.write(data)
                written[path] += data.nbytes
            out.commit()
    return written


def _new_names(files: tuple[RecipeFile, ...], target: Path) -> dict[str, str]:
    """New names for the data files of a model that is written under another name; {} for its own.

    Raises:
        ArgumentError: one of them is called as `target` is.
    """
    _check_name(files, target)
    model, beside = as_text(target.name), [one.name for one in files[1:]]
    return {} if model == files[0].name else names_beside(beside, files[0].name, model)


def check_onnx_name(file: TautFile, target: Path) -> None:
    """Whether a model of ONNX may be written there, in whatever format.

    Raises:
        ArgumentError: a data file is called so, and what is there may be the original's weights.
        FormatError, VerifyError: the file is damaged.
    """
    _check_name(read_recipe(file), target)


def _check_name(files: tuple[RecipeFile, ...], target: Path) -> None:
    parts = PurePosixPath(as_text(target.as_posix()).casefold()).parts
    for one in files[1:]:
        own = PurePosixPath(plain_path(one.name).casefold()).parts
        if parts[-len(own) :] == own:
            raise ArgumentError(f"{target}: a data file of the model has this name; name another")


def _check_free(path: Path, source: Path, *, force: bool) -> None:
    """Whether a file may be written here, where it is not the one that is read."""
    if path.exists() and os.path.samefile(source, path):
        raise ArgumentError(f"{path}: is the file to decompress; name another")
    if path.parent.is_dir():
        check_destination(path, force=force)


def read_recipe(file: TautFile) -> tuple[RecipeFile, ...]:
    """The model's files without its initialisers, each hole held against the tensor it is for.

    Raises:
        FormatError: it is damaged.
    """
    name = file.index.origin.metadata[GRAPH]
    where = f'{file.path}: the ONNX graph "{name[:80]}"'
    infos = {info.name: info for info in file.infos}
    if name not in infos or infos[name].dtype != "U8" or len(infos[name].shape) != 1:
        raise FormatError(f"{where}: is no tensor of bytes in this file")
    files = unpack_recipe(file[name].tobytes(), where)
    holes = [hole for one in files for hole in one.holes]
    _check_holes(holes, {other: info for other, info in infos.items() if other != name}, where)
    return files


def _check_holes(holes: list[Hole], infos: dict[str, TensorInfo], where: str) -> None:
    """Each hole is for a tensor of its own, which fits."""
    filled = Counter(hole.tensor for hole in holes)
    for hole in holes:
        info = infos.get(hole.tensor)
        if info is None or filled[hole.tensor] > 1:
            raise FormatError(f'{where}: wants "{hole.tensor[:80]}", which it may not')
        if hole.encoding == "raw" and hole.end - hole.begin != raw_size(hole, info.nbytes):
            raise FormatError(f'{where}: has no room for "{hole.tensor[:80]}"')


def _contents(file: TautFile, one: RecipeFile, names: Mapping[str, str]) -> Iterator[memoryview]:
    """The bytes of a file, piece by piece, with `names` for the data files that it names."""
    where = f'{file.path}: the ONNX graph of "{one.name[:80]}"'
    pieces: list[Piece] = [(0, one.nbytes)]
    sizes = _other_sizes(file, one)
    if names or sizes:
        paths = {plain_path(old): new for old, new in names.items()}
        pieces = renamed(one, paths, where, sizes)
    literal = HoledBytes(one, where)
    for piece in pieces:
        if isinstance(piece, bytes):
            yield memoryview(piece)
            continue
        at, end = piece
        for hole in one.holes:
            if at <= hole.begin and hole.end <= end:
                yield literal.between(at, hole.begin)
                yield _filling(file, hole)
                at = hole.end
        yield literal.between(at, end)


def _other_sizes(file: TautFile, one: RecipeFile) -> dict[int, int]:
    """The bytes of rounded floats that lie as varints, by their holes, where these had others."""
    infos = {info.name: info for info in file.infos}
    found = {}
    for hole in one.holes:
        if hole.encoding == "varint" and infos[hole.tensor].dtype.startswith(("F", "BF")):
            nbytes = _packed(file, hole).nbytes
            if nbytes != hole.end - hole.begin:
                found[hole.begin] = nbytes
    return found


def _filling(file: TautFile, hole: Hole) -> memoryview:
    values = file[hole.tensor]
    if hole.encoding == "raw":
        given = as_bytes(values)
        return with_keys(given, hole.key).data if hole.key else given.data
    packed = _packed(file, hole)
    whole = values.dtype.kind in "iub"  # never rounded, and so as long as it was
    if whole and packed.nbytes != hole.end - hole.begin:
        raise FormatError(f'{file.path}: tensor "{hole.tensor}" does not fit the ONNX graph')
    return packed.data


def _packed(file: TautFile, hole: Hole) -> np.ndarray:
    """A tensor's values as varints, which narrow floats are by their bits."""
    values = file[hole.tensor]
    if values.dtype.kind not in "iub" and values.itemsize > 2:
        raise FormatError(f'{file.path}: tensor "{hole.tensor}" is not of whole numbers')
    packed = pack_varints(values.astype(np.uint8) if values.dtype.kind == "b" else values)
    return with_keys(packed, hole.key) if hole.key else packed


def _make_folder(folder: Path, root: Path) -> None:
    """Make a data file's folder, which lies within the model's.

    Raises:
        ArgumentError: a link leads out of it.
    """
    if not folder.resolve().is_relative_to(root.resolve()):
        raise ArgumentError(f"{folder}: links out of {root}; name another folder")
    with contextlib.suppress(FileExistsError):
        folder.mkdir(parents=True)
