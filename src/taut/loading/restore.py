"""A Taut file in, ordinary safetensors out: byte for byte the original if it is lossless."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from taut.container import (
    AtomicFile,
    BaseSpec,
    TautFile,
    check_destination,
    made_folder,
    open_taut,
    write_file,
)
from taut.container.decoded import tell_decoded
from taut.container.default_names import restored_path
from taut.container.find import as_path
from taut.container.format import as_bytes, header_entry
from taut.container.model_folder import (
    check_copies,
    copy_files,
    pairs_to,
    unmark_config,
)
from taut.container.opening import paths_under
from taut.container.original_card import original_card
from taut.container.schema import get_object, load_json
from taut.container.through_stores import through_stores
from taut.container.tree_file import TreeFile
from taut.errors import ArgumentError, FormatError
from taut.io import TensorInfo, read_header
from taut.io.file_objects import BinaryFile
from taut.io.folder_files import FolderFiles, read_folder
from taut.io.staged import told_paths
from taut.io.suffixes import CHECKPOINT_SUFFIXES, names_checkpoint, names_other_format
from taut.loading.restore_gguf import holds_gguf, is_gguf, larger_note, write_gguf
from taut.loading.restore_onnx import check_onnx_name, holds_onnx, is_onnx, write_onnx
from taut.loading.restore_torch import write_torch
from taut.loading.restore_tree import UnitWriter, restore_tree
from taut.machine import checked_threads
from taut.pictured import Pictured
from taut.progress import Progress


@dataclass(frozen=True, repr=False)
class Restored(Pictured):
    """What was written: `path` (the file, or the folder of several), its files, and their bytes.

    `notes` say what of a folder was not taken along.
    """

    path: Path
    bytes: int
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Shard:
    """One safetensors file to be: its header and the tensors after it, in order."""

    name: str
    header: bytes
    names: tuple[str, ...]


@through_stores("src", "dst", suffix=lambda given: form_of(as_path(given["src"]))[0])
def decompress(
    src: str | Path | BinaryFile | bytes,
    dst: str | Path | BinaryFile | None = None,
    *,
    threads: int | None = None,
    force: bool = False,
    base: BaseSpec | None = None,
    progress: Progress | None = None,
) -> Restored:
    """Write the model that a Taut file holds as safetensors, as a PyTorch file, or as it was.

    A lossless file gives the original's bytes, a lossy one the same header with other values. One
    file becomes the file `dst`; several shards become files in the folder `dst`, and so does a
    model folder, with its other files. What was an .onnx becomes one again where
    `dst` ends in .onnx, what was GGUF is GGUF again (files that were split in the folder `dst`); a
    `dst` that ends in .pt, .pth, .bin or .ckpt is a state dict, written by torch, which holds the
    whole model. Else one tensor is held at a time. Without `dst` it lies beside the file, under
    its name. A delta is decoded with its `base` (see `taut.load`).

    Raises:
        ArgumentError: `dst` exists (and not `force`) or is of the wrong kind.
        FormatError, VerifyError: the file is damaged; nothing is written.
        TautError: the disk is full, or cannot be written for another reason.
    """
    source = as_path(src)
    target = _named_restored(source) if dst is None else as_path(dst, "what to write")
    file = open_taut(source, threads=checked_threads(threads), base=base)
    _check_name(file, target)
    _check_not_base(file, target)
    tell_decoded(file, progress)
    if target.suffix.lower() == ".onnx":
        return _write_onnx(file, target, force)
    if is_gguf(file):
        return _write_gguf(file, target, force)
    if is_onnx(file):
        check_onnx_name(file, target)
    if isinstance(file, TreeFile):
        size, files, notes = restore_tree(
            file, target, UnitWriter(_file_names, _write_unit), force=force
        )
        return Restored(target, size, files, notes)
    shards = _shards(file)
    texts = file.index.origin.texts
    if source.is_dir() or len(shards) > 1 or texts:
        return _write_folder(file, shards, source, target, force)
    _check_not_input(file.path, target)
    if names_checkpoint(target):
        check_destination(target, force=force)
        return Restored(target, write_torch(file, target, force=force), (target,))
    size = _write_shard(file, shards[0], target, force)
    return Restored(target, size, (target,))


def form_of(file: Path) -> tuple[str, bool]:
    """The suffix of what a Taut file becomes, and whether that is several GGUF files."""
    if holds_onnx(file):
        return ".onnx", False
    count = holds_gguf(file)
    return (".gguf" if count else ".safetensors"), count > 1


def _named_restored(source: Path) -> Path:
    """Where a Taut file is written to when nobody says: beside it, under its name.

    Raises:
        ArgumentError: it has no name on this machine.
    """
    if str(source) != (told := told_paths(str(source))):
        raise ArgumentError(f"dst: {told} is not on this machine; say where to write")
    suffix, several = form_of(source)
    return restored_path(source, suffix="" if several else suffix)


def _check_name(file: TautFile, target: Path) -> None:
    """Raise `ArgumentError` where the name is of a format that the file cannot become."""
    if target.is_dir():
        return
    if names_other_format(target):
        raise ArgumentError(
            f"{target}: {target.suffix} is the name of another format; what is written is "
            f"safetensors, PyTorch's ({', '.join(CHECKPOINT_SUFFIXES)}), .onnx of an ONNX model, "
            "or .gguf of a GGUF model"
        )
    if target.suffix.lower() == ".gguf" and not is_gguf(file):
        raise ArgumentError(
            f"{target}: the model was not compressed from GGUF; name a .safetensors, or write GGUF "
            "with `taut export`"
        )


def _write_onnx(file: TautFile, target: Path, force: bool) -> Restored:
    if not is_onnx(file):
        raise ArgumentError(
            f"{target}: the model was not compressed from ONNX; name a .safetensors"
        )
    written = write_onnx(file, target, force=force)
    return Restored(target, sum(written.values()), tuple(written))


def _write_gguf(file: TautFile, target: Path, force: bool) -> Restored:
    if target.suffix.lower() != ".gguf" and not target.is_dir() and target.suffix:
        raise ArgumentError(
            f"{target}: the model was compressed from GGUF, and becomes GGUF again; name a .gguf"
        )
    written = write_gguf(file, target, force=force)
    nbytes = sum(written.values())
    return Restored(target, nbytes, tuple(written), larger_note(file, nbytes))


def _write_folder(
    file: TautFile, shards: list[_Shard], source: Path, target: Path, force: bool
) -> Restored:
    _check_folder(target, shards[0].name)
    paths = [target / name for name in _names(file, shards)]
    found = FolderFiles((), {})
    if source.is_dir():
        found = read_folder(source, file.path)
    pairs = pairs_to(found.companions, source, target, taken=paths)
    check_copies(pairs, force=force)
    for path in paths:
        _check_not_input(file.path, path)
        if target.is_dir():
            check_destination(path, force=force)
    with made_folder(target, force=force) as made:
        copies = [(path, made / to.relative_to(target)) for path, to in pairs]
        size = copy_files(copies, made, _as_original, force=force)
        size += _write_unit(file, made, force)
    return Restored(target, size, (*(copy for _, copy in pairs), *paths), found.notes)


def _file_names(file: TautFile) -> list[str]:
    """The names of a model's files."""
    return _names(file, _shards(file))


