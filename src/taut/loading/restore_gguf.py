"""A Taut file that was made of GGUF in, the .gguf out: its bytes, if it is lossless."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from taut.container import AtomicFile, TautFile, check_destination, made_folder, open_taut
from taut.container.format import as_bytes
from taut.errors import ArgumentError, FormatError, VerifyError
from taut.io import TensorInfo
from taut.io.gguf import FRAME, tensor_info
from taut.io.gguf_frame import FrameFile, frame_tensors, read_frame


def is_gguf(file: TautFile) -> bool:
    """Whether the file was made of a GGUF model."""
    return not file.index.origin.files and FRAME in file.index.origin.metadata


def larger_note(file: TautFile, nbytes: int) -> tuple[str, ...]:
    """A note where what is written is larger than the original, whose tensors were quantised."""
    before = file.index.origin.nbytes
    if nbytes < 1.05 * before:  # metadata alone may grow by some bytes
        return ()
    return (
        f"{nbytes / before:.1f}x the size of the original: its quantised tensors are float32 here; "
        f"export {file.path.name} to a .gguf with weights int4 or int8 for small ones again",
    )


def holds_gguf(path: Path) -> int:
    """How many GGUF files a file, not a folder, was made of; 0 where it cannot be read."""
    try:
        if not path.is_file() or not is_gguf(file := open_taut(path)):
            return 0
        return len(open_frame(file))
    except (FormatError, VerifyError):
        return 0


def open_frame(file: TautFile) -> tuple[FrameFile, ...]:
    """What was beside the tensors, held against those of the file.

    Raises:
        FormatError: it is damaged, or names tensors that the file has not, or has otherwise.
    """
    name = file.index.origin.metadata[FRAME]
    where = f'{file.path}: the GGUF frame "{name[:80]}"'
    infos = {info.name: info for info in file.infos}
    if name not in infos or infos[name].dtype != "U8" or len(infos[name].shape) != 1:
        raise FormatError(f"{where}: is no tensor of bytes in this file")
    files = read_frame(file[name], where)
    _check_tensors(files, infos, where)
    return files


def _check_tensors(
    files: tuple[FrameFile, ...], infos: Mapping[str, TensorInfo], where: str
) -> None:
    """Raise `FormatError` unless a frame's tensors are those of the file, and all but itself."""
    tensors = frame_tensors(files)
    if len(tensors) != sum(len(one.header.tensors) for one in files):
        raise FormatError(f"{where}: has a tensor twice")
    for tensor in tensors.values():
        info, meant = infos.get(tensor.name), tensor_info(tensor)
        if info is None or (info.dtype, info.shape) != (meant.dtype, meant.shape):
            raise FormatError(f'{where}: wants "{tensor.name[:80]}", which is another in this file')
    if len(infos) != len(tensors) + 1:
        raise FormatError(f"{where}: does not name all tensors of this file")


def write_gguf(file: TautFile, target: Path, *, force: bool = False) -> dict[Path, int]:
    """Write the model as the file `target`, or what was split as files in the folder `target`.

    Gives the bytes written of each. Each file is whole or not there; holds a piece of a tensor.

    Raises:
        ArgumentError: a file exists (and not `force`), or `target` is of the wrong kind.
        FormatError, VerifyError: the file is damaged.
    """
    files = open_frame(file)
    if len(files) == 1 and not target.is_dir():
        _check_free(target, file.path, force=force)
        return {target: _write(file, files[0], target, force=force)}
    paths = [target / one.recipe.name for one in files]
    _check_folder(target, paths, file.path, force=force)
    with made_folder(target, force=force) as made:
        return {
            path: _write(file, one, made / one.recipe.name, force=force)
            for one, path in zip(files, paths, strict=True)
        }


def _check_folder(target: Path, paths: Sequence[Path], source: Path, *, force: bool) -> None:
    """Raise `ArgumentError` where several files cannot be written into `target`."""
    if target.is_dir():
        for path in paths:
            _check_free(path, source, force=force)
    elif target.exists():
        raise ArgumentError(f"{target}: is a file; the model becomes {len(paths)} in a folder")
    elif target.suffix.lower() == ".gguf":
        raise ArgumentError(
            f"{target}: the model becomes {len(paths)} files ({paths[0].name}, ...); name a folder"
        )


def _check_free(path: Path, source: Path, *, force: bool) -> None:
    if path.exists() and os.path.samefile(source, path):
        raise ArgumentError(f"{path}: is the file to decompress; name another")
    check_destination(path, force=force)


def _write(file: TautFile, one: FrameFile, path: Path, *, force: bool) -> int:
    written = 0
    with AtomicFile(path, force=force) as out:
        for data in _contents(file, one):
            out.write(data)
            written += data.nbytes
        file.check_still()
        out.commit()
    return written


def _contents(file: TautFile, one: FrameFile) -> Iterator[memoryview]:
    """The bytes of a file, piece by piece."""
    literal, at, taken = memoryview(one.recipe.literal), 0, 0
    for hole in one.recipe.holes:
        yield literal[taken : taken + hole.begin - at]
        taken += hole.begin - at
        for piece in file.pieces(hole.tensor):
            yield as_bytes(piece).data
        at = hole.end
    yield literal[taken:]