def _write_unit(file: TautFile, folder: Path, force: bool) -> int:
    """Write a model's files into a folder: texts, then shards; gives their bytes."""
    size = 0
    for name, text in file.index.origin.texts:
        write_file(folder / name, text.encode(), force=force)
        size += len(text.encode())
    for shard in _shards(file):
        size += _write_shard(file, shard, folder / shard.name, force)
    return size


def _as_original(path: Path, data: bytes) -> bytes:
    """The bytes of a companion as the original has them."""
    return original_card(path, unmark_config(path, data))


def _check_folder(target: Path, first: str) -> None:
    if target.is_dir():
        return
    if target.suffix == ".safetensors" or names_checkpoint(target):
        raise ArgumentError(
            f"{target}: the model becomes several files ({first}, ...); name a folder"
        )
    if target.exists():
        raise ArgumentError(f"{target}: is not a folder; the model becomes several files in one")


def _names(file: TautFile, shards: list[_Shard]) -> list[str]:
    names = [name for name, _ in file.index.origin.texts] + [shard.name for shard in shards]
    if len({name.casefold() for name in names}) < len(names):
        raise FormatError(f"{file.path}: index: source: a file's name comes twice")
    return names


def _check_not_base(file: TautFile, target: Path) -> None:
    """Whether nothing that a delta stands on is written over: it could not be read any more."""
    origin = file.index.origin
    names = [name for name, _ in (*origin.files, *origin.texts)]
    written = [target, *(target / name for name in names)] if target.is_dir() else [target]
    there = [path for path in written if path.exists()]
    for base in paths_under(file)[1 + len(file.parts) :]:
        if any(base.exists() and os.path.samefile(base, path) for path in there):
            other = "folder" if target.is_dir() else "file"
            raise ArgumentError(f"{base}: is what the delta stands on; name another {other}")


def _check_not_input(source: Path, target: Path) -> None:
    if target.exists() and os.path.samefile(source, target):
        raise ArgumentError(f"{target}: is the file to decompress; name another")


def _shards(file: TautFile) -> list[_Shard]:
    """The original files; a model that came from memory becomes one file."""
    origin = file.index.origin
    if not origin.files:
        return [_Shard("model.safetensors", _new_header(file), tuple(file))]
    owner = _owners(file)
    names: list[list[str]] = [[] for _ in origin.files]
    for tensor in file:
        names[owner[tensor]].append(tensor)
    return [
        _Shard(name, header.encode(), tuple(found))
        for (name, header), found in zip(origin.files, names, strict=True)
    ]


def _owners(file: TautFile) -> dict[str, int]:
    """The number of the original file that each tensor was in, by the headers of these."""
    owner: dict[str, int] = {}
    for number, (name, header) in enumerate(file.index.origin.files):
        where = f'{file.path}: index: header of "{name}"'
        for tensor in get_object(load_json(header.encode(), where), where):
            if tensor == "__metadata__":
                continue
            if tensor not in file or tensor in owner:
                raise FormatError(
                    f'{where}: tensor "{tensor}" is not in the index, or in two files'
                )
            owner[tensor] = number
    if len(owner) < len(file):
        lost = next(name for name in file if name not in owner)
        raise FormatError(f'{file.path}: tensor "{lost}" is in no header of the original files')
    return owner


def _new_header(file: TautFile) -> bytes:
    parts, end = [], 0
    if file.index.origin.metadata:
        metadata = json.dumps(dict(file.index.origin.metadata), ensure_ascii=False)
        parts.append(f'"__metadata__":{metadata}')
    for tensor in file.infos:
        begin, end = end, end + tensor.nbytes
        parts.append(header_entry(tensor.name, tensor.dtype, tensor.shape, begin, end))
    text = ("{" + ",".join(parts) + "}").encode()
    return text.ljust(len(text) + -len(text) % 8)


def _write_shard(file: TautFile, shard: _Shard, path: Path, force: bool) -> int:
    infos = {info.name: info for info in file.infos}
    with AtomicFile(path, force=force) as out:
        out.write(len(shard.header).to_bytes(8, "little"))
        out.write(shard.header)
        size = 8 + len(shard.header)
        for name in shard.names:
            for piece in file.pieces(name):
                data = as_bytes(piece)
                out.write(data.data)
                size += data.nbytes
        file.check_still()
        _check_shard(out.readable, shard, infos, file.path)
        out.commit()
    return size


def _check_shard(written: Path, shard: _Shard, infos: dict[str, TensorInfo], where: Path) -> None:
    """The stored header must describe exactly the tensors that were put behind it."""
    header = read_header(written, where=f'{where}: the stored header of "{shard.name}"')
    described = {tensor.name: tensor for tensor in header.tensors}
    begin = header.data_start
    for name in shard.names:
        tensor, info = described[name], infos[name]
        if (tensor.dtype, tensor.shape) != (info.dtype, info.shape) or (
            info.nbytes and tensor.start != begin
        ):
            raise FormatError(
                f'{where}: tensor "{name}" is not the one that the stored header of '
                f'"{shard.name}" describes'
            )
        begin += info.nbytes
